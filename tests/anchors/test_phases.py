"""When the phases of a gesture begin and end, what hands touch, and what the head does."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.anchors.verbalize import describe
from gestray.form import GesturePhases
from gestray.motion.skeleton import joint
from tests.anchors.motions import (
    BEFORE_CHEST,
    FPS,
    HANGING,
    animate,
    both,
    form_of,
    held,
    mirror,
    move,
    stroke,
    sway,
)


def phases_of(poses: np.ndarray) -> GesturePhases:
    phases = describe(poses, FPS).phases
    assert phases is not None
    return phases


def test_phases_of_a_stroke_with_a_hold() -> None:
    found = phases_of(stroke({"elbow": 90.0, "out": -15.0}, {"elbow": 90.0, "out": 50.0}))
    # A minimum-jerk movement is almost still for a tenth of its time at either end.
    assert found.start_s == pytest.approx(0.4, abs=0.12)
    assert found.stroke_s == pytest.approx(1.1, abs=0.1)
    assert found.hold_s == pytest.approx(1.65, abs=0.1)
    assert found.retraction_s == pytest.approx(2.0, abs=0.1)
    assert found.end_s == pytest.approx(2.6, abs=0.12)


def test_a_held_posture_is_all_hold() -> None:
    form, phases = describe(held(BEFORE_CHEST))
    assert phases is not None and form.hold == "long"
    assert phases.hold_s == phases.stroke_s
    assert phases.retraction_s - phases.hold_s == pytest.approx(1.2, abs=0.2)


@pytest.mark.parametrize(("seconds", "hold"), [(0.05, "none"), (0.35, "brief"), (0.9, "long")])
def test_how_long_hands_stay(seconds: float, hold: str) -> None:
    start, end = {"elbow": 90.0, "out": -15.0}, {"elbow": 90.0, "out": 50.0}
    clip = move(
        (0, HANGING), (0.4, HANGING), (1.0, start), (1.5, end), (1.5 + seconds, end),
        (2.1 + seconds, HANGING), (2.5 + seconds, HANGING),
    )  # fmt: skip
    assert form_of(clip).hold == hold


def test_the_hold_of_an_earlier_gesture_is_none_of_this_one() -> None:
    earlier, start, end = {"elbow": 120.0, "out": 40.0}, {"elbow": 80.0}, {"elbow": 115.0}
    clip = move(
        (0, earlier), (0.4, earlier), (0.9, start), (1.4, end), (1.8, end), (2.4, HANGING),
        (2.8, HANGING),
    )  # fmt: skip
    form, phases = describe(clip)
    assert form.right is not None and form.right.trajectory.direction == "up"
    assert phases is not None and phases.stroke_s == pytest.approx(0.9, abs=0.1)


def test_no_gesture_has_no_phases() -> None:
    assert describe(animate({"elbow": 12 + sway(90, 3)}, 90)).phases is None


# --- contacts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arm", "contact"),
    [
        ({"elbow": 128.0, "out": -55.0, "palm_up": 90.0}, "chest"),
        ({"raised": 55.0, "elbow": 138.0, "out": -45.0, "palm_up": 90.0}, "head"),
        (BEFORE_CHEST, "none"),
    ],
)
def test_what_a_hand_touches(arm: dict[str, float], contact: str) -> None:
    form = form_of(held(arm))
    assert form.right is not None and form.right.contact == contact


def test_hands_that_meet_touch_each_other() -> None:
    closing = stroke({"elbow": 90.0, "out": 40.0}, {"elbow": 90.0, "out": -28.0})
    form = form_of(both(closing, mirror(closing)))
    assert form.left is not None and form.right is not None
    assert form.left.contact == form.right.contact == "other hand"
    assert form.relation == "together"
    opening = stroke({"elbow": 90.0, "out": -28.0}, {"elbow": 90.0, "out": 40.0})
    form = form_of(both(opening, mirror(opening)))
    assert form.left is not None and form.left.contact == "none"
    assert form.relation == "apart"


# --- head -----------------------------------------------------------------------------------


def with_head(clip: np.ndarray, axis: int, angle: np.ndarray) -> np.ndarray:
    poses = clip.copy().reshape(-1, 55, 3)
    poses[:, joint("neck"), axis] += angle / 2
    poses[:, joint("head"), axis] += angle / 2
    return poses.reshape(-1, 165)


@pytest.mark.parametrize(("axis", "movement"), [(0, "nod"), (1, "shake")])
def test_nods_and_shakes(axis: int, movement: str) -> None:
    clip = held(BEFORE_CHEST)
    seconds = np.arange(len(clip)) / FPS
    quick = 0.18 * np.sin(2 * np.pi * 1.8 * seconds)
    assert form_of(with_head(clip, axis, quick)).head == movement
    drift = 0.18 * np.sin(2 * np.pi * 0.25 * seconds)
    assert form_of(with_head(clip, axis, drift)).head == "none"


def test_a_tilt_comes_and_goes_with_the_gesture() -> None:
    clip = held(BEFORE_CHEST)
    seconds = np.arange(len(clip)) / FPS
    lean = 0.18 * np.clip(np.minimum(seconds - 0.7, 2.5 - seconds) / 0.25, 0, 1)
    assert form_of(with_head(clip, 2, lean)).head == "tilt"
    always = np.full(len(clip), 0.18)
    assert form_of(with_head(clip, 2, always)).head == "none"
    drift = 0.1 * seconds / seconds[-1]
    assert form_of(with_head(clip, 2, drift)).head == "none"
