"""Motion of other skeletons on the SMPL-X joints: bones point where they pointed.

Another library does the kinematics of the source.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybvh
import pytest
import torch

from gestray.errors import BadInput, UserError
from gestray.motion.bvh import Bvh, BvhJoint, format_bvh, parse_bvh
from gestray.motion.bvh_figure import smplx_figure
from gestray.motion.kinematics import forward_kinematics, joint_positions
from gestray.motion.retarget import inspect_figure, retarget
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.motion.skeleton import FINGERS, joint
from gestray.motion.skeleton_map import UNITS, SkeletonMap, load_map, match_joints, shipped_maps


def _figures():
    """The module beside this one; tests are not a package."""
    name = "gestray_test_figures"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("figures.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


make_figure, tree_of = _figures().make_figure, _figures().tree_of

SKELETONS = ("beat", "mixamo", "cmu", "fingers51")
LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in [
        ("hip", "knee"),
        ("knee", "ankle"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        *((f"{finger}{n}", f"{finger}{n + 1}") for finger in FINGERS for n in (1, 2)),
    ]
]


def source_places(bvh: Bvh, tmp_path: Path, up: str) -> np.ndarray:
    """Positions of the source's joints by another library, in a world with y up."""
    joints, keep, first = [], [], 0
    for each in bvh.joints:  # it knows positions of the root only
        mine = [i for i, name in enumerate(each.channels) if each.parent < 0 or "rot" in name]
        joints.append(replace(each, channels=tuple(each.channels[i] for i in mine)))
        keep += [first + i for i in mine]
        first += len(each.channels)
    path = tmp_path / "source.bvh"
    path.write_text(format_bvh(Bvh(tuple(joints), bvh.motion[:, keep], bvh.fps)))
    theirs = pybvh.read_bvh_file(path, world_up=f"+{up}")
    places = np.stack([theirs.joint_positions()[:, theirs.joint_index[j.name]] for j in joints], 1)
    return places[..., [0, 2, 1]] * [1, 1, -1] if up == "z" else places


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between directions (..., 3)."""
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.rad2deg(np.arccos(cosine.clip(-1, 1)))


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize(
    ("rest", "up", "unit", "own_frames"),
    [("T", "y", "cm", False), ("A", "z", "m", False), ("A", "y", "inch", True)],
)
def test_limbs_point_where_they_pointed(
    name: str, rest: str, up: str, unit: str, own_frames: bool, tmp_path: Path
) -> None:
    bvh = make_figure(name, seed=3, rest=rest, up=up, unit=unit, own_frames=own_frames)
    skeleton = load_map(name).model_copy(
        update={"up": "detect", "units": "detect", "rest": "first_frame" if own_frames else "zero"}
    )
    found = retarget(bvh, skeleton, "x")
    assert (found.figure.up, found.figure.unit_name) == (up, unit)
    assert found.figure.detected == ("up", "units")
    theirs = source_places(bvh, tmp_path, up)
    ours = joint_positions(torch.from_numpy(found.poses), torch.from_numpy(found.trans)).numpy()
    sources = found.figure.match.sources
    compared = 0
    for a, b in LIMBS:
        if sources[joint(a)] < 0 or sources[joint(b)] < 0:
            continue
        compared += 1
        difference = angles(
            ours[:, joint(b)] - ours[:, joint(a)],
            theirs[:, sources[joint(b)]] - theirs[:, sources[joint(a)]],
        )
        assert difference.max() < 0.1, (a, b)
    assert compared == (8 if name == "cmu" else 28)
    # The hand is fitted to its knuckles, whose fan is another.
    if name != "cmu":
        for side in ("left", "right"):
            a, b = joint(f"{side}_wrist"), joint(f"{side}_middle1")
            difference = angles(
                ours[:, b] - ours[:, a], theirs[:, sources[b]] - theirs[:, sources[a]]
            )
            assert difference.max() < 6
    # The root's path has the source's shape, scaled to feet that reach the ground.
    path = theirs[:, sources[0]] * UNITS[unit]
    ratio = np.linalg.norm(np.diff(found.trans, axis=0)) / np.linalg.norm(np.diff(path, axis=0))
    np.testing.assert_allclose(found.trans, path * ratio, atol=1e-4)
    ankles = [joint("left_ankle"), joint("right_ankle")]
    heights = theirs[:, sources[ankles], 1] * UNITS[unit]
    assert 0.7 < ratio < 1.3
    assert abs(ours[:, ankles, 1] - heights * ratio).max() < 0.15


@pytest.mark.parametrize("name", SKELETONS)
def test_a_t_pose_is_a_t_pose(name: str) -> None:
    """Nothing turns when the source's zero pose is SMPL-X's own."""
    bvh = make_figure(name, seed=5)
    columns = [c for joint_columns in bvh.columns("rotation") for c in joint_columns]
    motion = bvh.motion.copy()
    motion[:, columns] = 0
    found = retarget(Bvh(bvh.joints, motion, 30.0), load_map(name), "x")
    assert np.rad2deg(abs(found.poses)).max() < 4  # hands fit another fan of knuckles
    body = found.poses[:, : 3 * 20]
    assert np.rad2deg(abs(body)).max() < 1e-3


@pytest.mark.parametrize("name", SKELETONS)
def test_world_rotations_are_the_source_s(name: str) -> None:
    """A turn of the whole figure turns the whole result, twist included."""
    bvh = make_figure(name, seed=7, frames=3)
    root = bvh.columns("rotation")[0]
    rotations = [c for joint_columns in bvh.columns("rotation")[1:] for c in joint_columns]
    still = bvh.motion.copy()
    still[:, root] = 0
    still[:, rotations] = bvh.motion[0, rotations]
    turned = still.copy()
    axes = [bvh.joints[0].channels[c] for c in root]
    turned[:, root[axes.index("Yrotation")]] = 90
    a, b = (
        forward_kinematics(axis_angle_to_matrix(torch.from_numpy(r.poses).unflatten(-1, (55, 3))))
        for r in (
            retarget(Bvh(bvh.joints, motion, 30.0), load_map(name), "x")
            for motion in (still, turned)
        )
    )
    quarter = axis_angle_to_matrix(torch.tensor([0, np.pi / 2, 0], dtype=torch.float32))
    assert geodesic_distance(quarter @ a[1], b[1]).max() < 1e-4


def test_round_trip_of_our_own_figure() -> None:
    rng = np.random.default_rng(0)
    poses = np.cumsum(rng.normal(size=(60, 165)) * 0.02, 0) + rng.normal(size=165) * 0.4
    poses[:, :3] = [0.1, 0.4, -0.1]
    poses = poses.astype(np.float32)
    trans = np.cumsum(rng.normal(size=(60, 3)) * 0.01, 0, dtype=np.float32)
    trans[:, 1] += 0.9
    text = format_bvh(smplx_figure(poses, trans)).encode()
    found = retarget(parse_bvh(io.BytesIO(text), "x"), load_map("smplx"), "x")
    assert found.figure.unit_name == "cm" and found.joint_mask.all()
    ours, theirs = (
        forward_kinematics(
            axis_angle_to_matrix(torch.from_numpy(p).unflatten(-1, (55, 3))), torch.from_numpy(t)
        )
        for p, t in ((poses, trans), (found.poses, found.trans))
    )
    assert (ours[0] - theirs[0]).norm(dim=-1).max() < 1e-3  # 1 mm
    assert torch.rad2deg(geodesic_distance(ours[1], theirs[1])).max() < 0.1


def test_the_trees_are_those_of_the_real_files() -> None:
    assert {name: len(tree_of(name)) for name in SKELETONS} == {
        "beat": 75,
        "mixamo": 65,
        "cmu": 31,
        "fingers51": 51,
    }


def test_what_is_not_mapped_is_listed() -> None:
    found = match_joints(load_map("beat"), make_figure("beat"), "x")
    assert found.at_rest == ("jaw", "left_eye_smplhf", "right_eye_smplhf")
    assert set(found.absorbed) == {
        *("Spine2", "Neck1"),
        *(f"{side}ForeFoot" for side in ("Left", "Right")),
        *(f"{s}Hand{finger}" for s in ("Left", "Right") for finger in ("Index", "Ring", "Pinky")),
    }
    assert len(found.dropped) == 13 and "HeadEnd" in found.dropped
    cmu = match_joints(load_map("cmu"), make_figure("cmu"), "x")
    assert set(cmu.dropped) >= {"LThumb", "RThumb", "LeftFingerBase"}
    assert "left_index1" in cmu.at_rest and "left_wrist" not in cmu.at_rest


def test_joints_without_a_source_follow_their_parents() -> None:
    found = retarget(make_figure("cmu"), load_map("cmu"), "x")
    assert found.joint_mask.sum() == 22
    rest = found.poses.reshape(len(found.poses), 55, 3)[:, ~found.joint_mask]
    assert abs(rest).max() < 1e-6


def test_the_fingers_map_fits_other_bodies() -> None:
    """Alternatives of a name: the first that exists and is not taken."""
    bvh = make_figure("fingers51")
    names = {"Collar": "Shoulder", "Shoulder": "Arm", "Elbow": "ForeArm", "Wrist": "Hand"}
    names |= {"Hip": "UpLeg", "Knee": "Leg", "Ankle": "Foot", "Toe": "ToeBase"}

    def renamed(each: BvhJoint) -> BvhJoint:
        for side in ("Left", "Right"):
            part = each.name.removeprefix(side)
            if part != each.name and part in names:
                return replace(each, name=side + names[part])
        return each

    other = Bvh(tuple(map(renamed, bvh.joints)), bvh.motion, bvh.fps)
    a, b = (match_joints(load_map("fingers51"), each, "x").sources for each in (bvh, other))
    np.testing.assert_array_equal(a, b)
    assert (a >= 0).sum() == 51


def test_sixty_and_a_hundred_and_twenty_frames_a_second_come_out_at_thirty() -> None:
    poses = [
        retarget(make_figure("beat", frames=n, fps=fps), load_map("beat"), "x").poses
        for n, fps in ((61, 30.0), (121, 60.0), (241, 120.0))
    ]
    assert [len(each) for each in poses] == [61, 61, 61]
    slow, *fast = (axis_angle_to_matrix(torch.from_numpy(m).unflatten(-1, (55, 3))) for m in poses)
    # Swings of up to 2 Hz: the same motion, sampled more often.
    for each in fast:
        assert torch.rad2deg(geodesic_distance(slow, each)).max() < 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": {"pelvis": "Nope"}}, "left_shoulder"),
        ({"joints": {"pelviss": "Hips"}}, "pelvis"),
        ({"ignore_prefix": "("}, "not a regular expression"),
        ({"units": -1}, "units"),
        ({"up": "x"}, "up"),
        ({"jionts": {}}, "did you mean 'joints'"),
    ],
)
def test_a_wrong_map_says_what_is_wrong(change: dict, message: str, tmp_path: Path) -> None:
    import yaml

    tree = load_map("mixamo").model_dump(mode="json") | change
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=r"map\.yaml") as error:
        load_map(str(path))
    assert message in str(error.value)


def test_a_map_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(UserError, match="beat, cmu, fingers51, mixamo, smplx"):
        load_map("vicon")
    assert set(shipped_maps()) == {"beat", "cmu", "fingers51", "mixamo", "smplx"}


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({}, "joint for left_shoulder: found none called Arm.L"),
        ({"rest": {"Nobody": {"Zrotation": 90}}}, "rest pose of Nobody"),
        ({"rest": {"Hips": {"Xscale": 90}}}, "rest pose of Hips"),
    ],
)
def test_a_figure_that_does_not_fit_its_map(update: dict, field: str) -> None:
    skeleton = load_map("cmu").model_copy(update=update)
    if not update:
        joints = skeleton.joints | {"left_shoulder": ("Arm.L",)}
        skeleton = SkeletonMap(joints=joints)
    with pytest.raises(BadInput, match=r"^take\.bvh: ") as error:
        retarget(make_figure("cmu"), skeleton, "take.bvh")
    assert field in str(error.value)


def test_a_figure_of_no_known_size_asks_for_units() -> None:
    bvh = make_figure("mixamo")
    joints = tuple(replace(each, offset=each.offset * 30) for each in bvh.joints)
    with pytest.raises(BadInput, match=r"units: found limbs of .* state `units`"):
        inspect_figure(Bvh(joints, bvh.motion, 30.0), load_map("mixamo"), "x")
    stated = load_map("mixamo").model_copy(update={"units": 0.01 / 30})
    assert inspect_figure(Bvh(joints, bvh.motion, 30.0), stated, "x").size == pytest.approx(
        1, abs=0.15
    )


def test_positions_on_top_of_the_offset() -> None:
    """Some programs write the root's position relative to its offset."""
    bvh = make_figure("mixamo")
    offset = bvh.motion[:, :3].mean(0)
    joints = (replace(bvh.joints[0], offset=offset), *bvh.joints[1:])
    motion = bvh.motion.copy()
    motion[:, :3] -= offset
    a = retarget(bvh, load_map("mixamo"), "x")
    b = retarget(Bvh(joints, motion, 30.0), load_map("mixamo"), "x")
    np.testing.assert_allclose(a.trans, b.trans, atol=1e-5)


def test_a_rest_pose_by_angles() -> None:
    """What the first frame shows may as well be written in the map."""
    bvh = make_figure("cmu", seed=4, own_frames=True)
    columns = bvh.columns("")
    angles = {
        each.name: {
            channel: float(bvh.motion[0, column])
            for channel, column in zip(each.channels, columns[i], strict=True)
            if "rotation" in channel
        }
        for i, each in enumerate(bvh.joints)
    }
    a, b = (
        retarget(bvh, load_map("cmu").model_copy(update={"rest": rest}), "x").poses
        for rest in ("first_frame", angles)
    )
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_figure_that_lies_down_stands_at_rest() -> None:
    """Where the motion does not tell which way is up, the rest pose does."""
    bvh = make_figure("fingers51", seed=1, up="z")
    root = bvh.columns("rotation")[0]
    channels = bvh.joints[0].channels
    motion = bvh.motion.copy()
    motion[:, root] = 0
    motion[:, root[[channels[c] for c in root].index("Yrotation")]] = 60
    found = inspect_figure(Bvh(bvh.joints, motion, 30.0), load_map("fingers51"), "x")
    assert found.up == "z"
    sideways = tuple(replace(each, offset=each.offset[[2, 1, 0]]) for each in bvh.joints)
    with pytest.raises(BadInput, match="state `up: y` or `up: z`"):
        inspect_figure(Bvh(sideways, motion * 0, 30.0), load_map("fingers51"), "x")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("size", [0.7, 1.0, 1.25])
def test_units_are_told_by_the_size_of_a_person(unit: str, size: float) -> None:
    """From a child of 1.2 m to a giant."""
    bvh = make_figure("mixamo", seed=2, unit=unit, frames=2)
    joints = tuple(replace(each, offset=each.offset * size) for each in bvh.joints)
    found = inspect_figure(Bvh(joints, bvh.motion, 30.0), load_map("mixamo"), "x")
    assert (found.unit_name, found.units) == (unit, UNITS[unit])
    assert found.size == pytest.approx(size, rel=0.1)
