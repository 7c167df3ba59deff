"""Strokes put under words: recognised there, without a jerk, and told where there is no room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gestray.anchors.verbalize import describe
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.take import FPS, Take
from gestray.form import GesturePhases
from gestray.generators.insertions import Insertion, seen
from gestray.generators.strokes import MOVED, Placing, Stroke, _weight, hand_speeds
from gestray.motion.skeleton import joint

MARGIN_S = 0.6


@pytest.fixture(scope="module")
def recordings(synthetic_corpus) -> list[Take]:
    return [read_take(synthetic_corpus, t) for t in list_takes(synthetic_corpus).take_ids]


def strokes_of(take: Take) -> list[Stroke]:
    """Gold gestures that mean something, as the verbalizer finds their phases."""
    found = []
    for gold in take.gold or ():
        if gold.intent in (None, "beat") or gold.phases is None or take.poses is None:
            continue
        first = max(0, round((gold.phases.start_s - MARGIN_S) * FPS))
        clip = take.poses[first : round((gold.phases.end_s + MARGIN_S) * FPS)]
        form, phases = describe(np.array(clip))
        if phases is not None:
            found.append(Stroke(clip, phases, form))
    return found


def put(
    base: np.ndarray, strokes: Sequence[tuple[float, Stroke]], fastest: float
) -> tuple[np.ndarray, list[str], list[Insertion]]:
    """The motion with strokes, what became of each, and those that were placed."""
    placing, outcomes, placed = Placing(base, fastest), [], []
    for word_s, stroke in strokes:
        outcome, span = placing.put(word_s, stroke)
        outcomes.append(outcome)
        placed += [] if span is None else [Insertion(stroke, word_s, span)]
    return placing.poses, outcomes, placed


def fastest_of(recordings: Sequence[Take]) -> float:
    speeds = [hand_speeds(take.poses) for take in recordings]
    return float(np.quantile(np.concatenate(speeds), 0.99))


def idle(take: Take, seconds: float = 20.0) -> np.ndarray:
    """Hanging arms that sway: the take's first frame, a little in motion."""
    t = np.arange(round(seconds * FPS))[:, None] / FPS
    sway = 0.01 * np.sin(t * np.linspace(1, 2, 165))
    return (take.poses[:1] + sway).astype(np.float32)


def test_placed_strokes_are_recognised_at_the_word(recordings: list[Take]) -> None:
    """At least nine of ten: the retrieved form, its stroke within 0.2 s of the word, read off
    the motion around it; and on no way does a hand hurry."""
    fastest, base = fastest_of(recordings), idle(recordings[0], 8.0)
    strokes = [stroke for take in recordings[1:] for stroke in strokes_of(take)]
    found = []
    for stroke in strokes:
        made, _, placed = put(base, [(3.5, stroke)], fastest)
        found += seen(base, made, placed, fastest)
    assert len(found) >= 0.7 * len(strokes) > 7
    assert np.mean([one.recognised for one in found]) >= 0.9
    assert np.mean([one.fields for one in found]) >= 0.9
    assert not any(one.peaks for one in found)


def test_what_is_not_there_is_not_seen(recordings: list[Take]) -> None:
    """A motion in which nothing was put, a stroke half a second late, and one that jumps."""
    fastest, base = fastest_of(recordings), idle(recordings[0], 8.0)
    stroke = strokes_of(recordings[1])[0]
    made, outcomes, (one,) = put(base, [(3.5, stroke)], fastest)
    assert outcomes == ["placed"]
    (right,) = seen(base, made, [one], fastest)
    (idle_seen,) = seen(base, base, [one], fastest)
    assert right.recognised and not idle_seen.alike and idle_seen.fields < right.fields
    (late,) = seen(base, made, [Insertion(stroke, 3.2, one.span)], fastest)
    assert not late.at_word and not late.recognised
    jumps = np.array(made)
    jumps[one.span.start : one.span.start + 3] = stroke.poses[len(stroke.poses) // 2]
    assert seen(base, jumps, [one], fastest)[0].peaks and not right.peaks


def test_no_hand_is_faster_than_hands_are(recordings: list[Take]) -> None:
    fastest, base = fastest_of(recordings), recordings[0].poses
    strokes = [(2.0 + 4 * i, s) for i, s in enumerate(strokes_of(recordings[1])[:4])]
    poses, outcomes, placed = put(base, strokes, fastest)
    assert "placed" in outcomes
    assert not any(one.peaks for one in seen(base, poses, placed, fastest))
    peaks = [float(hand_speeds(np.array(s.poses)).max()) for _, s in strokes]
    assert hand_speeds(poses).max() <= max(fastest, *peaks, hand_speeds(base).max()) + 1e-4


def test_a_turning_trunk_makes_no_hand_faster(recordings: list[Take]) -> None:
    poses = np.array(recordings[0].poses)
    turning = poses.reshape(len(poses), 55, 3).copy()
    for name in ("pelvis", "spine2"):
        turning[:, joint(name), 1] += np.sin(np.arange(len(poses)) / 4)
    speeds = hand_speeds(poses)
    np.testing.assert_allclose(hand_speeds(turning.reshape(len(poses), 165)), speeds, atol=1e-6)
    bent, half = poses.copy(), len(poses) // 2
    bent[half:, 3 * joint("left_elbow") + 1] -= 1.0
    assert hand_speeds(bent)[half - 1, 0] > speeds[half - 1, 0] + 2


def test_only_arms_and_hands_are_taken_over(recordings: list[Take]) -> None:
    base, (stroke, *_) = idle(recordings[0]), strokes_of(recordings[1])
    poses, outcomes, _ = put(base, [(5.0, stroke)], 10.0)
    assert outcomes == ["placed"]
    changed = np.abs(poses - base).reshape(len(base), 55, 3).max(axis=(0, 2)) > 1e-6
    assert set(np.flatnonzero(changed)) <= set(MOVED)
    at, held = round(5.0 * FPS), round(stroke.phases.stroke_s * FPS)
    middle = poses[at + 2].reshape(55, 3)[list(MOVED)]
    np.testing.assert_allclose(
        middle, stroke.poses[held + 2].reshape(55, 3)[list(MOVED)], atol=1e-4
    )
    np.testing.assert_array_equal(poses[:60], base[:60])


def test_what_has_no_room_is_left_out_and_said(recordings: list[Take]) -> None:
    base, (stroke, *_) = idle(recordings[0]), strokes_of(recordings[1])
    poses, outcomes, _ = put(base, [(0.1, stroke), (19.9, stroke)], 10.0)
    assert outcomes == ["no room", "no room"]
    np.testing.assert_array_equal(poses, base)
    _, outcomes, _ = put(base, [(8.0, stroke), (8.1, stroke), (14.0, stroke)], 10.0)
    assert outcomes == ["placed", "no room", "placed"]


def test_who_would_have_to_hurry_is_left_out() -> None:
    """A gesture far from the motion, and a limit that no way in keeps; and no gesture at all."""
    base = np.zeros((300, 165), np.float32)
    poses = np.zeros((60, 165), np.float32)
    poses[:, 3 * 16 + 1] = 1.5
    phases = GesturePhases(start_s=0.2, stroke_s=0.5, hold_s=0.8, retraction_s=1.0, end_s=1.5)
    raised = Stroke(poses, phases, describe(poses).form)
    assert put(base, [(5.0, raised)], 0.01)[1] == ["too fast"]
    assert put(base, [(5.0, raised)], 20.0)[1] == ["not seen"]


@pytest.mark.parametrize("held", [0, 1, 7])
def test_the_way_there_and_back_has_no_corner(held: int) -> None:
    weight = _weight(12, held)
    assert len(weight) == held + 2 * 12 + 1
    assert weight[0] == weight[-1] == 0 and (weight[12 : 12 + held + 1] == 1).all()
    np.testing.assert_allclose(weight, weight[::-1], atol=1e-12)
    assert abs(np.diff(weight)[[0, -1]]).max() < 0.01
