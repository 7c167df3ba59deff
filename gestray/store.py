"""One interface to a folder, on a local disk or in an object store (`s3://`).

All of gestray reads and writes through `Folder`. The environment holds the
credentials (the standard AWS variables; `AWS_ENDPOINT_URL` for any other
S3-compatible server): they are never part of a URI, a config or a manifest.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gestray.errors import UserError

if TYPE_CHECKING:
    import pyarrow.fs as pafs


def default_store() -> str:
    """`$GESTRAY_STORE`, or a folder in the user's data directory."""
    import platformdirs

    return os.environ.get("GESTRAY_STORE") or str(
        Path(platformdirs.user_data_dir("gestray")) / "store"
    )


@dataclass(frozen=True)
class Folder:
    """A folder under one URI: a local path or `s3://bucket/prefix`."""

    uri: str

    def __post_init__(self) -> None:
        uri = self.uri.removeprefix("file://")
        if "://" in uri and not uri.startswith("s3://"):
            scheme = uri.split("://")[0]
            raise UserError(
                f"store {self.uri!r}: found {scheme}://, expected a local path or s3://"
            )
        if uri.startswith("s3://"):
            if not uri.removeprefix("s3://").strip("/"):
                raise UserError(f"store {self.uri!r}: expected a bucket, as in s3://bucket/prefix")
            uri = uri.rstrip("/")
        else:
            uri = str(Path(uri).expanduser().absolute())
        object.__setattr__(self, "uri", uri)

    @property
    def is_local(self) -> bool:
        return not self.uri.startswith("s3://")

    @property
    def name(self) -> str:
        return self.uri.rsplit("/", 1)[-1]

    @cached_property
    def filesystem(self) -> pafs.FileSystem:
        """The pyarrow filesystem; `path` addresses into it."""
        import pyarrow.fs as pafs

        if self.is_local:
            return pafs.LocalFileSystem()
        options: dict[str, Any] = {}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            options["endpoint_override"] = endpoint
        if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
            options["region"] = region
        elif endpoint:
            options["region"] = (
                "us-east-1"  # any will do; none means asking AWS where the bucket is
            )
        retry = pafs.AwsStandardS3RetryStrategy(max_attempts=8)
        return pafs.S3FileSystem(
            retry_strategy=retry, connect_timeout=10, request_timeout=60, **options
        )

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}  # filesystems hold sockets: every process opens its own

    def __setstate__(self, state: dict[str, str]) -> None:
        object.__setattr__(self, "uri", state["uri"])

    def path(self, *parts: str) -> str:
        """Path of an entry as `filesystem` wants it."""
        return "/".join([self.uri.removeprefix("s3://"), *parts])

    def child(self, *parts: str) -> Folder:
        return Folder("/".join([self.uri, *parts]))

    def exists(self, *parts: str) -> bool:
        import pyarrow.fs as pafs

        info = self.filesystem.get_file_info(self.path(*parts))
        return info.type != pafs.FileType.NotFound

    def list(self, *parts: str, recursive: bool = False) -> list[str]:
        """Paths of the files and folders below, relative to this folder, sorted."""
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self.path(*parts), allow_not_found=True, recursive=recursive)
        prefix = self.path() + "/"
        infos = self.filesystem.get_file_info(selector)
        return sorted(info.path.removeprefix(prefix) for info in infos)

    def read_bytes(self, *parts: str) -> bytes:
        with self.filesystem.open_input_file(self.path(*parts)) as stream:
            return stream.read()

    def write_bytes(self, data: bytes, *parts: str) -> None:
        """Write a whole file: a reader sees the old content or the new, never a part."""
        with self.open_output(*parts) as stream:
            stream.write(data)

    @contextmanager
    def open_output(self, *parts: str) -> Iterator[Any]:
        """Binary stream to a file that appears only when the block ends without an error.

        On a disk through a temporary file beside it; in an object store an
        upload is invisible until it is complete. A failed upload to an object
        store leaves an object that no manifest names.
        """
        target = self.path(*parts)
        if not self.is_local:
            with self.filesystem.open_output_stream(target) as stream:
                yield stream
            return
        final = Path(target)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)

    def upload(self, local: Path, *parts: str) -> None:
        """Copy a local folder's files into the folder `parts`."""
        for file in sorted(path for path in Path(local).rglob("*") if path.is_file()):
            self.write_bytes(file.read_bytes(), *parts, file.relative_to(local).as_posix())

    def download(self, local: Path, *parts: str) -> Path:
        """Copy all files of the folder `parts` to a local folder."""
        base = "/".join(parts)
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self.path(*parts), recursive=True)
        prefix = self.path(*parts) + "/"
        for info in self.filesystem.get_file_info(selector):
            if info.type == pafs.FileType.File:
                relative = info.path.removeprefix(prefix)
                target = Path(local) / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.read_bytes(*([base] if base else []), relative))
        return Path(local)

    def delete(self) -> None:
        """Delete the folder and everything in it; absent is fine."""
        import pyarrow.fs as pafs

        if self.filesystem.get_file_info(self.path()).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path())
