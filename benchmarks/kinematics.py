"""Frames a second: joints by forward kinematics against joints read off the skinned mesh.

    python benchmarks/kinematics.py --json

Published code of the field gets 55 joint positions by running the body model, which skins
10,475 vertices, on every frame. Ours walks the tree of joints with the same rest offsets.
Both get the same poses of one person; that the positions agree is checked first. The body
model is the package `smplx` (the extra `smplx`, for holders of the SMPL-X licence) where it
is installed, otherwise gestray's own skinning, and a file of random arrays in the real
one's shapes. The mesh has two threads, ours one: its steps are too small to share.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from side_by_side import Comparison, alternate, main
from smplx_standin import VERTICES, write_standin
from torch import Tensor

from gestray.motion.kinematics import joint_positions
from gestray.motion.smplx_body import SmplxModel

FRAMES = 256
BETAS = 300
OUR_REPEATS = 50


def measure(runs: int) -> Comparison:
    torch.manual_seed(0)
    poses, trans, betas = torch.randn(FRAMES, 165) * 0.3, torch.randn(FRAMES, 3), torch.randn(BETAS)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = write_standin(Path(folder))
        model = SmplxModel.load(path)
        offsets = model.rest_offsets(betas)
        through_mesh, package = _mesh_way(path, model, betas)

        def ours() -> float:
            torch.set_num_threads(1)
            return _rate(lambda: joint_positions(poses, trans, offsets), OUR_REPEATS)

        def mesh() -> float:
            torch.set_num_threads(2)
            return _rate(lambda: through_mesh(poses, trans), 1)

        apart = (joint_positions(poses, trans, offsets) - through_mesh(poses, trans)).abs().max()
        ours()
        medians = alternate({"ours": ours, "mesh": mesh}, runs)
    also = {
        "body_model": package,
        "vertices": VERTICES,
        "frames": FRAMES,
        "threads": 1,
        "other_threads": 2,
        "largest_difference_mm": 1000 * float(apart),
    }
    return Comparison(medians["ours"], medians["mesh"], "frames/s", runs, also)


def _mesh_way(
    path: Path, model: SmplxModel, betas: Tensor
) -> tuple[Callable[[Tensor, Tensor], Tensor], str]:
    """Joints (T, 55, 3) of poses and translation by way of the mesh, and whose code that is."""
    if importlib.util.find_spec("smplx") is None:

        def skin(poses: Tensor, trans: Tensor) -> Tensor:
            model.vertices(poses, trans, betas)
            return joint_positions(poses, trans, model.rest_offsets(betas))

        return skin, "gestray.motion.smplx_body"

    import smplx

    body = smplx.SMPLX(
        str(path), ext="npz", use_pca=False, flat_hand_mean=True, num_betas=BETAS,
        num_expression_coeffs=100, batch_size=FRAMES,
    )  # fmt: skip
    shape, neutral = betas.expand(FRAMES, -1), torch.zeros(FRAMES, 100)

    def run(poses: Tensor, trans: Tensor) -> Tensor:
        found = body(
            betas=shape, expression=neutral, transl=trans, global_orient=poses[:, :3],
            body_pose=poses[:, 3:66], jaw_pose=poses[:, 66:69], leye_pose=poses[:, 69:72],
            reye_pose=poses[:, 72:75], left_hand_pose=poses[:, 75:120],
            right_hand_pose=poses[:, 120:165],
        )  # fmt: skip
        return found.joints[:, :55]

    return run, "smplx"


def _rate(way: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        way()
    return FRAMES * repeats / (time.perf_counter() - started)


if __name__ == "__main__":
    main("kinematics", __doc__.splitlines()[0], measure)
