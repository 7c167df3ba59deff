"""Motion as an npz file with BEAT2's keys, written as it comes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gestray.corpora.take import FPS, NUM_BETAS, NUM_EXPRESSIONS, POSE_WIDTH, TRANS_WIDTH
from gestray.generators.contract import Gesturing

_WIDTHS = {"poses": POSE_WIDTH, "trans": TRANS_WIDTH, "expressions": NUM_EXPRESSIONS}


def write_npz(path: Path, motion: Iterable[Gesturing], frames: int) -> None:
    """Write a motion of `frames` frames; what it lacks (path, face) is zero, as at rest.

    Memory does not grow with its length: arrays are files until they are packed. The file
    appears when it is whole.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as work:
        arrays = {
            name: np.lib.format.open_memmap(
                Path(work) / f"{name}.npy", mode="w+", dtype=np.float32, shape=(frames, width)
            )
            for name, width in _WIDTHS.items()
        }
        done = 0
        for part in motion:
            for name, array in arrays.items():
                values = getattr(part, name)
                if values is not None:
                    array[done : done + len(part)] = values
            done += len(part)
        assert done == frames, f"{done} frames of motion for {frames}"
        for array in arrays.values():
            array.flush()
        arrays.clear()
        scalars = {
            "betas": np.zeros(NUM_BETAS, np.float32),
            "gender": np.array("neutral"),
            "model": np.array("smplx2020"),
            "mocap_frame_rate": np.array(round(FPS)),
        }
        for name, value in scalars.items():
            np.save(Path(work) / f"{name}.npy", value, allow_pickle=False)
        packed = Path(work) / "packed.npz"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in (*_WIDTHS, *scalars):
                archive.write(Path(work) / f"{name}.npy", f"{name}.npy")
        packed.replace(path)
