"""Human bounds: measured on arms of whole takes, and the measuring itself on known poses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.corpora.synthetic import bounds
from gestray.corpora.synthetic.arms import arm_motion
from gestray.corpora.synthetic.hands import HAND_SHAPES
from gestray.corpora.synthetic.ik import (
    ARM_JOINTS,
    MAX_ELBOW_FLEXION,
    MAX_FOREARM_TWIST,
    WRIST_DEVIATION,
    WRIST_FLEXION,
)
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import FPS, Gesture, make_gesture
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.motion.kinematics import joint_positions
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.motion.skeleton import LEFT_HAND, RIGHT_HAND, joint

_STRIDE = 3  # frames looked at
EVERY_VARIANT = [(name, k) for name, kind in GESTURES.items() for k in range(len(kind.variants))]


def upper_body(
    speaker_number: int, seed: int, variants: list[tuple[str, int]]
) -> tuple[list[Gesture], np.ndarray]:
    """Gestures one soon after the other, and rotation vectors (T, 55, 3) of an upright body."""
    rng = np.random.default_rng(seed)
    speaker = SPEAKERS[speaker_number]
    now_s, gestures = 1.0, []
    for name, number in variants:
        only = replace(GESTURES[name], variants=(GESTURES[name].variants[number],))
        gestures.append(make_gesture(only, speaker, now_s, now_s + 0.4, rng))
        now_s = gestures[-1].last / FPS + rng.uniform(0.8, 2.0)
    frames = round(now_s * FPS) + 30
    poses = np.zeros((frames, 55, 3))
    rest = speaker.rests[int(rng.integers(len(speaker.rests)))]
    for side, fingers in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
        arm, hand = arm_motion(gestures, side, rest, frames)
        poses[:, [joint(f"{side}_{name}") for name in ARM_JOINTS]] = arm
        poses[:, fingers] = hand
    return gestures, poses


def twist_about_x(rotations: np.ndarray) -> np.ndarray:
    """Angle (...) about x of the swing-twist split of rotations (..., 3, 3)."""
    trace = np.trace(rotations, axis1=-2, axis2=-1)
    twist = 2 * np.arctan2(rotations[..., 2, 1] - rotations[..., 1, 2], 1 + trace)
    return (twist + np.pi) % (2 * np.pi) - np.pi


def assert_within_bounds(poses: np.ndarray) -> None:
    rotations = axis_angle_to_matrix(torch.from_numpy(poses))
    turn = geodesic_distance(rotations[1:], rotations[:-1]).numpy()
    assert turn[:, :25].max() < bounds.MAX_TURN_PER_FRAME
    assert turn[:, 25:].max() < bounds.MAX_FINGER_TURN_PER_FRAME
    positions = joint_positions(torch.from_numpy(poses).flatten(1)).numpy()
    for side in ("left", "right"):
        wrist = positions[:, joint(f"{side}_wrist")]
        speed = np.linalg.norm(np.diff(wrist, axis=0), axis=1) * FPS
        assert speed.max() < bounds.MAX_WRIST_SPEED_M_S
        # A right arm is read as the left one in a mirror.
        collar, _, elbow, hand = (
            rotations[:, joint(f"{side}_{name}")].numpy() for name in ARM_JOINTS
        )
        flip = np.diag([-1.0, 1.0, 1.0]) if side == "right" else np.eye(3)
        elbow, hand = flip @ elbow @ flip, flip @ hand @ flip
        raised = np.arccos(((np.trace(collar, axis1=1, axis2=2) - 1) / 2).clip(-1, 1))
        assert raised.max() < bounds.MAX_COLLAR_RAISE
        assert np.arccos(elbow[:, 0, 0]).max() < MAX_ELBOW_FLEXION + 0.02
        at_wrist = twist_about_x(hand)
        twist = twist_about_x(elbow) + at_wrist
        assert np.abs(twist).max() < MAX_FOREARM_TWIST + 0.15
        # Without its twist the hand's long axis shows flexion (down) and deviation (to the thumb).
        cosine, sine = np.cos(at_wrist), np.sin(at_wrist)
        x, y, z = np.moveaxis(hand[..., 0], -1, 0)
        down, to_thumb = -(cosine * y + sine * z), cosine * z - sine * y
        flexion, deviation = np.arctan2(down, x), -np.arcsin(to_thumb.clip(-1, 1))
        assert flexion.min() > WRIST_FLEXION[0] - 0.1 and flexion.max() < WRIST_FLEXION[1] + 0.1
        assert deviation.min() > WRIST_DEVIATION[0] - 0.1
        assert deviation.max() < WRIST_DEVIATION[1] + 0.1
    free = bounds.clearance(poses[::_STRIDE])
    assert free.trunk.min() > -bounds.MAX_OVERLAP_M
    assert free.head.min() > -bounds.MAX_OVERLAP_M
    assert free.hands.min() > -bounds.MAX_OVERLAP_M
    assert free.elbows.min() > -bounds.MAX_OVERLAP_M


@pytest.mark.parametrize("speaker", range(len(SPEAKERS)))
def test_every_variant_in_any_order_stays_within_human_bounds(speaker):
    share = EVERY_VARIANT[speaker :: len(SPEAKERS)]
    order = np.random.default_rng(speaker).permutation(len(share))
    _, poses = upper_body(speaker, speaker, [share[k] for k in order])
    assert_within_bounds(poses)


@settings(max_examples=6, deadline=None)
@given(
    st.integers(0, len(SPEAKERS) - 1),
    st.integers(0, 10**6),
    st.lists(st.sampled_from(EVERY_VARIANT), min_size=3, max_size=6),
)
def test_any_sequence_of_gestures_stays_within_human_bounds(speaker, seed, variants):
    _, poses = upper_body(speaker, seed, variants)
    assert_within_bounds(poses)


def test_hands_touch_what_gold_says_and_nothing_else():
    """Within 2 cm of head, chest or the other hand exactly where the vocabulary names a contact."""
    order = np.random.default_rng(4).permutation(len(EVERY_VARIANT))
    gestures, poses = upper_body(0, 4, [EVERY_VARIANT[k] for k in order])
    free = bounds.clearance(poses[::_STRIDE])
    wrong = []
    # Forearms count with the hands, and those of a raised hand may pass near the chest.
    clear = {"head": 0.025, "chest": 0.005, "other hand": 0.025}
    for gesture, k in zip(gestures, order, strict=True):
        span = slice(-(-gesture.first // _STRIDE), (gesture.last - 1) // _STRIDE + 1)
        for number, path in enumerate((gesture.left, gesture.right)):
            if path is None:
                continue
            near = {
                "head": free.head[span, number].min(),
                "chest": free.trunk[span, number].min(),
                "other hand": free.hands[span].min(),
            }
            if None in (gesture.left, gesture.right):
                del near["other hand"]
            wrong += [
                (EVERY_VARIANT[k], what, distance)
                for what, distance in near.items()
                if (distance > 0.02 if path.stroke.contact == what else distance < clear[what])
            ]
    assert not wrong, wrong


def test_clearance_of_known_poses():
    poses = np.zeros((3, 55, 3))  # the T-pose is far from everything
    # Hands on the belly, turned in at shoulder and elbow; then driven right through the trunk.
    for frame, (shoulder, elbow) in enumerate(((0.0, 0.0), (0.35, 2.0), (1.2, 2.0))):
        poses[frame, joint("left_shoulder")] = (0.0, 0.0, -1.1)
        poses[frame, joint("left_elbow")] = (0.0, -elbow, 0.0)
        poses[frame, joint("left_collar")] = (0.0, -shoulder, 0.0)
    free = bounds.clearance(poses)
    positions = joint_positions(torch.from_numpy(poses).flatten(1)).numpy()
    assert free.head.min() > 0.1 and free.hands.min() > 0.2
    assert free.trunk[0, 0] > 0.1
    wrist = positions[:, joint("left_wrist")] - positions[:, joint("spine3")]
    assert np.all(free.trunk[:, 0] <= bounds.trunk_distance(wrist) + 1e-9)
    # The middle of the chest lies as deep as the plate is thick; its front is its surface.
    assert bounds.trunk_distance(np.array([0.0, 0.0, 0.045])) == pytest.approx(-0.105)
    assert bounds.trunk_distance(np.array([0.0, 0.0, 0.15])) == pytest.approx(0.0)
    assert bounds.trunk_distance(np.array([0.26, 0.0, 0.045])) == pytest.approx(0.1)


def test_a_hand_in_the_head_is_noticed():
    gestures, poses = upper_body(0, 0, [("hand_to_temple", 0)])
    frame = gestures[0].first + 5
    side = "left" if gestures[0].left is not None else "right"
    inward = poses.copy()
    inward[frame, joint(f"{side}_shoulder"), 1] += -0.35 if side == "left" else 0.35
    before, after = (bounds.clearance(p[frame : frame + 1]).head.min() for p in (poses, inward))
    assert after < -bounds.MAX_OVERLAP_M < before


@pytest.mark.parametrize(("shape", "hand"), HAND_SHAPES.items())
def test_fingers_bend_as_fingers_do(shape, hand):
    rotations = axis_angle_to_matrix(torch.from_numpy(hand)).numpy()
    for finger, segment in itertools.product(range(4), range(3)):
        along = rotations[3 * finger + segment, :, 0]
        flexion = np.arctan2(-along[1], along[0])
        low, high = bounds.FINGER_FLEXION
        assert low <= flexion <= high, (shape, finger, segment)
        aside = np.arcsin(along[2]) if flexion < 0.5 else 0.0
        assert abs(aside) <= bounds.FINGER_SPREAD
