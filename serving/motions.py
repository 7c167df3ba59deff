"""Files of motions: those that `gestray export` writes, one after the other."""

from __future__ import annotations

import tempfile
from functools import cache
from http import HTTPStatus
from pathlib import Path

from gestray.client.answers import MotionFormat
from gestray.errors import UserError
from gestray.motion.export import MotionClip, export_motion
from gestray.motion.export.video import ffmpeg
from serving.problems import Problem
from serving.work import Bounded

# Files that are made at once or wait for it; each takes a core for up to some seconds.
_MOST_EXPORTS = 8


@cache
def formats() -> tuple[MotionFormat, ...]:
    """The files that can be made here: MP4 needs ffmpeg."""
    try:
        ffmpeg()
    except UserError:
        return ("npz", "bvh", "glb", "vrma")
    return ("npz", "bvh", "glb", "vrma", "mp4")


class Exports:
    """Makes files of motions, one after the other, so that requests keep a core."""

    def __init__(self, film_s: float) -> None:
        self.film_s = film_s
        self._work = Bounded("files", 1, _MOST_EXPORTS, retry_s=5)

    async def file(self, clip: MotionClip, kind: MotionFormat) -> bytes:
        """The clip in a format.

        Raises:
            Problem: too many wait for files already; or it cannot be written so.
        """
        if kind not in formats():
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"{kind}: this server has no ffmpeg to film with; it comes with "
                "`pip install 'gestray[video]'`",
            )
        if kind == "mp4" and clip.seconds > self.film_s:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"mp4: found {clip.seconds:.1f} s of motion, at most {self.film_s:g} s are filmed; "
                "ask for glb, or film it yourself with `gestray export`",
            )
        return await self._work.do(lambda: _exported(clip, kind))


def _exported(clip: MotionClip, kind: MotionFormat) -> bytes:
    with tempfile.TemporaryDirectory(prefix="gestray-export-") as folder:
        path = Path(folder) / f"motion.{kind}"
        export_motion(clip, path)
        return path.read_bytes()
