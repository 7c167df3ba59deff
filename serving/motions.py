"""Generated motions: what a server keeps of them, and the files it makes of them."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from http import HTTPStatus
from pathlib import Path

from gestray.client.answers import MotionFormat
from gestray.errors import UserError
from gestray.generators.contract import Gesturing
from gestray.motion.export import MotionClip, export_motion
from gestray.motion.export.video import ffmpeg
from serving.problems import Problem
from serving.recordings import pack_places, pack_turns, thinned, wav_file
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


def new_id() -> str:
    """128 random bits: whoever does not have it cannot guess it."""
    return secrets.token_hex(16)


@dataclass(frozen=True, eq=False)
class Kept:
    """A motion with its speech.

    Args:
        about: what is told of it, JSON of `serving.schemas.Motion`.
        motion: the motion.
        pcm16: its speech, mono, 16 kHz.
    """

    about: str
    motion: Gesturing
    pcm16: bytes

    @property
    def size(self) -> int:
        """Bytes in memory."""
        arrays = (self.motion.poses, self.motion.trans, self.motion.expressions)
        return len(self.about) + len(self.pcm16) + sum(0 if x is None else x.nbytes for x in arrays)

    @cached_property
    def clip(self) -> MotionClip:
        made = self.motion
        return MotionClip(made.poses, made.trans, made.expressions, audio=self.pcm16)

    def places(self) -> bytes:
        """Where its joints are, as of a clip."""
        return pack_places(*thinned(self.motion.poses))

    def turns(self) -> bytes:
        """How its joints are turned, as of a clip."""
        return pack_turns(*thinned(self.motion.poses))

    def wav(self) -> bytes:
        return wav_file(self.pcm16)


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
            raise Problem(HTTPStatus.NOT_FOUND, f"{kind}: this server has no ffmpeg to film with")
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
