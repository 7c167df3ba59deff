"""Readers of exported files that are not gestray's: joints as any other program has them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pygltflib
from scipy.spatial.transform import Rotation

_COMPONENTS = {5126: np.float32, 5123: np.uint16, 5121: np.uint8}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def gltf_array(gltf: pygltflib.GLTF2, number: int) -> np.ndarray:
    """The values of an accessor, one element a row."""
    accessor = gltf.accessors[number]
    view = gltf.bufferViews[accessor.bufferView]
    width = _WIDTHS[accessor.type]
    values = np.frombuffer(
        gltf.binary_blob(),
        _COMPONENTS[accessor.componentType],
        accessor.count * width,
        (view.byteOffset or 0) + (accessor.byteOffset or 0),
    )
    return values.reshape(accessor.count, width)


def gltf_joints(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Rotation], np.ndarray]:
    """World positions (T, 3) and rotations of every node by name, and the key times in seconds.

    By the rules of glTF 2.0: a node's matrix is its parent's times T · R, where the
    animation's values take the place of the node's own.
    """
    gltf = pygltflib.GLTF2().load_binary(str(path))
    animated: dict[tuple[int, str], np.ndarray] = {}
    (animation,) = gltf.animations
    times = gltf_array(gltf, animation.samplers[0].input)[:, 0]
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        animated[channel.target.node, channel.target.path] = gltf_array(gltf, sampler.output)
    frames = len(times)
    places: dict[str, np.ndarray] = {}
    turns: dict[str, Rotation] = {}

    def visit(number: int, place: np.ndarray, turn: Rotation) -> None:
        node = gltf.nodes[number]
        own = animated.get((number, "translation"))
        own = np.tile(node.translation or [0, 0, 0], (frames, 1)) if own is None else own
        rotation = animated.get((number, "rotation"))
        if rotation is None:
            rotation = np.tile(node.rotation or [0, 0, 0, 1], (frames, 1))
        assert np.allclose(np.linalg.norm(rotation, axis=1), 1, atol=1e-5)
        places[node.name] = place + turn.apply(own)
        turns[node.name] = turn * Rotation.from_quat(rotation)
        for child in node.children or ():
            visit(child, places[node.name], turns[node.name])

    for root in gltf.scenes[gltf.scene].nodes:
        visit(root, np.zeros((frames, 3)), Rotation.identity(frames))
    return places, turns, times


def bvh_places(path: Path, up: str = "y") -> dict[str, np.ndarray]:
    """World positions (T, 3) of the joints by name, read and computed by the library pybvh."""
    import pybvh

    figure = pybvh.read_bvh_file(path, world_up=f"+{up}")
    places = figure.joint_positions()
    return {name: places[:, figure.joint_index[name]] for name in figure.joint_names}


def npz_joints(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an npz, by numpy itself."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file}
