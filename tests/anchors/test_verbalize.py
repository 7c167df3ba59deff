"""The verbalizer on motions whose form is known, because they are made joint by joint."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.anchors.hand_tracks import hand_tracks
from gestray.anchors.verbalize import sentence
from gestray.anchors.wording import mirrored_hand
from gestray.form import HandForm, HandShape, PhysicalForm, Trajectory
from gestray.motion.skeleton import joint
from tests.anchors.motions import (
    BEFORE_CHEST,
    BEFORE_WAIST,
    FINGERS,
    FPS,
    Arm,
    animate,
    both,
    form_of,
    held,
    mirror,
    repeated,
    stroke,
    sway,
)


def right_hand(form: PhysicalForm) -> HandForm:
    assert form.handedness == "right", sentence(form)
    assert form.right is not None
    return form.right


# --- who takes part ------------------------------------------------------------------------


def test_a_person_at_rest_makes_no_gesture() -> None:
    frames = 120
    arm = {"elbow": 12 + sway(frames, 3), "aside": 5 + sway(frames, 2, 1)}
    assert form_of(animate(arm, frames)).handedness == "none"
    assert form_of(animate({}, 1)).handedness == "none"


def test_hands_folded_before_the_belly_make_no_gesture() -> None:
    frames = 120
    arm = {"elbow": 70 + sway(frames, 2), "out": -25.0 + sway(frames, 1, 1)}
    resting = animate(arm, frames)
    assert form_of(both(resting, mirror(resting))).handedness == "none"


def test_a_walking_body_with_resting_arms_makes_no_gesture() -> None:
    poses = animate({"elbow": 12 + sway(120, 3)}, 120).reshape(120, 55, 3)
    poses[:, 0, 1] = np.linspace(0, 3, 120)
    poses[:, joint("spine2"), 0] = 0.3 * np.sin(np.arange(120) / 10)
    assert form_of(poses.reshape(120, 165)).handedness == "none"


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_hand_that_leaves_rest_takes_part(side: str) -> None:
    assert form_of(held(BEFORE_WAIST, side=side)).handedness == side


def test_a_small_beat_from_hands_at_the_waist_is_a_gesture() -> None:
    frames = 90
    beats = np.where(np.abs(np.arange(frames) - 45) < 20, np.arange(frames) - 25, 0)
    resting = animate({"elbow": np.full(frames, 70.0)}, frames)
    beating = animate({"elbow": 75 + 9 * np.sin(2 * np.pi * beats / 13.33)}, frames)
    hand = right_hand(form_of(both(beating, mirror(resting))))
    assert hand.trajectory.amplitude == "small"
    assert hand.trajectory.path == "straight"
    assert hand.trajectory.direction in ("up", "down")
    assert hand.trajectory.repetitions == 3


# --- where, how the palm is turned, which shape ---------------------------------------------


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (BEFORE_WAIST, ("waist", "right", "medium")),
        (BEFORE_CHEST, ("chest", "right", "medium")),
        ({"elbow": 100.0, "out": -35.0, "raised": 15.0}, ("chest", "middle", "medium")),
        ({"raised": 85.0, "elbow": 5.0}, ("shoulder", "right", "far")),
        ({"raised": 60.0, "elbow": 110.0}, ("head", "right", "medium")),
        ({"raised": 165.0, "elbow": 10.0}, ("above head", "right", "close")),
        ({"elbow": 90.0, "out": -50.0}, ("waist", "middle", "close")),
    ],
)
def test_where_a_hand_is_held(arm: Arm, expected: tuple[str, str, str]) -> None:
    location = right_hand(form_of(held(arm))).location
    assert (location.height, location.side, location.reach) == expected


@pytest.mark.parametrize(
    ("arm", "zone"),
    [
        ({"elbow": 100.0, "out": -40.0}, "centre-centre"),
        ({"elbow": 95.0}, "centre"),
        ({"elbow": 95.0, "out": 40.0}, "periphery"),
        ({"elbow": 10.0, "aside": 80.0}, "extreme periphery"),
    ],
)
def test_zones_of_gesture_space(arm: Arm, zone: str) -> None:
    assert right_hand(form_of(held(arm))).location.zone == zone


@pytest.mark.parametrize(
    ("arm", "palm"),
    [
        ({"elbow": 90.0}, "inward"),
        ({"elbow": 90.0, "palm_up": 90.0}, "up"),
        ({"elbow": 90.0, "palm_up": -90.0}, "down"),
        ({"raised": 40.0, "elbow": 130.0, "palm_up": -90.0}, "to front"),
        ({"raised": 40.0, "elbow": 130.0, "palm_up": 90.0}, "to self"),
        ({"elbow": 90.0, "palm_up": -90.0, "back": 80.0}, "to front"),
        ({"raised": 40.0, "elbow": 130.0, "palm_up": 180.0}, "outward"),
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_where_the_palm_faces(arm: Arm, palm: str, side: str) -> None:
    form = form_of(held(arm, side=side))
    hand = form.left if side == "left" else form.right
    assert hand is not None and hand.palm == palm


@pytest.mark.parametrize("shape", list(FINGERS))
@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_shapes(shape: HandShape, side: str) -> None:
    form = form_of(held(BEFORE_CHEST, shape=shape, side=side))
    hand = form.left if side == "left" else form.right
    assert hand is not None and hand.shape == shape


def test_a_hand_that_changes_has_the_shape_it_has_longest() -> None:
    clip, two = held(BEFORE_CHEST, shape="index"), held(BEFORE_CHEST, shape="two fingers")
    clip[:40], clip[66:] = two[:40], two[66:]  # held from 1.0 s to 2.2 s
    assert right_hand(form_of(clip)).shape == "index"


def test_thumb_up_is_a_fist_whose_thumb_points_up() -> None:
    poses = held(BEFORE_CHEST, shape="fist").reshape(-1, 55, 3)
    poses[:, joint("right_thumb1")] = (-0.9, 0.6, 0.0)  # out of the palm, to the thumb side
    assert right_hand(form_of(poses.reshape(-1, 165))).shape == "thumb up"
    palm_down = held({**BEFORE_CHEST, "palm_up": -90.0}, shape="fist").reshape(-1, 55, 3)
    palm_down[:, joint("right_thumb1")] = (-0.9, 0.6, 0.0)
    assert right_hand(form_of(palm_down.reshape(-1, 165))).shape == "fist"


def test_pinch_is_the_tip_of_the_thumb_at_the_tip_of_the_index() -> None:
    """The thumb is brought to the index tip by search, from the joint positions alone."""
    poses = held(BEFORE_CHEST).reshape(-1, 55, 3)
    for k, bend in zip((1, 2, 3), (52.0, 52.0, 24.0), strict=True):
        poses[:, joint(f"right_index{k}")] = np.deg2rad((0.0, 0.0, bend))
    assert right_hand(form_of(poses.reshape(-1, 165))).shape == "relaxed"
    grid = np.array(np.meshgrid(*[np.linspace(-0.8, 0.8, 11)] * 3)).reshape(3, -1).T
    tries = np.repeat(poses[45:46], len(grid), axis=0)
    tries[:, joint("right_thumb1")] = grid
    gaps = hand_tracks([tries.reshape(-1, 165)], FPS).pinch_gap[0, 1]
    poses[:, joint("right_thumb1")] = grid[int(gaps.argmin())]
    assert right_hand(form_of(poses.reshape(-1, 165))).shape == "pinch"


# --- how it moves --------------------------------------------------------------------------


def test_a_held_hand_is_static() -> None:
    trajectory = right_hand(form_of(held(BEFORE_CHEST))).trajectory
    assert trajectory == Trajectory(
        path="static", direction="none", repetitions=0, amplitude="none", speed="still"
    )


@pytest.mark.parametrize(
    ("start", "end", "direction"),
    [
        ({"elbow": 75.0}, {"elbow": 115.0}, "up"),
        ({"elbow": 115.0}, {"elbow": 75.0}, "down"),
        ({"elbow": 90.0, "out": -25.0}, {"elbow": 90.0, "out": 35.0}, "right"),
        ({"elbow": 90.0, "out": 35.0}, {"elbow": 90.0, "out": -25.0}, "left"),
        ({"raised": -5.0, "elbow": 110.0}, {"raised": 60.0, "elbow": 25.0}, "forward"),
        ({"raised": 60.0, "elbow": 25.0}, {"raised": -5.0, "elbow": 110.0}, "backward"),
    ],
)
def test_direction_of_a_single_stroke(start: Arm, end: Arm, direction: str) -> None:
    trajectory = right_hand(form_of(stroke(start, end))).trajectory
    assert (trajectory.direction, trajectory.repetitions) == (direction, 1)
    assert trajectory.path == "straight"
    assert trajectory.amplitude in ("medium", "large")


def test_amplitude_and_speed_grow_with_the_movement() -> None:
    def trajectory(degrees: float, seconds: float) -> Trajectory:
        start, end = ({"elbow": 90.0, "out": out} for out in (-degrees / 2, degrees / 2))
        return right_hand(form_of(stroke(start, end, seconds=seconds))).trajectory

    assert trajectory(16, 0.3).amplitude == "small"
    assert trajectory(45, 0.5).amplitude == "medium"
    assert trajectory(90, 0.5).amplitude == "large"
    assert trajectory(45, 1.0).speed == "slow"
    assert trajectory(45, 0.4).speed == "moderate"
    assert trajectory(90, 0.25).speed == "fast"


def test_a_wave_from_side_to_side_is_a_zigzag() -> None:
    t = np.arange(39) / FPS
    out = -20 * np.cos(2 * np.pi * t / 0.42)
    trajectory = right_hand(form_of(repeated({"out": out, "elbow": np.full(39, 100.0)}))).trajectory
    assert (trajectory.path, trajectory.direction, trajectory.repetitions) == ("zigzag", "right", 3)


@pytest.mark.parametrize(("sense", "direction"), [(1, "left"), (-1, "right")])
def test_a_circle_is_named_by_the_way_of_its_top(sense: int, direction: str) -> None:
    phase = 2 * np.pi * np.arange(36) / 18
    tracks = {"elbow": 95 - 16 * np.cos(phase), "out": 5 + sense * 17 * np.sin(phase)}
    trajectory = right_hand(form_of(repeated(tracks))).trajectory
    assert (trajectory.path, trajectory.repetitions) == ("circle", 2)
    assert trajectory.direction == direction


def test_a_wide_swing_over_the_top_is_an_arc() -> None:
    part = np.linspace(0, np.pi, 21)
    tracks = {"out": -35 * np.cos(part), "elbow": 75 + 30 * np.sin(part)}
    trajectory = right_hand(form_of(repeated(tracks))).trajectory
    assert (trajectory.path, trajectory.direction, trajectory.repetitions) == ("arc", "right", 1)


# --- both hands ----------------------------------------------------------------------------


def test_relations_of_both_hands() -> None:
    up = stroke({"elbow": 75.0}, {"elbow": 115.0})
    assert form_of(both(up, mirror(up))).relation == "mirror"
    opening = stroke({"elbow": 90.0, "out": -20.0}, {"elbow": 90.0, "out": 40.0})
    assert form_of(both(opening, mirror(opening))).relation == "apart"
    closing = stroke({"elbow": 90.0, "out": 40.0}, {"elbow": 90.0, "out": -20.0})
    assert form_of(both(closing, mirror(closing))).relation == "together"
    assert form_of(both(opening, mirror(closing))).relation == "parallel"
    near = held({"elbow": 90.0, "out": -27.0, "back": 35.0})
    assert form_of(both(near, mirror(near))).relation == "together"
    joined = held({"elbow": 90.0, "out": -28.0})
    assert form_of(both(joined, mirror(joined))).relation == "touching"
    wide = held({"elbow": 90.0, "out": 20.0})
    assert form_of(both(wide, mirror(wide))).relation == "mirror"
    t = np.arange(36) / FPS
    seesaw = 90 + 20 * np.sin(2 * np.pi * t / 0.6)
    one, other = (repeated({"elbow": e}) for e in (seesaw, 180 - seesaw))
    assert form_of(both(one, mirror(other))).relation == "alternating"


def test_mirrored_hands_have_mirrored_forms() -> None:
    opening = stroke({"elbow": 90.0, "out": -20.0}, {"elbow": 90.0, "out": 40.0})
    form = form_of(both(opening, mirror(opening)))
    assert form.left is not None and form.right == mirrored_hand(form.left)
    assert sentence(form).startswith("Both hands, relaxed and palm facing inward, ")
    assert "outward" in sentence(form)
