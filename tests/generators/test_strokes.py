"""Strokes put under words: recognised there, without a jerk, and told where there is no room."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.anchors.verbalize import describe, describe_many
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.take import FPS, Take
from gestray.form import GesturePhases, PhysicalForm
from gestray.generators.strokes import MOVED, Stroke, _weight, hand_speeds, put_strokes

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
        phases = describe(np.array(clip)).phases
        if phases is not None:
            found.append(Stroke(clip, phases))
    return found


def signs(form: PhysicalForm) -> tuple:
    """What makes a gesture that gesture: its hands, and their shape, palm and path."""
    hands = [h and (h.shape, h.palm, h.trajectory.path) for h in (form.left, form.right)]
    return form.handedness, *hands


def idle(take: Take, seconds: float = 20.0) -> np.ndarray:
    """Hanging arms that sway: the take's first frame, a little in motion."""
    t = np.arange(round(seconds * FPS))[:, None] / FPS
    sway = 0.01 * np.sin(t * np.linspace(1, 2, 165))
    return (take.poses[:1] + sway).astype(np.float32)


def test_placed_strokes_are_recognised_at_the_word(recordings: list[Take]) -> None:
    """At least nine of ten: the retrieved form, its stroke within 0.2 s of the word."""
    fastest = float(np.quantile(np.concatenate([hand_speeds(t.poses) for t in recordings]), 0.99))
    base, word_s = idle(recordings[0], 8.0), 3.5
    strokes = [stroke for take in recordings[1:] for stroke in strokes_of(take)]
    made = [put_strokes(base, [(word_s, stroke)], fastest) for stroke in strokes]
    placed = [(s, p) for s, (p, outcome) in zip(strokes, made, strict=True) if "placed" in outcome]
    assert len(placed) >= 0.7 * len(strokes) > 7
    theirs = describe_many([gesture_of(s.poses, s.phases, s.phases.stroke_s) for s, _ in placed])
    ours = describe_many([gesture_of(p, s.phases, word_s) for s, p in placed])
    kept = [
        signs(a.form) == signs(b.form)
        and a.phases is not None
        and b.phases is not None
        and abs(a.phases.stroke_s - b.phases.stroke_s) <= 0.2
        for a, b in zip(theirs, ours, strict=True)
    ]
    assert np.mean(kept) >= 0.9, np.mean(kept)


def gesture_of(poses: np.ndarray, phases: GesturePhases, stroke_s: float) -> np.ndarray:
    """The gesture and 0.2 s around it, where its stroke begins at `stroke_s` of the motion."""
    first = round((stroke_s - (phases.stroke_s - phases.start_s) - 0.2) * FPS)
    last = round((stroke_s + (phases.end_s - phases.stroke_s) + 0.2) * FPS)
    return np.array(poses[np.arange(first, last + 1).clip(0, len(poses) - 1)])


def test_no_hand_is_faster_than_hands_are(recordings: list[Take]) -> None:
    fastest = float(np.quantile(np.concatenate([hand_speeds(t.poses) for t in recordings]), 0.99))
    base = recordings[0].poses
    strokes = [(2.0 + 4 * i, s) for i, s in enumerate(strokes_of(recordings[1])[:4])]
    poses, outcomes = put_strokes(base, strokes, fastest)
    assert "placed" in outcomes
    peaks = [float(hand_speeds(np.array(s.poses)).max()) for _, s in strokes]
    assert hand_speeds(poses).max() <= max(fastest, *peaks, hand_speeds(base).max()) + 1e-4


def test_only_arms_and_hands_are_taken_over(recordings: list[Take]) -> None:
    base, (stroke, *_) = idle(recordings[0]), strokes_of(recordings[1])
    poses, outcomes = put_strokes(base, [(5.0, stroke)], 10.0)
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
    poses, outcomes = put_strokes(base, [(0.1, stroke), (19.9, stroke)], 10.0)
    assert outcomes == ["no room", "no room"]
    np.testing.assert_array_equal(poses, base)
    _, outcomes = put_strokes(base, [(8.0, stroke), (8.1, stroke), (14.0, stroke)], 10.0)
    assert outcomes == ["placed", "no room", "placed"]


def test_who_would_have_to_hurry_is_left_out() -> None:
    """A gesture far from the motion, and a limit that no way in keeps."""
    base = np.zeros((300, 165), np.float32)
    poses = np.zeros((60, 165), np.float32)
    poses[:, 3 * 16 + 1] = 1.5
    phases = GesturePhases(start_s=0.2, stroke_s=0.5, hold_s=0.8, retraction_s=1.0, end_s=1.5)
    assert put_strokes(base, [(5.0, Stroke(poses, phases))], 0.01)[1] == ["too fast"]
    assert put_strokes(base, [(5.0, Stroke(poses, phases))], 20.0)[1] == ["placed"]


@pytest.mark.parametrize("held", [0, 1, 7])
def test_the_way_there_and_back_has_no_corner(held: int) -> None:
    weight = _weight(12, held)
    assert len(weight) == held + 2 * 12 + 1
    assert weight[0] == weight[-1] == 0 and (weight[12 : 12 + held + 1] == 1).all()
    np.testing.assert_allclose(weight, weight[::-1], atol=1e-12)
    assert abs(np.diff(weight)[[0, -1]]).max() < 0.01
