"""Motion as rows of bytes: exactly the frames asked for, there and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.views.frames import cut_frames, stack_frames

MOTION = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.data())
def test_stretches_are_cut_and_stacked(length: int, data: st.DataObject) -> None:
    starts = data.draw(st.lists(st.integers(0, 50 - length), min_size=1, max_size=9))
    rows = cut_frames(MOTION, starts, length)
    assert rows.to_pylist() == [MOTION[s : s + length].tobytes() for s in starts]
    cut = data.draw(st.integers(0, len(starts)))
    column = pa.chunked_array([rows.slice(0, cut), rows.slice(cut), rows.slice(cut, 0)])
    stacked = stack_frames(column, length)
    np.testing.assert_array_equal(stacked, [MOTION[s : s + length] for s in starts])
    assert stacked.flags.writeable


def test_stretches_may_differ_in_length() -> None:
    rows = cut_frames(MOTION, [40, 0, 7], [10, 50, 1])
    assert rows.to_pylist() == [MOTION[40:].tobytes(), MOTION.tobytes(), MOTION[7:8].tobytes()]


def test_no_starts_make_no_rows() -> None:
    assert len(cut_frames(MOTION, [], 10)) == 0
    assert len(cut_frames(MOTION, [], 100)) == 0


@pytest.mark.parametrize(
    ("rows", "length"), [([b"1234", b"12345678"], 1), ([b"12345678"], 3), ([], 2)]
)
def test_rows_of_another_size_are_an_error(rows: list[bytes], length: int) -> None:
    with pytest.raises(ValueError, match="rows"):
        stack_frames(pa.chunked_array([pa.array(rows, pa.binary())]), length)
