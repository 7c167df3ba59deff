"""Archives with any bytes changed are read right or refused; nothing else escapes."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from gestray.corpora.npz import read_arrays
from gestray.errors import BadInput

POSES = np.zeros((3, 165), np.float32)


def member(data: bytes) -> io.BytesIO:
    """An archive, its check sums in order, whose ``poses`` is `data`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("poses.npy", data)
    buffer.seek(0)
    return buffer


ARCHIVE = io.BytesIO()
np.savez(ARCHIVE, poses=POSES, mocap_frame_rate=np.array(30))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.integers(0, len(ARCHIVE.getvalue()) - 1), st.binary(min_size=1, max_size=1))
)
def test_no_corruption_of_an_archive_escapes(changes: dict[int, bytes]) -> None:
    """Whatever bytes change, the arrays are right or the archive is refused."""
    data = bytearray(ARCHIVE.getvalue())
    for at, value in changes.items():
        data[at : at + 1] = value
    try:
        arrays = read_arrays(io.BytesIO(bytes(data)), "f", ("poses", "mocap_frame_rate"))
    except BadInput as error:
        assert error.file == "f"
        return
    for name, values in arrays.items():
        expected = POSES if name == "poses" else 30
        np.testing.assert_array_equal(values, expected)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_corruption_of_an_array_header_escapes(changes: list[tuple[int, int]]) -> None:
    """The same behind a check sum that fits, as in a file made to harm."""
    buffer = io.BytesIO()
    np.save(buffer, POSES)
    data = bytearray(buffer.getvalue())
    for at, value in changes:
        data[at] = value
    try:
        arrays = read_arrays(member(bytes(data)), "f", ("poses",))
    except BadInput:
        return
    assert arrays["poses"].nbytes == 3 * 165 * 4


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((-1, 165), 3), ((9**9, 165), 3), ((3, 165), 2), ((2, 165), 3), ((), 3)],
)
def test_a_header_must_fit_its_data(shape: tuple[int, ...], rows: int) -> None:
    """NumPy itself would take -1 for "as many as there are", and stop early."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    data = buffer.getvalue() + np.zeros((rows, 165), "<f4").tobytes()
    with pytest.raises(BadInput, match="bytes of data for float32"):
        read_arrays(member(data), "f", ("poses",))


def test_members_beyond_the_bound_are_not_unpacked() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, poses=POSES, trans=np.zeros(10))
    data = buffer.getvalue()
    assert read_arrays(io.BytesIO(data), "f", ("trans",), 1000)["trans"].shape == (10,)
    with pytest.raises(BadInput, match="poses: found 2108 bytes, expected at most 1000"):
        read_arrays(io.BytesIO(data), "f", ("poses",), 1000)


def test_a_pickle_with_an_archive_behind_it_is_a_pickle() -> None:
    """Zip readers look at a file's end, unpicklers at its start: one file may be both."""
    buffer = io.BytesIO()
    np.savez(buffer, poses=POSES)
    with pytest.raises(BadInput, match="a Python pickle"):
        read_arrays(io.BytesIO(pickle.dumps([1]) + buffer.getvalue()), "f", ("poses",))
