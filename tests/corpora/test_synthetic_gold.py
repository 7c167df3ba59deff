"""The gold of the synthetic corpus: known answers, and a second reading of the motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.anchors import thresholds
from gestray.anchors.verbalize import describe_many, mirrored
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.synthetic import gold, write_corpus
from gestray.corpora.synthetic.arms import arm_motion
from gestray.corpora.synthetic.gesture import GestureType, Variant
from gestray.corpora.synthetic.gold import gold_form, gold_phases
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import FPS, Gesture, make_gesture
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.form import PhysicalForm

VARIANTS = [
    pytest.param(kind, variant, id=f"{name}-{number}")
    for name, kind in GESTURES.items()
    for number, variant in enumerate(kind.variants)
]


def perform(
    kind: GestureType, variant: Variant, seed: int = 0, right_handed: float = 1.0
) -> Gesture:
    """The variant by a middling speaker whose hand is certain; nothing draws out its hold."""
    speaker = replace(SPEAKERS[0], tempo=1.0, amplitude=1.0, right_handed=right_handed)
    only = replace(kind, variants=(variant,))
    return make_gesture(only, speaker, 1.0, 1.0, np.random.default_rng(seed))


def form_of(name: str, number: int = 0) -> PhysicalForm:
    return gold_form(perform(GESTURES[name], GESTURES[name].variants[number]))


def test_gold_of_known_gestures():
    bowl = form_of("bowl")
    assert (bowl.relation, bowl.hold, bowl.handedness) == ("touching", "long", "both")
    assert bowl.left is not None and bowl.left.shape == "cupped" and bowl.left.palm == "up"
    assert bowl.left.contact == bowl.right.contact == "other hand"
    assert bowl.left.trajectory.path == "static"
    count = form_of("count_fingers").right
    assert (count.shape, count.trajectory.repetitions) == ("counting", 3)
    assert count.trajectory.direction == "down" and count.trajectory.amplitude == "small"
    assert form_of("hand_to_temple").right.contact == "head"
    assert form_of("hand_to_temple").right.location.height == "head"
    assert form_of("hand_on_heart").right.contact == "chest"
    assert form_of("hand_on_heart").right.location.reach == "close"
    assert form_of("weigh").relation == "alternating"
    assert form_of("ok_ring").head == "nod" and form_of("ok_ring").right.shape == "ring"
    assert form_of("point_left").handedness == "left"
    assert form_of("wobble").right.palm == "down" and form_of("palms_flip").left.palm == "up"


@pytest.mark.parametrize("side", ["left", "right"])
def test_hands_in_parallel_go_the_same_way(side):
    both = form_of(f"sweep_{side}", 2)
    assert both.relation == "parallel"
    assert both.left.trajectory.direction == both.right.trajectory.direction == side
    # Whichever hand points there, it points to the same side of the speaker.
    for number in range(2):
        form = form_of(f"point_{side}", number)
        assert (form.left or form.right).trajectory.direction == side


@pytest.mark.parametrize(("kind", "variant"), VARIANTS)
def test_relations_are_what_the_wrists_do(kind, variant):
    gesture = perform(kind, variant)
    if variant.hands != "both":
        assert gold_form(gesture).relation == "single"
        return
    mirror = np.array([-1.0, 1.0, 1.0])
    left, right = gesture.left.wrist, gesture.right.wrist * mirror
    gap = np.linalg.norm(left - right, axis=1)
    change = gap[-1] - gap[0]
    v_left, v_right = np.diff(left, axis=0), np.diff(right, axis=0)
    match variant.relation:
        case "apart":
            assert change > 0.2
        case "together":
            assert change < -0.2
        case "touching":
            assert np.ptp(gap) < 0.01
        case "mirror":
            assert np.allclose(v_left, v_right * mirror, atol=0.02)
            assert abs(change) < 0.2 or gesture.passes > 1
        case "parallel":
            assert np.allclose(v_left, v_right, atol=0.02)
        case "alternating":
            moving = slice(0, round(gesture.moving_s * FPS))
            assert (v_left * v_right * mirror)[moving].sum() < 0


@pytest.mark.parametrize(("kind", "variant"), VARIANTS)
def test_hold_is_the_variants_own_unless_a_word_draws_it_out(kind, variant):
    gesture = perform(kind, variant)
    assert gold_form(gesture).hold == variant.hold
    if variant.stroke.path == "static" and variant.other is None:
        assert variant.hold == "long" and gesture.moving_s == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 2.0))
def test_no_hold_is_near_a_border(seed, cover_s):
    rng = np.random.default_rng(seed)
    kind = list(GESTURES.values())[int(rng.integers(len(GESTURES)))]
    gesture = make_gesture(kind, SPEAKERS[seed % len(SPEAKERS)], 1.0, 1.0 + cover_s, rng)
    assert gesture.last / FPS >= 1.0 + cover_s
    assert all(abs(gesture.hold_s - border) > 0.05 for border in (0.2, 0.5)), gesture.hold_s


@pytest.mark.parametrize("name", ["chop", "circle", "hand_to_chin", "flick_away"])
def test_the_left_hand_makes_the_mirror_image(name):
    kind = GESTURES[name]
    for variant in kind.variants:
        left, right = (gold_form(perform(kind, variant, 3, share)) for share in (0.0, 1.0))
        assert (left.handedness, right.handedness) == ("left", "right")
        assert mirrored(left) == right


def test_phases_are_those_of_the_motion():
    rng = np.random.default_rng(2)
    speaker, frames = SPEAKERS[0], 600
    rest = speaker.rests[0]
    gestures = [
        make_gesture(GESTURES[name], speaker, start_s, start_s + 0.5, rng)
        for name, start_s in (("palm_out", 2.0), ("fist_down", 6.0), ("bowl", 7.9), ("rise", 15.0))
    ]
    phases = gold_phases(gestures, rest, frames)
    sides = [arm_motion(gestures, side, rest, frames)[0] for side in ("left", "right")]
    moved = np.max([np.abs(np.diff(arm, axis=0)).max(axis=(1, 2)) for arm in sides], axis=0)
    is_moving = np.flatnonzero(moved > 1e-6)
    arrived = -1  # where the hands were free for the next gesture
    for times, gesture in zip(phases, gestures, strict=True):
        start, hold, retraction, end = (
            round(seconds * FPS)
            for seconds in (times.start_s, times.hold_s, times.retraction_s, times.end_s)
        )
        assert times.stroke_s == pytest.approx(gesture.first / FPS, abs=1e-4)
        assert times.retraction_s - times.hold_s == pytest.approx(gesture.hold_s, abs=1e-3)
        # Hands that are held stay, and those at rest do until the preparation.
        assert moved[hold + 1 : retraction - 1].max(initial=0) < 1e-6
        assert start in is_moving
        assert start == arrived or start - 1 not in is_moving
        assert end - 1 in is_moving or end == retraction
        arrived = end


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    out = tmp_path_factory.mktemp("gold")
    write_corpus(out, 12, seed=11, seconds=60.0)
    return [read_take(out, take_id) for take_id in list_takes(out).take_ids]


def test_gold_is_what_a_second_reading_of_the_motion_finds(takes):
    """The verbalizer measures the motion; gold comes from the plan. They may differ near limits."""
    pairs: dict[str, list[bool]] = {}

    def compare(name: str, planned: object, measured: object) -> None:
        pairs.setdefault(name, []).append(planned == measured)

    for take in takes:
        clips = [take.poses[round(g.start_s * 30) : round(g.end_s * 30)] for g in take.gold]
        for gesture, (measured, _) in zip(take.gold, describe_many(clips), strict=True):
            assert gesture.form is not None and gesture.phases is not None
            planned = gesture.form
            for name in ("handedness", "relation", "hold", "head"):
                compare(name, getattr(planned, name), getattr(measured, name))
            for side in ("left", "right"):
                a, b = getattr(planned, side), getattr(measured, side)
                if a is None or b is None:
                    continue
                for name in ("palm", "shape", "contact"):
                    compare(name, getattr(a, name), getattr(b, name))
                for part in ("location", "trajectory"):
                    for name, value in getattr(a, part):
                        compare(name, value, getattr(getattr(b, part), name))
    agreement = {name: float(np.mean(same)) for name, same in pairs.items()}
    assert len(pairs["handedness"]) > 50 and len(agreement) == 16
    certain = ("handedness", "relation", "palm", "shape", "contact", "side")
    assert all(agreement[name] >= 0.98 for name in certain), agreement
    assert all(share >= 0.93 for share in agreement.values()), agreement


def test_gold_uses_the_limits_of_the_verbalizer():
    heights = (
        thresholds.ABOVE_HEAD_FROM,
        thresholds.HEAD_FROM,
        thresholds.SHOULDER_FROM,
        thresholds.CHEST_FROM,
        thresholds.WAIST_FROM,
    )
    assert tuple(limit for limit, _ in gold.HEIGHTS[:-1]) == heights
    zones = [
        (thresholds.CENTRE_CENTRE_HALF_WIDTH, *thresholds.CENTRE_CENTRE_HEIGHTS),
        (thresholds.CENTRE_HALF_WIDTH, *thresholds.CENTRE_HEIGHTS),
        (thresholds.PERIPHERY_HALF_WIDTH, *thresholds.PERIPHERY_HEIGHTS),
    ]
    assert [limits for _, *limits in gold.ZONES[:-1]] == [list(zone) for zone in zones]
    assert gold.SIDE_FROM == thresholds.SIDE_FROM
    assert [limit for limit, _ in gold.REACHES[:-1]] == [
        thresholds.FAR_REACH_FROM,
        thresholds.MEDIUM_REACH_FROM,
    ]
    assert [limit for limit, _ in gold.AMPLITUDES[:-1]] == [
        thresholds.LARGE_FROM,
        thresholds.MEDIUM_FROM,
    ]
    assert [limit for limit, _ in gold.SPEEDS[:-1]] == [
        thresholds.FAST_FROM,
        thresholds.MODERATE_FROM,
    ]
    assert gold.STILL_SPEED == thresholds.STILL_SPEED
    assert gold.SMOOTHING_S == thresholds.SMOOTHING_S
