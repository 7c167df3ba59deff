"""Every format, read back by a reader that is not gestray's, has the joints of the motion."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from gestray.corpora.beat2 import read_take
from gestray.errors import UserError
from gestray.motion.bvh import Bvh, format_bvh, parse_bvh
from gestray.motion.export import FORMATS, MotionClip, export_motion, grounded
from gestray.motion.export.avatar import load_avatar, rest_places, vertex_normals
from gestray.motion.export.gltf import VRM_BONES
from gestray.motion.export.rig import figure_of, moved
from gestray.motion.retarget import retarget
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, joint
from gestray.motion.skeleton_map import UNITS, load_map
from tests.motion.export.conftest import joints_of
from tests.motion.export.files import bvh_places, gltf_array, gltf_joints, npz_joints
from tests.motion.figures import make_figure

MM, DEGREES = 1e-3, 0.1
SKELETONS = ("beat", "mixamo", "cmu", "fingers51")


def check_joints(clip: MotionClip, places: dict[str, np.ndarray], metre: float = 1.0) -> None:
    """Within a millimetre, in every frame."""
    wanted, _ = joints_of(clip)
    for j, name in enumerate(JOINT_NAMES):
        apart = np.linalg.norm(places[name] / metre - wanted[:, j], axis=-1)
        assert apart.max() < MM, name


# --- npz -------------------------------------------------------------------


def test_npz_has_the_keys_of_beat2(clip: MotionClip, tmp_path: Path) -> None:
    audio = np.zeros(1600, "<i2").tobytes()
    whole = replace(clip, betas=np.arange(300, dtype=np.float32), audio=audio)
    export_motion(whole, tmp_path / "motion.npz")
    found = npz_joints((tmp_path / "motion.npz").read_bytes())
    np.testing.assert_array_equal(found["poses"], clip.poses)
    np.testing.assert_array_equal(found["trans"], clip.trans)
    np.testing.assert_array_equal(found["betas"], whole.betas)
    assert found["expressions"].shape == (len(clip), 100) and not found["expressions"].any()
    assert [str(found[key]) for key in ("model", "gender")] == ["smplx2020", "neutral"]
    assert found["mocap_frame_rate"] == 30


def test_npz_is_read_as_a_take(clip: MotionClip, tmp_path: Path) -> None:
    (tmp_path / "smplxflame_30").mkdir()
    export_motion(clip, tmp_path / "smplxflame_30" / "3_ada_0_1_1.npz")
    take = read_take(str(tmp_path), "3_ada_0_1_1")
    np.testing.assert_array_equal(take.poses, clip.poses)


# --- BVH -------------------------------------------------------------------


def test_bvh_has_the_joints_for_another_library(clip: MotionClip, tmp_path: Path) -> None:
    export_motion(clip, tmp_path / "motion.bvh")
    check_joints(clip, bvh_places(tmp_path / "motion.bvh"), metre=100)


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize("up", ["y", "z"])
def test_bvh_under_the_names_of_a_map(name: str, up: str, clip: MotionClip, tmp_path: Path) -> None:
    """Bones are SMPL-X's: of every joint that the map names, the position itself is checked."""
    skeleton = load_map(name).model_copy(update={"up": up})
    standing = grounded(clip)
    bvh = moved(figure_of(skeleton), skeleton, standing, name)
    path = tmp_path / "motion.bvh"
    path.write_text(format_bvh(bvh))
    places = bvh_places(path, up)
    wanted, turned = joints_of(clip)
    back = retarget(bvh, skeleton, name)
    metre = 1 / back.figure.units
    named = [j for j in range(len(JOINT_NAMES)) if back.joint_mask[j]]
    assert len(named) == len(skeleton.joints)
    ours = axis_angle_to_matrix(torch.from_numpy(back.poses).double().unflatten(-1, (-1, 3)))
    poses = torch.from_numpy(clip.poses).double().unflatten(-1, (-1, 3))
    for j in named:
        found = places[bvh.joints[back.figure.match.sources[j]].name] / metre
        found = found[:, [0, 2, 1]] * [1, 1, -1] if up == "z" else found
        assert np.linalg.norm(found - wanted[:, j], axis=-1).max() < MM, JOINT_NAMES[j]
    # A joint whose parent in SMPL-X has a name keeps its own rotation on the way back.
    for j in named:
        if name in ("beat", "mixamo") and j:
            angle = geodesic_distance(ours[:, j], axis_angle_to_matrix(poses)[:, j])
            assert float(angle.max().rad2deg()) < DEGREES, JOINT_NAMES[j]
    np.testing.assert_allclose(back.trans, standing.trans, atol=MM)
    assert len(turned) == len(back.poses)


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize(
    ("rest", "up", "unit"), [("T", "y", "cm"), ("A", "z", "m"), ("A", "y", "inch")]
)
def test_bvh_on_another_rig_comes_back(
    name: str, rest: str, up: str, unit: str, clip: MotionClip
) -> None:
    """Proportions, rest pose and axes are the rig's; the way back gives the motion again."""
    rig = make_figure(name, seed=3, rest=rest, up=up, unit=unit)
    skeleton = load_map(name).model_copy(update={"up": up, "units": unit, "rest": "zero"})
    standing = grounded(clip)
    bvh = moved(rig, skeleton, standing, "rig.bvh")
    assert [j.name for j in bvh.joints] == [j.name for j in rig.joints]
    back = retarget(bvh, skeleton, "rig.bvh")
    _, turned = joints_of(clip)
    local = axis_angle_to_matrix(torch.from_numpy(back.poses).double().unflatten(-1, (-1, 3)))
    globally = [local[:, 0]]
    for j in range(1, len(JOINT_NAMES)):
        globally.append(globally[PARENTS[j]] @ local[:, j])
    for j in np.flatnonzero(back.joint_mask):
        angle = geodesic_distance(globally[j], torch.from_numpy(turned[:, j]))
        assert float(angle.max().rad2deg()) < DEGREES, JOINT_NAMES[j]
    np.testing.assert_allclose(back.trans, standing.trans, atol=MM)
    assert back.figure.units == UNITS[unit]


def test_bvh_on_a_rig_file(clip: MotionClip, tmp_path: Path) -> None:
    rig = make_figure("mixamo", seed=1)
    (tmp_path / "rig.bvh").write_text(format_bvh(rig))
    path = tmp_path / "motion.bvh"
    export_motion(clip, path, skeleton="mixamo", rig=str(tmp_path / "rig.bvh"))
    with path.open("rb") as stream:
        found = parse_bvh(stream, "motion.bvh")
    assert {j.name: j.channels for j in found.joints} == {j.name: j.channels for j in rig.joints}
    assert found.num_frames == len(clip)


def test_a_rig_that_cannot_walk_is_refused(clip: MotionClip) -> None:
    rig = make_figure("mixamo", seed=1)
    root = replace(rig.joints[0], channels=rig.joints[0].channels[3:])
    fixed = Bvh((root, *rig.joints[1:]), rig.motion[:, 3:], 30.0)
    assert not any("position" in c for j in fixed.joints for c in j.channels)
    with pytest.raises(UserError, match="no joint with a position"):
        moved(fixed, load_map("mixamo"), grounded(clip), "rig.bvh")


# --- glTF ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["glb", "vrma"])
def test_gltf_has_the_joints(kind: str, clip: MotionClip, tmp_path: Path) -> None:
    path = tmp_path / f"motion.{kind}"
    export_motion(clip, path)
    places, turns, times = gltf_joints(path)
    check_joints(clip, places)
    _, turned = joints_of(clip)
    for j, name in enumerate(JOINT_NAMES):
        apart = (turns[name].inv() * Rotation.from_matrix(turned[:, j])).magnitude()
        assert np.rad2deg(apart.max()) < DEGREES, name
    np.testing.assert_allclose(times, np.arange(len(clip)) / 30, atol=1e-6)


def test_glb_carries_a_whole_person(clip: MotionClip, tmp_path: Path) -> None:
    path = tmp_path / "motion.glb"
    export_motion(clip, path)
    scene = trimesh.load(path)
    (mesh,) = scene.geometry.values()
    low, high = mesh.bounds
    assert abs(low[1]) < 1e-3 and 1.7 < high[1] < 1.9  # stands on the floor
    assert 1.5 < high[0] - low[0] < 1.9  # arms out
    gltf = pygltflib.GLTF2().load_binary(str(path))
    attributes = gltf.meshes[0].primitives[0].attributes
    weights, joints = (gltf_array(gltf, n) for n in (attributes.WEIGHTS_0, attributes.JOINTS_0))
    assert (weights.sum(axis=1, dtype=int) == 255).all()
    moving = set(joints[weights > 0].tolist())
    fingers = {joint(f"{s}_{f}3") for s in ("left", "right") for f in ("index", "pinky", "thumb")}
    assert fingers <= moving
    # At rest the skin does nothing: each inverse bind matrix undoes its joint's place.
    inverse = gltf_array(gltf, gltf.skins[0].inverseBindMatrices).reshape(-1, 4, 4)
    np.testing.assert_allclose(
        inverse[:, 3, :3], -(rest_places() - [0, load_avatar().sole, 0]), atol=1e-6
    )


def test_quaternions_never_jump(tmp_path: Path) -> None:
    """A turn through half a circle and on keeps its quaternion's sign: players interpolate."""
    poses = np.zeros((60, 165), np.float32)
    poses[:, 1] = np.linspace(0, 2 * np.pi - 0.01, 60)
    poses[poses > np.pi] -= 2 * np.pi
    export_motion(MotionClip(poses), tmp_path / "turn.glb")
    gltf = pygltflib.GLTF2().load_binary(str(tmp_path / "turn.glb"))
    animation = gltf.animations[0]
    channel = next(
        c for c in animation.channels if (c.target.node, c.target.path) == (0, "rotation")
    )
    quaternions = gltf_array(gltf, animation.samplers[channel.sampler].output)
    assert (np.diff(quaternions, axis=0) ** 2).sum(axis=1).max() < 0.01


def test_vrma_names_the_bones_of_vrm(clip: MotionClip, tmp_path: Path) -> None:
    export_motion(clip, tmp_path / "motion.vrma")
    gltf = pygltflib.GLTF2().load_binary(str(tmp_path / "motion.vrma"))
    extension = gltf.extensions["VRMC_vrm_animation"]
    assert extension["specVersion"] == "1.0"
    bones = extension["humanoid"]["humanBones"]
    assert len(bones) == 53 and not {"leftEye", "rightEye"} & set(bones)
    required = (
        "hips spine head leftUpperLeg leftLowerLeg leftFoot leftUpperArm leftLowerArm leftHand"
    )
    assert set(required.split()) <= set(bones)
    for name, bone in VRM_BONES.items():
        assert gltf.nodes[bones[bone]["node"]].name == name
    assert bones["leftLittleProximal"]["node"] == joint("left_pinky1")
    # The hips' rest height is what a program scales the path by.
    assert 0.8 < gltf.nodes[0].translation[1] < 1.0


# --- the avatar --------------------------------------------------------------


def test_the_avatar_fits_its_joints() -> None:
    """The surface runs close around the joints of limbs, and is symmetric as the skeleton is."""
    avatar, places = load_avatar(), rest_places()
    surface = cKDTree(avatar.vertices)
    limbs = {"elbow": 0.06, "knee": 0.08, "wrist": 0.04, "index2": 0.015, "pinky3": 0.015}
    for part, radius in limbs.items():
        for side in ("left", "right"):
            distance, _ = surface.query(places[joint(f"{side}_{part}")])
            assert distance < radius, (side, part)
            near = surface.query_ball_point(places[joint(f"{side}_{part}")], 1.7 * radius)
            # On all sides of it, not on one alone.
            ahead = avatar.vertices[near, 2] > places[joint(f"{side}_{part}")][2]
            assert 0.2 < ahead.mean() < 0.8, (side, part)
    heights = avatar.vertices[:, 1]
    assert 1.7 < heights.max() - heights.min() < 1.9
    nearest, _ = surface.query(avatar.vertices * [-1, 1, 1])
    assert np.quantile(nearest, 0.95) < 2e-3


def test_every_vertex_is_moved_whole_and_by_what_is_near() -> None:
    avatar = load_avatar()
    shares = avatar.shares()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    by_hand = np.zeros_like(shares[0])
    for j, weight in zip(avatar.joints[5000], avatar.weights[5000], strict=True):
        by_hand[j] += weight / 255
    np.testing.assert_allclose(shares[5000], by_hand, atol=1e-6)
    # Of the body's 1.84 m, half a metre: the pelvis moves no hand.
    apart = np.linalg.norm(avatar.vertices[:, None] - rest_places()[None], axis=-1)
    assert (shares * apart).sum(axis=1).max() < 0.5


def test_normals_point_outward() -> None:
    avatar = load_avatar()
    box = trimesh.creation.box()
    normals = vertex_normals(np.asarray(box.vertices)[None], np.asarray(box.faces))[0]
    assert ((normals * box.vertices).sum(axis=1) > 0).all()
    middle = avatar.vertices[np.abs(avatar.vertices[:, 0]) < 0.1].mean(axis=0)
    front = avatar.vertices[:, 2] > avatar.vertices[:, 2].max() - 0.02
    assert (avatar.normals[front][:, 2] > 0).mean() > 0.9 and middle[2] < 0.1


# --- what goes wrong -----------------------------------------------------------


def test_an_unknown_ending_names_the_known_ones(clip: MotionClip, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.abc.*\.npz, \.bvh, \.glb, \.vrma, \.fbx, \.mp4"):
        export_motion(clip, tmp_path / "motion.abc")
    with pytest.raises(UserError, match="no folder"):
        export_motion(clip, tmp_path / "absent" / "motion.npz")
    with pytest.raises(UserError, match=r"for \.bvh only"):
        export_motion(clip, tmp_path / "motion.glb", skeleton="cmu")
    assert not list(tmp_path.iterdir())
    assert FORMATS == ("npz", "bvh", "glb", "vrma", "fbx", "mp4")


def test_parts_of_other_lengths_are_refused(clip: MotionClip) -> None:
    with pytest.raises(UserError, match=r"trans have shape \(3, 3\), expected \(60, 3\)"):
        replace(clip, trans=np.zeros((3, 3)))


def test_fbx_without_blender_says_how_to_get_it(
    clip: MotionClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GESTRAY_BLENDER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"pip install bpy.*GESTRAY_BLENDER"):
        export_motion(clip, tmp_path / "motion.fbx")
    monkeypatch.setenv("GESTRAY_BLENDER", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="found no such program"):
        export_motion(clip, tmp_path / "motion.fbx")


def test_a_blender_that_fails_is_quoted(
    clip: MotionClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no add-on for FBX >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("GESTRAY_BLENDER", str(program))
    with pytest.raises(UserError, match="no add-on for FBX"):
        export_motion(clip, tmp_path / "motion.fbx")
    assert subprocess.run([program], check=False).returncode == 3
