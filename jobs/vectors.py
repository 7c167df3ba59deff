"""Embedding columns of row tables as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gestray.errors import UserError


def matrix(rows: pa.Table, column: str) -> np.ndarray:
    """An embedding column as float32 (N, D).

    Raises:
        UserError: an embedding is missing.
    """
    values = rows[column].combine_chunks()
    if values.null_count:
        raise UserError(
            f"{column}: found {values.null_count} of {len(values)} rows without an embedding"
        )
    return values.flatten().to_numpy().reshape(len(values), -1)


def sequences(rows: pa.Table, column: str) -> list[np.ndarray]:
    """A column of lists of embeddings, as one float32 (n, D) a row."""
    lists = rows[column].combine_chunks()
    inner = lists.flatten()
    flat = inner.flatten().to_numpy(zero_copy_only=False)
    flat = flat.reshape(len(inner), -1) if len(inner) else flat.reshape(0, 1)
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.split(flat, np.cumsum(lengths)[:-1])


def has(rows: pa.Table, column: str) -> bool:
    """Whether a column is there and holds anything."""
    return column in rows.column_names and rows[column].null_count < len(rows)
