"""Reconstruction errors: known answers on simple motions."""

from __future__ import annotations

import math

import pytest
import torch

from gestray.metrics.reconstruction import errors_by_level, gesture_errors, part_errors
from gestray.motion.kinematics import moved_by
from gestray.motion.skeleton import LOWER, REST_OFFSETS, joint
from gestray.tokenizers.config import preset
from gestray.tokenizers.model import Motion, MotionTokenizer
from gestray.tokenizers.parts import PARTS


def test_a_motion_is_its_own_reconstruction():
    poses = torch.randn(5, 165) * 0.3
    assert gesture_errors(poses, poses) == {"wrist_mm": 0.0, "finger_mm": 0.0}


def test_a_bent_elbow_moves_one_wrist_by_a_known_distance():
    """An elbow bent by a right angle moves the wrist by the forearm's diagonal."""
    straight, bent = torch.zeros(4, 165), torch.zeros(4, 165)
    elbow = 3 * joint("left_elbow")
    bent[:, elbow + 1] = torch.pi / 2
    forearm = float((REST_OFFSETS[joint("left_wrist")] ** 2).sum() ** 0.5)
    errors = gesture_errors(straight, bent)
    # One wrist of two moves, by the chord of a right angle.
    assert errors["wrist_mm"] == pytest.approx(1000 * forearm * 2**0.5 / 2, rel=0.02)
    assert errors["finger_mm"] > 0


def test_a_curled_finger_leaves_the_wrists_alone():
    flat, curled = torch.zeros(3, 165), torch.zeros(3, 165)
    curled[:, 3 * joint("right_index1") + 2] = 1.0
    errors = gesture_errors(flat, curled)
    assert errors["wrist_mm"] == pytest.approx(0, abs=1e-3)
    assert 0 < errors["finger_mm"] < 10  # two of thirty joints move by some centimetres


def decoded(poses: torch.Tensor, **extras: torch.Tensor) -> Motion:
    return Motion(poses[None], **{name: values[None] for name, values in extras.items()})


def test_a_parts_errors_are_those_of_its_own_joints():
    """A knee bent by 0.2 rad: one of nine joints of the legs, seen from the hip, and no arm."""
    straight, bent = torch.zeros(6, 165), torch.zeros(6, 165)
    bent[:, 3 * joint("left_knee")] = 0.2
    still = torch.zeros(6, 3)
    rebuilt = decoded(bent, translation=still, contacts=torch.ones(6, 4))
    recorded = {"poses": straight, "trans": still + 5.0}
    legs = part_errors(PARTS["lower"], recorded, rebuilt)
    assert legs["geodesic_deg"] == pytest.approx(math.degrees(0.2) / 9, rel=1e-3)
    shin, foot = (REST_OFFSETS[joint(f"left_{name}")] for name in ("ankle", "foot"))
    moved = [math.hypot(*at[1:]) * 2 * math.sin(0.1) for at in (shin, shin + foot)]
    assert legs["mpjpe_mm"] == pytest.approx(1000 * sum(moved) / len(moved_by(LOWER)), rel=1e-3)
    assert legs["velocity_mm_s"] == pytest.approx(0, abs=1e-3)
    assert legs["translation_mm"] == 0.0  # counts from where the clip begins
    assert legs["contacts_right"] == 1.0
    assert part_errors(PARTS["upper"], recorded, rebuilt)["mpjpe_mm"] == 0.0


def test_a_jump_in_one_frame_is_an_error_of_velocity():
    recorded = {"poses": torch.zeros(31, 165)}
    rebuilt = torch.zeros(31, 165)
    rebuilt[10:, 3 * joint("left_index1") + 2] = 0.5
    errors = part_errors(PARTS["hands"], recorded, decoded(rebuilt))
    # The same shift in 21 of 31 frames, and one step of it in 30.
    ratio = errors["velocity_mm_s"] / (errors["mpjpe_mm"] / (21 / 31))
    assert ratio == pytest.approx(30 * 1 / 30, rel=1e-3)


def test_a_face_has_no_positions_but_expressions():
    recorded = {"poses": torch.zeros(4, 165), "expressions": torch.zeros(4, 100)}
    rebuilt = decoded(torch.zeros(4, 165), expressions=torch.full((4, 100), 0.5))
    errors = part_errors(PARTS["face"], recorded, rebuilt)
    assert errors == {"geodesic_deg": 0.0, "expressions_rms": pytest.approx(0.5)}


def test_errors_by_level_are_means_over_frames_of_what_the_levels_decode_to():
    torch.manual_seed(0)
    sizes = {"width": 16, "code_dim": 8, "codebook_size": 16, "quantizers": 3, "depth": 1}
    model = MotionTokenizer(preset("sma").model.model_copy(update=sizes)).train()
    model(torch.randn(8, 64, 165) * 0.3)
    model.eval()
    clips = [{"poses": torch.randn(frames, 165) * 0.3} for frames in (8, 23)]
    rows = errors_by_level(model, clips)
    assert [(row["part"], row["levels"]) for row in rows] == [
        (part, levels) for part in ("body", "hands", "gesture") for levels in (1, 2, 3)
    ]
    expected = 0.0
    for clip in clips:
        codes = model.encode(clip["poses"][None])
        rebuilt = model.decode({part: c[..., :2] for part, c in codes.items()})[0]
        frames = len(clip["poses"])
        expected += gesture_errors(clip["poses"], rebuilt[:frames])["wrist_mm"] * frames / 31
    assert rows[7]["wrist_mm"] == pytest.approx(expected, rel=1e-4)
