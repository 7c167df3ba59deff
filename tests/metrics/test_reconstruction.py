"""Reconstruction errors: known answers on simple motions."""

from __future__ import annotations

import pytest
import torch

from gestray.metrics.reconstruction import gesture_errors
from gestray.motion.skeleton import REST_OFFSETS, joint


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
