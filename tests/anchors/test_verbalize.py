"""The verbalizer on motions whose form is known, because they are made joint by joint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gestray import form as vocabulary
from gestray.anchors.hand_tracks import hand_tracks
from gestray.anchors.stroke import stroke_window
from gestray.anchors.verbalize import describe, describe_many, mirrored, sentence
from gestray.anchors.wording import mirrored_hand
from gestray.errors import UserError
from gestray.form import HandForm, HandShape, Location, PhysicalForm, Trajectory
from gestray.motion.kinematics import mirror_poses
from gestray.motion.rotations import resample_axis_angle
from gestray.motion.skeleton import JOINT_NAMES, joint

FPS = 30
# What an arm does, in degrees; all zero is an arm that hangs with the palm to the thigh.
#   raised   upper arm swung to the front      aside   upper arm lifted to the side
#   out      forearm swung outward about the upper arm (with a bent elbow)
#   elbow    bend of the elbow                 palm_up twist of the forearm, -90 is palm down
#   back     hand bent backward at the wrist
Arm = dict[str, Any]
HANGING: Arm = {"elbow": 8.0}
# Flexion of each joint of (index, middle, ring, pinky), the thumb's first joint, and spread.
FINGERS: dict[HandShape, tuple[tuple[float, ...], float]] = {
    "relaxed": ((16, 18, 20, 20), 0),
    "flat": ((3, 3, 3, 3), 0),
    "spread": ((3, 3, 3, 3), 12),
    "fist": ((75, 75, 75, 75), 0),
    "index": ((4, 75, 75, 75), 0),
    "two fingers": ((4, 4, 75, 75), 0),
}


def arm_angles(arm: dict[str, np.ndarray], frames: int) -> dict[int, np.ndarray]:
    """Axis-angle (frames, 3) of the left arm's joints."""

    def angle(name: str) -> np.ndarray:
        return np.broadcast_to(np.asarray(arm.get(name, 0.0), dtype=float), (frames,))

    def turn(axis: str, degrees: np.ndarray) -> Rotation:
        return Rotation.from_rotvec(np.deg2rad(degrees)[:, None] * np.eye(3)["xyz".index(axis)])

    shoulder = (
        turn("x", -angle("raised")) * turn("z", angle("aside") - 90) * turn("x", -angle("out"))
    )
    elbow = turn("y", -angle("elbow"))
    wrist = turn("x", -angle("palm_up")) * turn("z", angle("back"))
    names = ("left_shoulder", "left_elbow", "left_wrist")
    return {joint(n): r.as_rotvec() for n, r in zip(names, (shoulder, elbow, wrist), strict=True)}


def finger_angles(shape: HandShape) -> dict[int, np.ndarray]:
    bends, spread = FINGERS[shape]
    found = {}
    for finger, bend, aside in zip(
        ("index", "middle", "ring", "pinky"), bends, (1, 0, -0.5, -1.5), strict=True
    ):
        for k in (1, 2, 3):
            vector = (0.0, -aside * spread if k == 1 else 0.0, -bend)
            found[joint(f"left_{finger}{k}")] = np.deg2rad(vector)
    return found


def move(
    *keys: tuple[float, Arm], shape: HandShape = "relaxed", side: str = "right", fps: int = FPS
) -> np.ndarray:
    """One arm's motion (T, 165): eased from key to key, each (seconds, arm); the other hangs."""
    seconds = np.arange(round(keys[-1][0] * fps) + 1) / fps
    times = np.array([t for t, _ in keys])
    span = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, len(keys) - 2)
    part = (seconds - times[span]) / np.diff(times)[span]
    eased = 10 * part**3 - 15 * part**4 + 6 * part**5  # minimum jerk (Flash & Hogan 1985)
    names = {name for _, arm in keys for name in arm}
    tracks = {}
    for name in names:
        values = np.array([arm.get(name, 0.0) for _, arm in keys])
        tracks[name] = values[span] + np.diff(values)[span] * eased
    return animate(tracks, len(seconds), shape, side)


def animate(
    tracks: dict[str, np.ndarray], frames: int, shape: HandShape = "relaxed", side: str = "right"
) -> np.ndarray:
    poses = np.zeros((frames, 55, 3))
    for i, angles in {**arm_angles(tracks, frames), **finger_angles(shape)}.items():
        poses[:, i] = angles
    if side == "right":
        poses = mirror(poses.reshape(frames, 165)).reshape(frames, 55, 3)
    hanging = arm_angles({k: np.array(v) for k, v in HANGING.items()}, frames)
    other = np.zeros((frames, 55, 3))
    for i, angles in {**hanging, **finger_angles("relaxed")}.items():
        other[:, i] = angles
    if side == "left":
        other = mirror(other.reshape(frames, 165)).reshape(frames, 55, 3)
    return (poses + other).reshape(frames, 165)


def mirror(poses: np.ndarray) -> np.ndarray:
    return mirror_poses(torch.from_numpy(poses)).numpy()


def both(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The right arm of one motion with the left arm of another."""
    poses = right.copy().reshape(-1, 55, 3)
    for i in range(55):
        if JOINT_NAMES[i].startswith("left_"):
            poses[:, i] = left.reshape(-1, 55, 3)[:, i]
    return poses.reshape(-1, 165)


def held(arm: Arm, shape: HandShape = "relaxed", side: str = "right") -> np.ndarray:
    """From rest to a posture, held for a second, and back to rest."""
    rest = HANGING
    return move(
        (0, rest),
        (0.4, rest),
        (1.0, arm),
        (2.2, arm),
        (2.8, rest),
        (3.2, rest),
        shape=shape,
        side=side,
    )


def stroke(start: Arm, end: Arm, side: str = "right", seconds: float = 0.5) -> np.ndarray:
    """Rest, preparation, a stroke from start to end, a hold, and back to rest."""
    return move(
        (0, HANGING), (0.4, HANGING), (1.0, start), (1.15, start), (1.15 + seconds, end),
        (1.5 + seconds, end), (2.1 + seconds, HANGING), (2.5 + seconds, HANGING), side=side,
    )  # fmt: skip


def right_hand(form: PhysicalForm) -> HandForm:
    assert form.handedness == "right", sentence(form)
    assert form.right is not None
    return form.right


BEFORE_WAIST: Arm = {"elbow": 80.0}
BEFORE_CHEST: Arm = {"elbow": 105.0, "raised": 10.0}


def sway(frames: int, degrees: float, seed: int = 0) -> np.ndarray:
    """Slow wobble of a standing person (frames,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / FPS
    waves = [np.sin(2 * np.pi * (f * t + rng.random())) for f in (0.15, 0.3, 0.7)]
    return degrees * np.sum(waves, axis=0) / 3


# --- who takes part ------------------------------------------------------------------------


def test_a_person_at_rest_makes_no_gesture() -> None:
    frames = 120
    arm = {"elbow": 12 + sway(frames, 3), "aside": 5 + sway(frames, 2, 1)}
    assert describe(animate(arm, frames)).handedness == "none"
    assert describe(animate({}, 1)).handedness == "none"


def test_hands_folded_before_the_belly_make_no_gesture() -> None:
    frames = 120
    arm = {"elbow": 70 + sway(frames, 2), "out": -25.0 + sway(frames, 1, 1)}
    resting = animate(arm, frames)
    assert describe(both(resting, mirror(resting))).handedness == "none"


def test_a_walking_body_with_resting_arms_makes_no_gesture() -> None:
    poses = animate({"elbow": 12 + sway(120, 3)}, 120).reshape(120, 55, 3)
    poses[:, 0, 1] = np.linspace(0, 3, 120)
    poses[:, joint("spine2"), 0] = 0.3 * np.sin(np.arange(120) / 10)
    assert describe(poses.reshape(120, 165)).handedness == "none"


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_hand_that_leaves_rest_takes_part(side: str) -> None:
    assert describe(held(BEFORE_WAIST, side=side)).handedness == side


def test_a_small_beat_from_hands_at_the_waist_is_a_gesture() -> None:
    frames = 90
    beats = np.where(np.abs(np.arange(frames) - 45) < 20, np.arange(frames) - 25, 0)
    resting = animate({"elbow": np.full(frames, 70.0)}, frames)
    beating = animate({"elbow": 75 + 9 * np.sin(2 * np.pi * beats / 13.33)}, frames)
    hand = right_hand(describe(both(beating, mirror(resting))))
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
    location = right_hand(describe(held(arm))).location
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
    assert right_hand(describe(held(arm))).location.zone == zone


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
    form = describe(held(arm, side=side))
    hand = form.left if side == "left" else form.right
    assert hand is not None and hand.palm == palm


@pytest.mark.parametrize("shape", list(FINGERS))
@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_shapes(shape: HandShape, side: str) -> None:
    form = describe(held(BEFORE_CHEST, shape=shape, side=side))
    hand = form.left if side == "left" else form.right
    assert hand is not None and hand.shape == shape


def test_a_hand_that_changes_has_the_shape_it_has_longest() -> None:
    clip, two = held(BEFORE_CHEST, shape="index"), held(BEFORE_CHEST, shape="two fingers")
    clip[:40], clip[66:] = two[:40], two[66:]  # held from 1.0 s to 2.2 s
    assert right_hand(describe(clip)).shape == "index"


def test_thumb_up_is_a_fist_whose_thumb_points_up() -> None:
    poses = held(BEFORE_CHEST, shape="fist").reshape(-1, 55, 3)
    poses[:, joint("right_thumb1")] = (-0.9, 0.6, 0.0)  # out of the palm, to the thumb side
    assert right_hand(describe(poses.reshape(-1, 165))).shape == "thumb up"
    palm_down = held({**BEFORE_CHEST, "palm_up": -90.0}, shape="fist").reshape(-1, 55, 3)
    palm_down[:, joint("right_thumb1")] = (-0.9, 0.6, 0.0)
    assert right_hand(describe(palm_down.reshape(-1, 165))).shape == "fist"


def test_pinch_is_the_tip_of_the_thumb_at_the_tip_of_the_index() -> None:
    """The thumb is brought to the index tip by search, from the joint positions alone."""
    poses = held(BEFORE_CHEST).reshape(-1, 55, 3)
    for k, bend in zip((1, 2, 3), (52.0, 52.0, 24.0), strict=True):
        poses[:, joint(f"right_index{k}")] = np.deg2rad((0.0, 0.0, bend))
    assert right_hand(describe(poses.reshape(-1, 165))).shape == "relaxed"
    grid = np.array(np.meshgrid(*[np.linspace(-0.8, 0.8, 11)] * 3)).reshape(3, -1).T
    tries = np.repeat(poses[45:46], len(grid), axis=0)
    tries[:, joint("right_thumb1")] = grid
    gaps = hand_tracks([tries.reshape(-1, 165)], FPS).pinch_gap[0, 1]
    poses[:, joint("right_thumb1")] = grid[int(gaps.argmin())]
    assert right_hand(describe(poses.reshape(-1, 165))).shape == "pinch"


# --- how it moves --------------------------------------------------------------------------


def test_a_held_hand_is_static() -> None:
    trajectory = right_hand(describe(held(BEFORE_CHEST))).trajectory
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
    trajectory = right_hand(describe(stroke(start, end))).trajectory
    assert (trajectory.direction, trajectory.repetitions) == (direction, 1)
    assert trajectory.path == "straight"
    assert trajectory.amplitude in ("medium", "large")


def test_preparation_and_retraction_are_not_described() -> None:
    clip = stroke({"elbow": 90.0, "out": -25.0}, {"elbow": 90.0, "out": 35.0})
    window = stroke_window(hand_tracks([clip], FPS))[0]
    frames = torch.nonzero(window).flatten() / FPS
    # The stroke lasts from 1.15 s to 1.65 s, between a short and a longer hold.
    assert 0.85 < frames[0] < 1.2 and 1.6 < frames[-1] < 2.1


def test_amplitude_and_speed_grow_with_the_movement() -> None:
    def trajectory(degrees: float, seconds: float) -> Trajectory:
        start, end = ({"elbow": 90.0, "out": out} for out in (-degrees / 2, degrees / 2))
        return right_hand(describe(stroke(start, end, seconds=seconds))).trajectory

    assert trajectory(16, 0.3).amplitude == "small"
    assert trajectory(45, 0.5).amplitude == "medium"
    assert trajectory(90, 0.5).amplitude == "large"
    assert trajectory(45, 1.0).speed == "slow"
    assert trajectory(45, 0.4).speed == "moderate"
    assert trajectory(90, 0.25).speed == "fast"


def _repeated(tracks: dict[str, np.ndarray]) -> np.ndarray:
    """The movement `tracks` (arrays of angles), with a way to it from rest and back."""
    start, end = ({name: float(track[i]) for name, track in tracks.items()} for i in (0, -1))
    way_in = move((0, HANGING), (0.3, HANGING), (0.9, start), (1.0, start))
    way_out = move((0, end), (0.2, end), (0.8, HANGING), (1.1, HANGING))
    frames = len(next(iter(tracks.values())))
    return np.concatenate([way_in, animate(tracks, frames), way_out])


def test_a_wave_from_side_to_side_is_a_zigzag() -> None:
    t = np.arange(39) / FPS
    out = -20 * np.cos(2 * np.pi * t / 0.42)
    trajectory = right_hand(
        describe(_repeated({"out": out, "elbow": np.full(39, 100.0)}))
    ).trajectory
    assert (trajectory.path, trajectory.direction, trajectory.repetitions) == ("zigzag", "right", 3)


@pytest.mark.parametrize(("sense", "direction"), [(1, "left"), (-1, "right")])
def test_a_circle_is_named_by_the_way_of_its_top(sense: int, direction: str) -> None:
    phase = 2 * np.pi * np.arange(36) / 18
    tracks = {"elbow": 95 - 16 * np.cos(phase), "out": 5 + sense * 17 * np.sin(phase)}
    trajectory = right_hand(describe(_repeated(tracks))).trajectory
    assert (trajectory.path, trajectory.repetitions) == ("circle", 2)
    assert trajectory.direction == direction


def test_a_wide_swing_over_the_top_is_an_arc() -> None:
    part = np.linspace(0, np.pi, 21)
    tracks = {"out": -35 * np.cos(part), "elbow": 75 + 30 * np.sin(part)}
    trajectory = right_hand(describe(_repeated(tracks))).trajectory
    assert (trajectory.path, trajectory.direction, trajectory.repetitions) == ("arc", "right", 1)


# --- both hands ----------------------------------------------------------------------------


def test_relations_of_both_hands() -> None:
    up = stroke({"elbow": 75.0}, {"elbow": 115.0})
    assert describe(both(up, mirror(up))).relation == "mirror"
    opening = stroke({"elbow": 90.0, "out": -20.0}, {"elbow": 90.0, "out": 40.0})
    assert describe(both(opening, mirror(opening))).relation == "apart"
    closing = stroke({"elbow": 90.0, "out": 40.0}, {"elbow": 90.0, "out": -20.0})
    assert describe(both(closing, mirror(closing))).relation == "together"
    assert describe(both(opening, mirror(closing))).relation == "parallel"
    near = held({"elbow": 90.0, "out": -28.0})
    assert describe(both(near, mirror(near))).relation == "together"
    wide = held({"elbow": 90.0, "out": 20.0})
    assert describe(both(wide, mirror(wide))).relation == "mirror"
    t = np.arange(36) / FPS
    seesaw = 90 + 20 * np.sin(2 * np.pi * t / 0.6)
    one, other = (_repeated({"elbow": e}) for e in (seesaw, 180 - seesaw))
    assert describe(both(one, mirror(other))).relation == "alternating"


def test_mirrored_hands_have_mirrored_forms() -> None:
    opening = stroke({"elbow": 90.0, "out": -20.0}, {"elbow": 90.0, "out": 40.0})
    form = describe(both(opening, mirror(opening)))
    assert form.left is not None and form.right == mirrored_hand(form.left)
    assert sentence(form).startswith("Both hands, relaxed and palm facing inward, ")
    assert "outward" in sentence(form)


# --- what must not matter -------------------------------------------------------------------

GESTURES = {
    "held": held(BEFORE_CHEST, shape="index"),
    "stroke": stroke({"elbow": 90.0, "out": -25.0}, {"elbow": 90.0, "out": 35.0}),
    "left": stroke({"elbow": 75.0}, {"elbow": 115.0}, side="left"),
    "rest": animate({"elbow": 12 + sway(90, 3)}, 90),
    "both": both(
        stroke({"elbow": 75.0}, {"elbow": 115.0}),
        stroke({"elbow": 90.0, "out": 0.0}, {"elbow": 90.0, "out": 40.0}, side="left"),
    ),
}


@pytest.mark.parametrize("name", list(GESTURES))
def test_describing_the_mirror_image_mirrors_the_description(name: str) -> None:
    form = describe(GESTURES[name])
    assert describe(mirror(GESTURES[name])) == mirrored(form)
    assert mirrored(mirrored(form)) == form


@pytest.mark.parametrize("name", list(GESTURES))
@given(vector=st.tuples(*[st.floats(-3, 3)] * 3), lean=st.floats(-0.5, 0.5))
@settings(max_examples=8, deadline=None)
def test_facing_lean_and_legs_do_not_matter(
    name: str, vector: tuple[float, float, float], lean: float
) -> None:
    turned = GESTURES[name].copy().reshape(-1, 55, 3)
    turned[:, 0] = vector
    turned[:, joint("spine1"), 0] = lean * np.sin(np.arange(len(turned)) / 20)
    turned[:, joint("left_knee"), 0] = lean
    assert describe(turned.reshape(-1, 165)) == describe(GESTURES[name])


def test_frame_rate_does_not_matter() -> None:
    for name, poses in GESTURES.items():
        fast = resample_axis_angle(poses, FPS, 60)
        assert describe(fast, fps=60) == describe(poses), name


def test_many_clips_are_read_as_each_alone() -> None:
    clips: list[np.ndarray | torch.Tensor] = [*GESTURES.values(), torch.zeros(1, 165)]
    assert describe_many(clips) == [describe(clip) for clip in clips]
    assert describe_many([]) == []


def test_unreadable_clips_are_refused() -> None:
    with pytest.raises(UserError, match=r"clip 1: poses have shape \(9, 156\)"):
        describe_many([np.zeros((9, 165)), np.zeros((9, 156))])
    with pytest.raises(UserError, match="finite"):
        describe(np.full((9, 165), np.nan))
    with pytest.raises(UserError, match="fps"):
        describe(np.zeros((9, 165)), fps=0)


# --- sentences -----------------------------------------------------------------------------


def _hands() -> st.SearchStrategy[HandForm]:
    def one_of(kind: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from(get_args(kind))

    location = st.builds(
        Location,
        zone=one_of(vocabulary.Zone),
        height=one_of(vocabulary.Height),
        side=one_of(vocabulary.Side),
        reach=one_of(vocabulary.Reach),
    )
    trajectory = st.builds(
        Trajectory,
        path=one_of(vocabulary.Path),
        direction=one_of(vocabulary.Direction),
        repetitions=st.integers(0, 20),
        amplitude=one_of(vocabulary.Amplitude),
        speed=one_of(vocabulary.Speed),
    )
    return st.builds(
        HandForm,
        location=location,
        palm=one_of(vocabulary.Palm),
        shape=one_of(vocabulary.HandShape),
        trajectory=trajectory,
    )


@st.composite
def _forms(draw: st.DrawFn) -> PhysicalForm:
    handedness = draw(st.sampled_from(get_args(vocabulary.Handedness)))
    left = draw(_hands()) if handedness in ("left", "both") else None
    right = draw(_hands()) if handedness in ("right", "both") else None
    if left is not None and right is not None and draw(st.booleans()):
        right = mirrored_hand(left)
    of_pairs = [r for r in get_args(vocabulary.Relation) if r != "single"]
    relation: Any = draw(st.sampled_from(of_pairs)) if handedness == "both" else "single"
    return PhysicalForm(handedness=handedness, left=left, right=right, relation=relation)


@given(_forms(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_change_of_any_term_changes_the_sentence(form: PhysicalForm, data: st.DataObject) -> None:
    other = data.draw(_forms())
    if form.left is not None and data.draw(st.booleans()):
        # One term of one hand, where sentences could most easily fail to differ.
        part = data.draw(st.sampled_from(["location", "trajectory", "palm", "shape"]))
        donor = data.draw(_hands())
        hand = form.left.model_copy(update={part: getattr(donor, part)})
        other = form.model_copy(update={"left": hand})
    assert (sentence(other) == sentence(form)) == (other == form)


def test_sentences_read_well() -> None:
    hand = HandForm(
        location=Location(zone="periphery", height="chest", side="right", reach="far"),
        palm="down",
        shape="index",
        trajectory=Trajectory(
            path="straight", direction="forward", repetitions=2, amplitude="medium", speed="fast"
        ),
    )
    form = PhysicalForm(handedness="right", right=hand)
    assert sentence(form) == (
        "The right hand, index finger extended and palm down, moves straight forward some way "
        "fast twice at chest height in the right periphery, at full reach."
    )
    pair = PhysicalForm(
        handedness="both", left=mirrored_hand(hand), right=hand, relation="parallel"
    )
    assert sentence(pair) == (
        "Both hands, index finger extended and palm down, move straight forward some way fast "
        "twice at chest height each on its own side of the periphery, at full reach, in parallel."
    )
    assert sentence(PhysicalForm(handedness="none")) == "Both hands stay at rest."


# --- a real recording ------------------------------------------------------------------------


def test_real_speech_has_varied_and_valid_forms(shared_dir: Path) -> None:
    folder = shared_dir / "data/beat2/beat_english_v2.0.0/smplxflame_30"
    with np.load(folder / "2_scott_0_1_1.npz", allow_pickle=False) as file:
        poses = file["poses"]
    clips = [poses[i : i + 120] for i in range(0, len(poses) - 120, 60)]
    forms = describe_many(clips)
    gesturing = [form for form in forms if form.handedness != "none"]
    # This speaker's hands hardly ever rest (see the quantiles in thresholds.py).
    assert 0.7 <= len(gesturing) / len(forms) <= 1.0
    assert len({sentence(form) for form in forms}) > 0.7 * len(forms)
    hands = [hand for form in gesturing for hand in (form.left, form.right) if hand is not None]
    assert {"waist", "chest"} <= {hand.location.height for hand in hands}
    assert np.mean([hand.shape == "relaxed" for hand in hands]) > 0.5
    for clip, form in zip(clips, forms, strict=True):
        assert describe(mirror(clip)) == mirrored(form)
