"""One npz of SMPL-X motion as a take: a model's output, or a recording by itself."""

from __future__ import annotations

from pathlib import PurePosixPath

from gestray.corpora.smplx_folder import SmplxSource, take_ids
from gestray.corpora.source import TakeEntry
from gestray.corpora.take import FPS, Take
from gestray.errors import UserError


def read_motion_file(uri: str) -> Take:
    """The motion of an npz, at 30 frames a second, and the speech beside it if there is any.

    Arrays are named as in BEAT2, AMASS or SHOW; a file that does not say has 30 frames a
    second. Speech is a ``.wav`` of the same name.

    Args:
        uri: a path, or ``s3://``.

    Raises:
        BadInput: the file cannot be read as SMPL-X motion.
    """
    if not uri.endswith(".npz"):
        raise UserError(f"{uri}: expected SMPL-X motion as .npz")
    folder, _, name = uri.rpartition("/")
    source = SmplxSource(folder or ".", fps=FPS)
    beside = PurePosixPath(name).stem + ".wav"
    sidecars = {".wav": beside} if source.has(beside) else {}
    return source.read_take(TakeEntry(take_ids([name])[0], "test", 1, detail=(name, sidecars)))
