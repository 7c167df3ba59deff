"""The arm of the synthetic corpus: inverse kinematics against forward kinematics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.corpora.synthetic.arms import arm_motion, chest_frame, solve_path
from gestray.corpora.synthetic.gesture import GestureType
from gestray.corpora.synthetic.hands import HAND_SHAPES, mirror_hand
from gestray.corpora.synthetic.ik import (
    ARM_JOINTS,
    ARM_LENGTH,
    MAX_ELBOW_FLEXION,
    matrix_to_rotvec,
    mirror_matrices,
    rotvec_to_matrix,
    shoulder_position,
    solve_arm,
)
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import make_gesture, minimum_jerk
from gestray.corpora.synthetic.vocabulary import BEAT, GESTURES
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.skeleton import LEFT_HAND, joint

POLE = np.array([0.5, -0.8, -0.33])


def left_arm_in_space(rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (F, 55, 3) relative to spine3 and global rotations, by forward kinematics."""
    local = np.tile(np.eye(3), (len(rotations), 55, 1, 1))
    local[:, [joint(f"left_{name}") for name in ARM_JOINTS]] = rotations
    positions, turned = forward_kinematics(torch.from_numpy(local))
    spine3 = positions[:, joint("spine3"), None]
    return (positions - spine3).numpy(), turned.numpy()


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.35, 0.98),
    st.floats(-1.0, 1.3),
    st.floats(-1.2, 1.2),
    st.floats(0.0, 0.3),
)
def test_wrist_reaches_its_target(distance, azimuth, height, raised):
    way = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    collar = rotvec_to_matrix(np.array([[0.0, 0.0, raised]]))
    target = shoulder_position(collar) + distance * ARM_LENGTH * way
    palm, fingers = np.array([0.0, -1.0, 0.0]), np.array([0.2, 0.0, 1.0])
    rotations = solve_arm(target, palm, fingers, POLE, collar)
    positions, _ = left_arm_in_space(rotations)
    assert np.allclose(positions[:, joint("left_wrist")], target, atol=1e-6)
    assert np.allclose(rotations @ rotations.swapaxes(-1, -2), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(rotations), 1.0)


def test_wrist_out_of_reach_stops_on_the_line_to_its_target():
    shoulder = shoulder_position()
    way = np.array([0.2, 0.3, 0.9]) / np.linalg.norm([0.2, 0.3, 0.9])
    target = (shoulder + 2 * ARM_LENGTH * way)[None]
    positions, _ = left_arm_in_space(
        solve_arm(target, np.array([0.0, -1, 0]), np.array([0.0, 0, 1]), POLE)
    )
    reached = positions[0, joint("left_wrist")] - shoulder
    assert np.linalg.norm(reached) == pytest.approx(ARM_LENGTH, rel=2e-3)
    assert reached @ way == pytest.approx(np.linalg.norm(reached), rel=1e-6)


def test_hand_faces_as_asked_and_the_elbow_hangs():
    target = chest_frame(np.array([[0.35, -0.3, 0.6]]))
    palm, fingers = np.array([-1.0, 0, 0]), np.array([0.0, 0, 1.0])
    positions, turned = left_arm_in_space(solve_arm(target, palm, fingers, POLE))
    hand = turned[0, joint("left_wrist")]
    # In the T-pose the left palm faces down and its fingers point to +x.
    assert np.allclose(hand @ [0, -1, 0], palm, atol=1e-6)
    assert np.allclose(hand @ [1, 0, 0], fingers, atol=1e-6)
    shoulder, elbow = (positions[0, joint(f"left_{name}")] for name in ("shoulder", "elbow"))
    assert elbow[1] < shoulder[1]


def test_t_pose_is_found_again():
    target = shoulder_position() + np.array([[0.999 * ARM_LENGTH, 0, 0]])
    rotations = solve_arm(
        target, np.array([0.0, -1, 0]), np.array([1.0, 0, 0]), np.array([0.0, 0, -1])
    )
    # Nearly stretched: the elbow is bent by a few degrees, everything else by at most as much.
    assert np.abs(matrix_to_rotvec(rotations)).max() < np.deg2rad(6)


def test_right_arm_is_the_mirror_image_of_the_left():
    variant = GESTURES["offer_to_listener"].variants[1]
    gesture = make_gesture(
        GestureType("addressee", "deictic", (variant,)),
        SPEAKERS[0],
        1.0,
        2.0,
        np.random.default_rng(0),
    )
    assert gesture.left is not None
    solved = solve_path(gesture.left, np.zeros(gesture.frames))
    local = np.tile(np.eye(3), (gesture.frames, 55, 1, 1))
    local[:, [joint(f"right_{name}") for name in ARM_JOINTS]] = mirror_matrices(solved)
    right = forward_kinematics(torch.from_numpy(local))[0].numpy()[:, joint("right_wrist")]
    local[:] = np.eye(3)
    local[:, [joint(f"left_{name}") for name in ARM_JOINTS]] = solved
    left = forward_kinematics(torch.from_numpy(local))[0].numpy()[:, joint("left_wrist")]
    assert np.allclose(right, left * [-1, 1, 1], atol=1e-9)
    shape = HAND_SHAPES["spread"]
    assert np.allclose(
        rotvec_to_matrix(mirror_hand(shape)), mirror_matrices(rotvec_to_matrix(shape))
    )


@pytest.mark.parametrize("name", [*GESTURES, "beat"])
def test_every_variant_can_be_made_by_an_arm(name):
    """Wrists within 5 mm of their plan, palms within 25 degrees, elbows within their range."""
    kind = BEAT if name == "beat" else GESTURES[name]
    for number, variant in enumerate(kind.variants):
        for speaker in SPEAKERS[::3]:
            gesture = make_gesture(
                GestureType(kind.intent, kind.family, (variant,)),
                speaker,
                1.0,
                1.6,
                np.random.default_rng(number),
            )
            for path in (gesture.left, gesture.right):
                if path is None:
                    continue
                raised = variant.shrug * gesture.effort
                positions, turned = left_arm_in_space(solve_path(path, raised))
                away = positions[:, joint("left_wrist")] - chest_frame(path.wrist)
                assert np.linalg.norm(away, axis=1).max() < 0.005, (name, number)
                palm = path.palm / np.linalg.norm(path.palm, axis=1, keepdims=True)
                facing = -turned[:, joint("left_wrist"), :, 1]
                assert (facing * palm).sum(1).min() > np.cos(np.deg2rad(25)), (name, number)
                upper = positions[:, joint("left_elbow")] - positions[:, joint("left_shoulder")]
                fore = positions[:, joint("left_wrist")] - positions[:, joint("left_elbow")]
                cosine = (upper * fore).sum(1) / (
                    np.linalg.norm(upper, axis=1) * np.linalg.norm(fore, axis=1)
                )
                assert np.arccos(cosine.clip(-1, 1)).max() <= MAX_ELBOW_FLEXION + 1e-6


def test_hand_rests_before_and_after_a_gesture():
    speaker = SPEAKERS[0]
    gesture = make_gesture(GESTURES["palm_out"], speaker, 3.0, 3.5, np.random.default_rng(1))
    side = "left" if gesture.left else "right"
    arm, hand = arm_motion([gesture], side, speaker.rests[0], 240)
    assert arm.shape == (240, 4, 3) and hand.shape == (240, 15, 3)
    assert np.allclose(arm[:60], arm[0]) and np.allclose(arm[-60:], arm[0])
    assert not np.allclose(arm[gesture.first], arm[0], atol=0.2)


def test_minimum_jerk_starts_and_ends_at_rest():
    s = np.linspace(0, 1, 101)
    way = minimum_jerk(s)
    assert way[0] == 0 and way[-1] == pytest.approx(1) and way[50] == pytest.approx(0.5)
    speed = np.diff(way) * 100
    # The peak of the profile is 15/8 of the mean speed (Flash and Hogan 1985).
    assert speed.max() == pytest.approx(1.875, rel=1e-3) and max(speed[0], speed[-1]) < 0.01


def finger_tips(shape: str) -> dict[str, np.ndarray]:
    """Last joints of a left hand's fingers relative to its wrist, metres."""
    local = np.tile(np.eye(3), (55, 1, 1))
    local[list(LEFT_HAND)] = rotvec_to_matrix(HAND_SHAPES[shape])
    positions = forward_kinematics(torch.from_numpy(local))[0].numpy()
    wrist = positions[joint("left_wrist")]
    return {
        finger: positions[joint(f"left_{finger}3")] - wrist
        for finger in ("thumb", "index", "middle", "ring", "pinky")
    }


def test_hand_shapes_look_like_their_names():
    flat, fist, index = finger_tips("flat"), finger_tips("fist"), finger_tips("index")
    assert min(flat[f][0] for f in ("index", "middle", "ring", "pinky")) > 0.13
    assert max(fist[f][0] for f in ("index", "middle", "ring", "pinky")) < 0.11
    assert index["index"][0] > 0.15 and index["middle"][0] < 0.11
    # The thumb up stands off towards the thumb's side (+z), the fist's lies across the fingers.
    assert finger_tips("thumb up")["thumb"][2] > 0.09 > 0.04 > fist["thumb"][2]
    pinch = finger_tips("pinch")
    assert np.linalg.norm(pinch["thumb"] - pinch["index"]) < 0.05
    spread = finger_tips("spread")
    between = np.linalg.norm(spread["index"] - spread["pinky"])
    assert between > 1.2 * np.linalg.norm(flat["index"] - flat["pinky"])
