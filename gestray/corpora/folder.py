"""The one door through which corpus readers reach the files of a corpus.

A corpus is material of others: its links may lead anywhere, its files may be
pipes or larger than memory. `CorpusFolder` opens regular files within its
root and nothing else. Readers take streams and bytes from it, never paths, so
that another kind of storage needs another class here and no other change.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from gestray.errors import BadInput, UserError

# Of links that lead nowhere or in a circle, sockets, and files kept from us.
_UNREADABLE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM}


class CorpusFolder:
    """A local folder that holds a corpus.

    Args:
        root: the folder; every name below is relative to it, with ``/``.

    Raises:
        UserError: `root` is not a folder.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).resolve()
        if not self._root.is_dir():
            raise UserError(f"{root}: found no folder there, expected the root of a corpus")

    def __str__(self) -> str:
        return str(self._root)

    @property
    def name(self) -> str:
        return self._root.name

    def list(self, folder: str = "") -> list[str]:
        """Sorted names of the entries of `folder`; none when there is no such folder."""
        try:
            return sorted(entry.name for entry in os.scandir(self._root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, name: str) -> bool:
        """Whether there is an entry of this name, be it readable or not."""
        return os.path.lexists(self._root / name)

    def open(self, name: str) -> BinaryIO | None:
        """The file `name` opened for reading, or None when there is none.

        Raises:
            BadInput: it lies outside the root (by a link or by ``..``), leads
                nowhere, is not a regular file, or may not be read.
        """
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
