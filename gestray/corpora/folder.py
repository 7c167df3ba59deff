"""The one door through which corpus readers reach the files of a corpus.

A corpus is material of others: its links may lead anywhere, its files may be
pipes or larger than memory. A `CorpusFolder` opens regular files within its
root and nothing else, on a disk or in an object store. Readers take streams
and bytes from it, never paths.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from gestray.errors import BadInput, UserError
from gestray.store import Folder, patiently

# What a corpus may say of itself, as a JSON object; `synthetic` marks invented data.
ABOUT_FILE = "corpus.json"

# An object is read whole; no part of a recording of hours is larger.
MAX_OBJECT_BYTES = 4 << 30

# A recording that changes while it is read is read this often before it is given up.
READ_ATTEMPTS = 2

_T = TypeVar("_T")

# Of links that lead nowhere or in a circle, sockets, and files kept from us.
_UNREADABLE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}

# How an object store's refusal reads in pyarrow's errors.
_DENIED = re.compile(r"ACCESS_DENIED|AccessDenied|HTTP status code 403|Forbidden")


@dataclass(frozen=True)
class FileFacts:
    """A file of a corpus; `modified_ns` is nanoseconds since the epoch."""

    name: str
    size: int
    modified_ns: int


def open_corpus(root: str | Path) -> CorpusFolder:
    """The corpus at a local path or an ``s3://`` URI.

    Raises:
        UserError: there is no such folder.
    """
    if str(root).startswith("s3://"):
        return _ObjectCorpus(str(root))
    return _LocalCorpus(Path(root))


class CorpusFolder(ABC):
    """The folder that holds a corpus; names are relative to it, with ``/``."""

    name: str

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def list(self, folder: str = "") -> list[str]:
        """Sorted names of the entries of `folder`; none when there is no such folder."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is an entry of this name, be it readable or not."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO | None:
        """The file `name` opened for reading, or None when there is none.

        Raises:
            BadInput: it lies outside the root (by a link or by ``..``), leads
                nowhere, is not a regular file, or may not be read.
        """

    @abstractmethod
    def stamp(self, name: str) -> Hashable:
        """What changes whenever the file does; None when there is none, or none to see."""

    @abstractmethod
    def files(self) -> tuple[FileFacts, ...]:
        """Every file below the root, sorted by name."""

    def read(self, name: str, limit: int) -> bytes | None:
        """All bytes of the file `name`, or None when there is none.

        Raises:
            BadInput: as `open`, or the file is larger than `limit` bytes.
        """
        stream = self.open(name)
        if stream is None:
            return None
        with stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise BadInput(name, "size", f"more than {limit} bytes", f"at most {limit}")
        return data


def read_unchanged(corpus: CorpusFolder, names: Iterable[str], read: Callable[[], _T]) -> _T:
    """`read()`, of files that stayed as they were while it read them.

    A recording that is still being copied looks damaged, or whole and is not. So
    where a file has changed meanwhile, neither its content nor the damage found
    in it counts, and it is read once more.

    Raises:
        BadInput: as `read`; or a file keeps changing.
    """
    files = tuple(names)
    changed: str | None = None
    for _ in range(READ_ATTEMPTS):
        before = {name: corpus.stamp(name) for name in files}
        result: _T | BadInput
        try:
            result = read()
        except BadInput as error:
            result = error
        changed = next((name for name in files if corpus.stamp(name) != before[name]), None)
        if changed is None:
            if isinstance(result, BadInput):
                raise result
            return result
    assert changed is not None
    raise BadInput(
        changed,
        "content",
        f"a file that changed while it was read, {READ_ATTEMPTS} times",
        "a file that stays as it is; ingest again when it is whole",
    )


class _LocalCorpus(CorpusFolder):
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.name = self._root.name
        if not self._root.is_dir():
            raise UserError(f"{root}: found no folder there, expected the root of a corpus")

    def __str__(self) -> str:
        return str(self._root)

    def list(self, folder: str = "") -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self._root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, name: str) -> bool:
        return os.path.lexists(self._root / name)

    def open(self, name: str) -> BinaryIO | None:
        if not self.exists(name):
            return None
        try:
            path = (self._root / name).resolve(strict=True)
            if not path.is_relative_to(self._root):
                raise BadInput(
                    name,
                    "location",
                    "a path or symbolic link that leads out of the corpus",
                    "a file within it; copy the file in, or name a root that holds its target",
                )
            # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except (OSError, RuntimeError) as error:
            # Anything else, such as a failing disk, is not the recording's fault.
            if isinstance(error, OSError) and error.errno not in _UNREADABLE:
                raise
            found = error.strerror if isinstance(error, OSError) else "a loop of links"
            raise BadInput(name, "location", str(found), "a file that can be read") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BadInput(name, "location", "a folder, pipe or device", "a regular file")
        return open(descriptor, "rb")

    def stamp(self, name: str) -> Hashable:
        try:
            facts = os.stat(self._root / name)
        except (OSError, ValueError):
            return None
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns

    def files(self) -> tuple[FileFacts, ...]:
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                facts = path.lstat()
                relative = path.relative_to(self._root).as_posix()
                found.append(FileFacts(relative, facts.st_size, facts.st_mtime_ns))
        return tuple(sorted(found, key=lambda file: file.name))


class _ObjectCorpus(CorpusFolder):
    def __init__(self, uri: str) -> None:
        self._folder = Folder(uri)
        self.name = self._folder.name
        if not self._folder.list():
            raise UserError(f"{uri}: found no objects there, expected the root of a corpus")

    def __str__(self) -> str:
        return self._folder.uri

    def list(self, folder: str = "") -> list[str]:
        parts = [folder] if folder else []
        return sorted(path.rsplit("/", 1)[-1] for path in self._folder.list(*parts))

    def exists(self, name: str) -> bool:
        return self._folder.exists(name)

    def open(self, name: str) -> BinaryIO | None:
        import pyarrow.fs as pafs

        path = self._folder.path(name)
        try:
            info = patiently(
                lambda: self._folder.filesystem.get_file_info(path), f"look for {path}"
            )
            if info.type == pafs.FileType.NotFound:
                return None
            if info.type != pafs.FileType.File:
                raise BadInput(name, "location", "a folder", "an object")
            if info.size > MAX_OBJECT_BYTES:
                expected = f"at most {MAX_OBJECT_BYTES}"
                raise BadInput(name, "size", f"{info.size} bytes", expected)
            return io.BytesIO(self._folder.read_bytes(name))
        except OSError as error:
            # Anything else, such as a server that stays down, is not the recording's fault.
            if not _DENIED.search(str(error)):
                raise
            found = "an object this key may not read"
            raise BadInput(name, "location", found, "a file that can be read") from None

    def stamp(self, name: str) -> Hashable:
        try:
            return self._folder.version(name)
        except OSError as error:
            if not _DENIED.search(str(error)):
                raise
            return None

    def files(self) -> tuple[FileFacts, ...]:
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self._folder.path(), recursive=True)
        prefix = self._folder.path() + "/"
        infos = patiently(lambda: self._folder.filesystem.get_file_info(selector), f"list {prefix}")
        found = sorted(
            (
                FileFacts(info.path.removeprefix(prefix), info.size, info.mtime_ns)
                for info in infos
                if info.type == pafs.FileType.File
            ),
            key=lambda file: file.name,
        )
        return tuple(found)
