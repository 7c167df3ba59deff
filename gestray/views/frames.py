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


def cut_frames(
    motion: np.ndarray, starts: Sequence[int] | np.ndarray, length: int | Sequence[int]
) -> pa.Array:
    """Stretches of frames that begin at `starts`, one row of bytes each.

    Args:
        motion: float32 (frames, width), in C order.
        starts: first frames; stretches may overlap, and lie within the motion.
        length: frames of every stretch, or of each.
    """
    frames, width = motion.shape
    firsts = np.asarray(starts, dtype=np.int64)
    lasts = firsts + np.asarray(length, dtype=np.int64)
    assert not len(firsts) or (firsts.min() >= 0 and lasts.max() <= frames)
    offsets = np.zeros(len(firsts) + 1, dtype=np.int64)
    np.cumsum((lasts - firsts) * width, out=offsets[1:])
    # Arrow's pool keeps its pages; NumPy would take new ones for every chunk, and the
    # system's clearing of them costs more than the copying.
    data = pa.allocate_buffer(int(offsets[-1]) * _FLOAT_BYTES)
    values, flat = np.frombuffer(data, np.float32), motion.reshape(-1)
    for to, end, first, last in zip(
        offsets, offsets[1:], firsts * width, lasts * width, strict=False
    ):
        values[to:end] = flat[first:last]
    edges = pa.py_buffer((offsets * _FLOAT_BYTES).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(firsts), [None, edges, data])


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
