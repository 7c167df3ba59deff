"""Rows of a `features` artifact: speech features of whole takes, computed once, a group each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gestray.errors import UserError
from gestray.store import Folder, patiently

FEATURES_SCHEMA = pa.schema(
    [
        ("take_id", pa.string()),
        ("frames", pa.int32()),
        ("width", pa.int32()),
        ("values", pa.large_binary()),  # float16 (frames, width), little-endian
    ]
)
_ROWS = "rows.parquet"


@lru_cache(maxsize=4)
def _opened(folder: Folder) -> tuple[pq.ParquetFile, dict[str, tuple[int, int]]]:
    """The file, and of each take the row group and the row within it."""
    file = pq.ParquetFile(folder.path(_ROWS), filesystem=folder.filesystem, pre_buffer=True)
    places: dict[str, tuple[int, int]] = {}
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["take_id"])["take_id"].to_pylist()
        places |= {take_id: (group, row) for row, take_id in enumerate(ids)}
    return file, places


def read_features(folder: Folder, take_id: str, frames: int) -> np.ndarray:
    """float32 (frames, C) of a take.

    Raises:
        UserError: the artifact does not have the take, or was made of another recording of it.
    """

    def read() -> np.ndarray:
        file, places = _opened(folder)
        if take_id not in places:
            raise UserError(f"{folder.uri}: found no features of take {take_id!r}; make them anew")
        group, row = places[take_id]
        [found] = file.read_row_group(group).slice(row, 1).to_pylist()
        values = np.frombuffer(found["values"], "<f2").reshape(found["frames"], found["width"])
        if len(values) != frames:
            raise UserError(
                f"{folder.uri}: take {take_id!r} has {len(values)} frames of features and "
                f"{frames} of motion; make the features of these takes anew"
            )
        return values.astype(np.float32)

    return patiently(read, f"read features of {take_id} in {folder.uri}")
