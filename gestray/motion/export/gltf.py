"""Animated glTF 2.0 in one file: GLB with the avatar, and VRMA for any VRM avatar.

Both hold the 55 joints as a tree of nodes whose rest is the T-pose, y up and facing +z, so
that the local rotations of SMPL-X are the nodes' own: nothing is retargeted, and what a
reader computes from the file are the joints of the motion.

- **GLB**: the avatar (`avatar.py`), skinned. Opens in Blender, Unreal, Unity, three.js.
- **VRMA** (VRM Animation 1.0, https://vrm.dev/en/vrma/): nodes without a surface, and which
  bone of a VRM humanoid each one is. Eyes are left out, as the format wants; a program
  scales the path by the height of its avatar's hips.
"""

from __future__ import annotations

import numpy as np
import torch

import gestray
from gestray.motion.export.avatar import load_avatar, rest_places
from gestray.motion.export.clip import MotionClip, grounded
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS

_VRM_BODY = {
    "pelvis": "hips",
    "spine1": "spine",
    "spine2": "chest",
    "spine3": "upperChest",
    "neck": "neck",
    "head": "head",
    "jaw": "jaw",
}
_VRM_SIDES = {
    "hip": "UpperLeg",
    "knee": "LowerLeg",
    "ankle": "Foot",
    "foot": "Toes",
    "collar": "Shoulder",
    "shoulder": "UpperArm",
    "elbow": "LowerArm",
    "wrist": "Hand",
    **{
        f"{ours}{segment}": f"{theirs}{part}"
        for ours, theirs in (
            *(("index", "Index"), ("middle", "Middle"), ("pinky", "Little"), ("ring", "Ring")),
        )
        for segment, part in ((1, "Proximal"), (2, "Intermediate"), (3, "Distal"))
    },
    "thumb1": "ThumbMetacarpal",
    "thumb2": "ThumbProximal",
    "thumb3": "ThumbDistal",
}
VRM_BONES: dict[str, str] = _VRM_BODY | {
    f"{side}_{ours}": side + theirs
    for side in ("left", "right")
    for ours, theirs in _VRM_SIDES.items()
}
"""The humanoid bone of VRM 1.0 that each joint is; the eyes are none in an animation."""


def glb(clip: MotionClip) -> bytes:
    """The avatar in motion, as a GLB file."""
    document = GltfDocument()
    root = document.add_skeleton()
    document.add_avatar(root)
    document.add_animation(grounded(clip))
    return document.to_bytes()


def vrma(clip: MotionClip) -> bytes:
    """The motion for any VRM avatar, as a VRMA file."""
    document = GltfDocument()
    document.add_skeleton()
    document.add_animation(grounded(clip))
    bones = {
        VRM_BONES[name]: {"node": j} for j, name in enumerate(JOINT_NAMES) if name in VRM_BONES
    }
    document.gltf.extensionsUsed = ["VRMC_vrm_animation"]
    document.gltf.extensions = {
        "VRMC_vrm_animation": {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    }
    return document.to_bytes()


class GltfDocument:
    """A glTF document that grows by arrays; the nodes of the joints come first, in their order."""

    def __init__(self) -> None:
        import pygltflib

        self._types = pygltflib
        self._data = bytearray()
        self.gltf = pygltflib.GLTF2(
            asset=pygltflib.Asset(version="2.0", generator=f"gestray {gestray.__version__}"),
            scene=0,
            scenes=[pygltflib.Scene(nodes=[])],
        )

    def add_skeleton(self) -> int:
        """The joints, standing on the floor in their T-pose; the root's node."""
        gltf = self.gltf
        for j, name in enumerate(JOINT_NAMES):
            place = REST_OFFSETS[j] if j else np.array([0, -load_avatar().sole, 0])
            children = np.flatnonzero(j == PARENTS).tolist()
            gltf.nodes.append(
                self._types.Node(
                    name=name, translation=[float(x) for x in place], children=children
                )
            )
        gltf.scenes[0].nodes.append(0)
        return 0

    def add_avatar(self, root: int) -> None:
        """The surface, skinned to the joints."""
        types, gltf, avatar = self._types, self.gltf, load_avatar()
        at_rest = rest_places() - np.array([0, avatar.sole, 0])
        # Of column-major matrices: the inverse of where each joint stands.
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(at_rest), 1, 1))
        inverse[:, 3, :3] = -at_rest
        vertices = avatar.vertices - np.array([0, avatar.sole, 0], np.float32)
        vertex, triangle = types.ARRAY_BUFFER, types.ELEMENT_ARRAY_BUFFER
        attributes = types.Attributes(
            POSITION=self._array(vertices, "VEC3", vertex, bounds=True),
            NORMAL=self._array(avatar.normals, "VEC3", vertex),
            COLOR_0=self._array(avatar.colors, "VEC3", vertex),
            JOINTS_0=self._array(avatar.joints, "VEC4", vertex),
            WEIGHTS_0=self._array(avatar.weights, "VEC4", vertex, normalized=True),
        )
        indices = self._array(avatar.faces.reshape(-1), "SCALAR", triangle)
        surface = types.PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=0.7)
        gltf.materials.append(types.Material(name="avatar", pbrMetallicRoughness=surface))
        primitive = types.Primitive(attributes=attributes, indices=indices, material=0)
        gltf.meshes.append(types.Mesh(name="avatar", primitives=[primitive]))
        matrices = self._array(inverse.reshape(-1, 16), "MAT4")
        gltf.skins.append(
            types.Skin(
                joints=list(range(len(JOINT_NAMES))), skeleton=root, inverseBindMatrices=matrices
            )
        )
        gltf.nodes.append(types.Node(name="avatar", mesh=0, skin=0))
        gltf.scenes[0].nodes.append(len(gltf.nodes) - 1)

    def add_animation(self, clip: MotionClip) -> None:
        """The motion: every joint's rotation, and the pelvis' path."""
        types = self._types
        seconds = self._array(
            (np.arange(len(clip)) / clip.fps).astype(np.float32), "SCALAR", bounds=True
        )
        assert clip.trans is not None, "grounded clips have a path"
        animation = types.Animation(name="gesture")

        def move(node: int, path: str, values: np.ndarray) -> None:
            output = self._array(values, f"VEC{values.shape[1]}")
            animation.samplers.append(
                types.AnimationSampler(input=seconds, output=output, interpolation="LINEAR")
            )
            target = types.AnimationChannelTarget(node=node, path=path)
            number = len(animation.samplers) - 1
            animation.channels.append(types.AnimationChannel(sampler=number, target=target))

        move(0, "translation", clip.trans)
        for j, quaternions in enumerate(smooth_quaternions(clip.poses)):
            move(j, "rotation", quaternions)
        self.gltf.animations.append(animation)

    def to_bytes(self) -> bytes:
        types, gltf = self._types, self.gltf
        gltf.buffers.append(types.Buffer(byteLength=len(self._data)))
        gltf.set_binary_blob(bytes(self._data))
        return b"".join(gltf.save_to_bytes())

    def _array(
        self,
        values: np.ndarray,
        kind: str,
        target: int | None = None,
        bounds: bool = False,
        normalized: bool = False,
    ) -> int:
        """Number of a new accessor of `values`, one element a row."""
        types = self._types
        component = {
            np.dtype(np.float32): types.FLOAT,
            np.dtype(np.uint16): types.UNSIGNED_SHORT,
            np.dtype(np.uint8): types.UNSIGNED_BYTE,
        }[values.dtype]
        data = np.ascontiguousarray(values).tobytes()
        view = types.BufferView(
            buffer=0, byteOffset=len(self._data), byteLength=len(data), target=target
        )
        self._data += data + bytes(-len(data) % 4)
        self.gltf.bufferViews.append(view)
        accessor = types.Accessor(
            bufferView=len(self.gltf.bufferViews) - 1,
            componentType=component,
            count=len(values),
            type=kind,
            normalized=normalized,
        )
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor.min = [float(x) for x in rows.min(axis=0)]
            accessor.max = [float(x) for x in rows.max(axis=0)]
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1


def smooth_quaternions(poses: np.ndarray) -> np.ndarray:
    """Quaternions xyzw (55, T, 4), float32, that change sign nowhere in time.

    Args:
        poses: axis-angle (T, 165).
    """
    import roma

    vectors = torch.tensor(poses, dtype=torch.float64).unflatten(-1, (-1, 3))
    found = roma.rotvec_to_unitquat(vectors).transpose(0, 1).numpy()
    with_last = (found[:, 1:] * found[:, :-1]).sum(-1)
    flips = np.cumprod(np.where(with_last < 0, -1.0, 1.0), axis=1)
    found[:, 1:] *= flips[..., None]
    return found.astype(np.float32)
