"""How takes are stored: Parquet shards in which every take is a row group of its own.

A row group is what Parquet can read by itself, so a take is addressable in a
shard of hundreds of megabytes. Motion is encoded by byte planes: the bytes of
floats that lie together then resemble each other, which ZSTD can use. Parquet's
default, a dictionary, would store a third *more* than the recording, for hardly
a float occurs twice.
"""

from __future__ import annotations

from typing import BinaryIO

import pyarrow.parquet as pq

from gestray.corpora.take import TAKE_SCHEMA, Take

#: Folder of the shards in a `takes` artifact.
SHARDS = "shards"

_MOTION = ("poses", "trans", "expressions")
# A minute of poses in one page: a take is read whole, and pages cost time.
_PAGE_BYTES = 8 << 20


class ShardWriter:
    """Writes takes to one shard; a context manager.

    Args:
        stream: where the file goes; stays open.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(
            stream,
            TAKE_SCHEMA,
            compression="zstd",
            use_dictionary=False,
            column_encoding={
                f"{name}.list.element.list.element": "BYTE_STREAM_SPLIT" for name in _MOTION
            },
            data_page_size=_PAGE_BYTES,
        )

    def write(self, take: Take) -> None:
        self._writer.write_table(take.to_table())

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
