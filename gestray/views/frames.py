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
    values, flat = _allocate(int(offsets[-1]) * _FLOAT_BYTES), motion.reshape(-1)
    for to, end, first, last in zip(
        offsets, offsets[1:], firsts * width, lasts * width, strict=False
    ):
        values[to:end] = flat[first:last]
    edges = pa.py_buffer((offsets * _FLOAT_BYTES).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(firsts), [None, edges, pa.py_buffer(values)])


def stack_frames(column: pa.ChunkedArray, length: int) -> np.ndarray:
    """Rows of `length` frames as one new float32 array (rows, length, width).

    Raises:
        ValueError: the rows differ in size, or do not hold `length` frames.
    """
    parts, sizes = [], set()
    for chunk in (chunk for chunk in column.chunks if len(chunk)):
        _, offsets, data = chunk.buffers()
        edges = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        sizes |= set(np.diff(edges).tolist())
        parts.append(np.frombuffer(data, np.uint8, edges[-1] - edges[0], edges[0]))
    if not parts:
        raise ValueError(f"no rows, expected some of {length} frames")
    if len(sizes) > 1 or min(sizes) % (length * _FLOAT_BYTES):
        found = f"{min(sizes)} to {max(sizes)} bytes"
        raise ValueError(f"rows of {found}, expected all to hold {length} frames")
    stacked = _allocate(sum(map(len, parts)))
    np.concatenate(parts, out=stacked.view(np.uint8))
    return stacked.reshape(len(column), length, -1)


def _allocate(size: int) -> np.ndarray:
    """Room for `size` bytes of float32.

    From Arrow's pool, which keeps its pages: NumPy would take new ones for every chunk, and
    the system's clearing of them costs more than the copying.
    """
    return np.frombuffer(pa.allocate_buffer(size), np.float32)
