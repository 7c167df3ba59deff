"""Stretches of motion as rows of bytes, and back: the copies that streaming cannot avoid.

A row of a view holds float32 (frames, width) as bytes, because Arrow and Ray
then move it without looking inside. A window of 64 poses has 42 kB, so what a
stream costs is the number of times it is copied: once here when it is cut, and
once when a batch is stacked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_FLOAT_BYTES = 4


def cut_frames(motion: np.ndarray, starts: Sequence[int] | np.ndarray, length: int) -> pa.Array:
    """Stretches of `length` frames that begin at `starts`, one row of bytes each.

    Args:
        motion: float32 (frames, width), in C order.
        starts: first frames; stretches may overlap, and lie within the motion.
        length: frames of a stretch.
    """
    frames, width = motion.shape
    assert not len(starts) or 0 <= min(starts) <= max(starts) <= frames - length
    row_bytes = length * width * _FLOAT_BYTES
    # Arrow's pool keeps its pages; NumPy would take new ones for every chunk, and the
    # system's clearing of them costs more than the copying.
    data = pa.allocate_buffer(len(starts) * row_bytes)
    rows = np.frombuffer(data, np.float32).reshape(len(starts), length, width)
    for row, start in zip(rows, starts, strict=True):
        row[:] = motion[start : start + length]
    offsets = np.arange(len(starts) + 1, dtype=np.int32) * row_bytes
    return pa.Array.from_buffers(pa.binary(), len(starts), [None, pa.py_buffer(offsets), data])


def stack_frames(column: pa.ChunkedArray, length: int) -> np.ndarray:
    """Rows of `length` frames as one new float32 array (rows, length, width).

    Raises:
        ValueError: the rows differ in size, or do not hold `length` frames.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    parts = []
    for chunk in chunks:
        _, offsets, data = chunk.buffers()
        edges = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        sizes = np.diff(edges)
        if sizes.min() != sizes.max() or sizes[0] % (length * _FLOAT_BYTES):
            found = f"{sizes.min()} to {sizes.max()} bytes"
            raise ValueError(f"rows of {found}, expected all to hold {length} frames")
        values = np.frombuffer(data, np.float32, (edges[-1] - edges[0]) // 4, edges[0])
        parts.append(values.reshape(len(chunk), length, -1))
    if not parts:
        raise ValueError(f"no rows, expected some of {length} frames")
    return np.concatenate(parts)
