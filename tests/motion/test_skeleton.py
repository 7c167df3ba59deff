"""The SMPL-X skeleton: order, tree and rest pose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.motion import skeleton
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS, joint


def test_order_and_parents_are_those_of_smplx(shared_dir: Path) -> None:
    layout = json.loads((shared_dir / "data" / "smplx_layout.json").read_text())
    assert list(JOINT_NAMES) == layout["joint_names_55"]
    assert PARENTS.tolist() == layout["parents"]
    for group in ("UPPER", "LOWER", "HANDS"):
        assert list(getattr(skeleton, group)) == layout[group.lower()]


def test_known_places_in_the_order() -> None:
    assert (joint("pelvis"), joint("spine3"), joint("jaw")) == (0, 9, 22)
    # Pinky before ring: the order that readers of SMPL-X most often get wrong.
    assert [JOINT_NAMES[i] for i in (25, 28, 31, 34, 37)] == [
        f"left_{finger}1" for finger in ("index", "middle", "pinky", "ring", "thumb")
    ]
    assert JOINT_NAMES[PARENTS[joint("right_thumb1")]] == "right_wrist"
    assert JOINT_NAMES[PARENTS[joint("left_collar")]] == "spine3"


def test_groups_part_the_joints() -> None:
    assert sorted(skeleton.BODY + skeleton.FACE + skeleton.HANDS) == list(range(55))
    assert sorted(skeleton.UPPER + skeleton.LOWER) == list(skeleton.BODY)


def test_every_parent_precedes_its_children() -> None:
    assert PARENTS[0] == -1
    assert (PARENTS[1:] < np.arange(1, 55)).all() and (PARENTS[1:] >= 0).all()


def test_unknown_joint_names_the_nearest() -> None:
    with pytest.raises(UserError, match="left_wrist"):
        joint("left_wirst")


def test_mirror_permutation_swaps_sides() -> None:
    partner = skeleton.mirror_permutation()
    assert (partner[partner] == np.arange(55)).all()
    assert JOINT_NAMES[partner[joint("left_ring2")]] == "right_ring2"
    assert partner[joint("head")] == joint("head")


def test_rest_pose_is_symmetric() -> None:
    mirrored = REST_OFFSETS[skeleton.mirror_permutation()] * np.array([-1, 1, 1], dtype=np.float32)
    np.testing.assert_array_equal(REST_OFFSETS, mirrored)


def test_rest_pose_is_a_t_pose_of_an_adult() -> None:
    at = np.zeros((55, 3))
    for i in range(1, 55):
        at[i] = at[PARENTS[i]] + REST_OFFSETS[i]
    name = dict(zip(JOINT_NAMES, at, strict=True))
    # Arms are level along x, the body's left at +x, and the thumb is in front.
    assert name["left_wrist"][0] > name["left_elbow"][0] > name["left_shoulder"][0] > 0
    assert name["left_wrist"][1] == pytest.approx(name["left_shoulder"][1])
    assert name["left_thumb3"][2] > name["left_index1"][2] > name["left_pinky1"][2]
    assert name["left_foot"][2] > name["left_ankle"][2]
    # Standing height of the joints: ankles to skull base of an adult, 1.5-1.7 m.
    assert 1.5 < name["head"][1] - name["left_ankle"][1] < 1.7
    # Shares of stature of Drillis & Contini 1966, for joints drawn up to 1.84 m, to a fifth.
    shares = {"elbow": 0.186, "wrist": 0.146, "knee": 0.245, "ankle": 0.246}
    for name_, share in shares.items():
        length = np.linalg.norm(REST_OFFSETS[joint(f"left_{name_}")])
        assert length == pytest.approx(share * 1.84, rel=0.2), name_


@pytest.mark.slow
def test_rest_offsets_can_be_made_again() -> None:
    pytest.importorskip("anny")
    from gestray.motion.make_rest_offsets import anny_bone_heads, rest_offsets

    np.testing.assert_allclose(rest_offsets(anny_bone_heads()), REST_OFFSETS, atol=1e-5)


def test_rest_offsets_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError):
        REST_OFFSETS[0] = 1.0
