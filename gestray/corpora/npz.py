"""NumPy archives from strangers, read without running or swallowing anything.

`numpy.load` picks its reader by the file's first bytes, unpickles when told
to, and allocates whatever size a header claims. A corpus is read with this
instead: only arrays of numbers and short strings, only as large as the bytes
that are there, only the members asked for.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from gestray.errors import BadInput

#: Larger members are refused: six hours of poses as float64 take 0.9 GB.
MAX_MEMBER_BYTES = 2**30

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OSError,
    tokenize.TokenError,  # from numpy, for headers that end early
)


def read_arrays(
    stream: BinaryIO, file: str, names: Iterable[str], max_bytes: int = MAX_MEMBER_BYTES
) -> dict[str, np.ndarray]:
    """Those of the arrays `names` that the archive holds, read-only.

    Args:
        stream: the open npz file, seekable.
        file: its name, for errors.
        names: arrays to read; others are not touched.
        max_bytes: a larger array is refused before it is unpacked.

    Raises:
        BadInput: not a zip archive, or damaged; or one of the arrays holds
            Python objects (a pickle, never loaded), contradicts its header, or
            is larger than `max_bytes`.
    """
    head = stream.read(4)
    if head != b"PK\x03\x04":
        raise BadInput(file, "file", _describe(head), "an npz archive (zip)")
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as archive:
            members = set(archive.namelist())
            return {
                name: _read_member(archive, f"{name}.npy", file, max_bytes)
                for name in names
                if f"{name}.npy" in members
            }
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(
            file, "file", f"a damaged archive ({str(error)[:120]})", "a whole npz archive"
        ) from None


def _read_member(archive: zipfile.ZipFile, member: str, file: str, max_bytes: int) -> np.ndarray:
    field = member.removesuffix(".npy")
    info = archive.getinfo(member)
    if info.file_size > max_bytes:
        raise BadInput(file, field, f"{info.file_size} bytes", f"at most {max_bytes}")
    try:
        with archive.open(info) as stream:
            version = npy.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise BadInput(file, field, f"npy version {version}", "version 1.0 or 2.0")
            read_header = (
                npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(stream)
            if dtype.hasobject:
                raise BadInput(
                    file, field, "Python objects (a pickle, not loaded)", "an array of numbers"
                )
            size = math.prod(shape) * dtype.itemsize
            held = info.file_size - stream.tell()
            if size != held or min(shape, default=0) < 0:
                found = f"{held} bytes of data for {dtype} {shape}"
                raise BadInput(file, field, found, f"{size} bytes")
            data = stream.read(size)  # to the end exactly, where the check sum is compared
            values = np.frombuffer(data, dtype) if size else np.zeros(0, dtype)
            return values.reshape(shape, order="F" if fortran_order else "C")
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(file, field, f"damaged data ({str(error)[:120]})", "a whole array") from None


def _describe(head: bytes) -> str:
    if head[:1] == b"\x80":
        return "a Python pickle (not loaded)"
    if head == b"\x93NUM":
        return "a single array (npy)"
    return f"a file that begins with {head!r}" if head else "an empty file"
