"""One interface to a folder, on a local disk or in an object store (`s3://`).

All of gestray reads and writes through `Folder`. The environment holds the
credentials (the standard AWS variables; `AWS_ENDPOINT_URL` for any other
S3-compatible server): they are never part of a URI, a config or a manifest.

Object stores fail now and then, and it is nobody's fault. The AWS SDK below
pyarrow repeats a failed request at once, with growing and jittered pauses, for
a few seconds. What outlasts that, such as a server that restarts, is waited for
by `patiently`, which says so in the log; nothing else in gestray retries.
"""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from gestray.errors import UserError

if TYPE_CHECKING:
    import pyarrow.fs as pafs

log = logging.getLogger(__name__)

# Of the SDK: attempts of one request, and how long it waits for a connection and a byte.
REQUEST_ATTEMPTS = 8
CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 30

#: Pauses of `patiently`; each is drawn between half of it and all of it.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)

# Faults of the server or the way to it, as pyarrow words them. Not among them: what
# does not exist, may not be read, or is signed wrongly.
_TRANSIENT = re.compile(
    r"NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTL"
    r"|REQUEST_TIME|HTTP status code 5\d\d|curlCode"
)

_PIECE_BYTES = 8 << 20

_T = TypeVar("_T")


def patiently(action: Callable[[], _T], what: str) -> _T:
    """`action()`, again after a pause where an object store has failed meanwhile.

    Args:
        action: may be done several times.
        what: what it does to which URI, for the log.

    Raises:
        OSError: the last one, after `PAUSES_S`; or one that no waiting mends.
    """
    for pause_s in PAUSES_S:
        try:
            return action()
        except OSError as error:
            if not _TRANSIENT.search(str(error)):
                raise
            pause_s *= random.uniform(0.5, 1)
            log.warning("%s failed, again in %.1f s: %s", what, pause_s, error)
            time.sleep(pause_s)
    return action()


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
        return pafs.S3FileSystem(
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=REQUEST_ATTEMPTS),
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            **options,
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

        info = self._patiently("look for", parts, self.filesystem.get_file_info)
        return info.type != pafs.FileType.NotFound

    def list(self, *parts: str, recursive: bool = False) -> list[str]:
        """Paths of the files and folders below, relative to this folder, sorted."""
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self.path(*parts), allow_not_found=True, recursive=recursive)
        prefix = self.path() + "/"
        infos = self._patiently("list", parts, lambda _: self.filesystem.get_file_info(selector))
        return sorted(info.path.removeprefix(prefix) for info in infos)

    def version(self, *parts: str) -> str | None:
        """What names this content of an object (its ETag); None when there is no object."""

        def read(path: str) -> str:
            with self.filesystem.open_input_stream(path) as stream:
                return stream.metadata()["ETag"].decode()

        try:
            return self._patiently("look at", parts, read)
        except FileNotFoundError:
            return None

    def read_bytes(self, *parts: str) -> bytes:
        def read(path: str) -> bytes:
            with self.filesystem.open_input_file(path) as stream:
                return stream.read()

        return self._patiently("read", parts, read)

    def write_bytes(self, data: bytes, *parts: str) -> None:
        """Write a whole file: a reader sees the old content or the new, never a part."""
        with self.open_output(*parts) as stream:
            stream.write(data)

    @contextmanager
    def open_output(self, *parts: str) -> Iterator[Any]:
        """Binary stream to a file that appears only when the block ends without an error.

        On a disk through a temporary file beside it. To an object store it is
        uploaded when the block ends, from a temporary file, so that an upload
        that fails can begin anew.
        """
        if not self.is_local:
            with tempfile.TemporaryFile(prefix="gestray-upload-") as file:
                yield file
                self._patiently("write", parts, lambda path: self._send(file, path))
            return
        final = Path(self.path(*parts))
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

    def _send(self, file: IO[bytes], path: str) -> None:
        file.seek(0)
        with self.filesystem.open_output_stream(path) as stream:
            shutil.copyfileobj(file, stream, _PIECE_BYTES)

    def _patiently(self, what: str, parts: tuple[str, ...], action: Callable[[str], _T]) -> _T:
        path = self.path(*parts)
        return patiently(lambda: action(path), f"{what} {path}")

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
        infos = self._patiently("list", parts, lambda _: self.filesystem.get_file_info(selector))
        for info in infos:
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
            self._patiently("delete", (), self.filesystem.delete_dir)
