"""A generated motion as it is kept for a while.

The actor that keeps them imports this, and it shall not need what makes motions: torch is
imported only by whoever asks for joints or files.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gestray.generators.contract import Gesturing

if TYPE_CHECKING:
    from gestray.motion.export.clip import MotionClip


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

    @property
    def clip(self) -> MotionClip:
        """To make a file of."""
        from gestray.motion.export.clip import MotionClip

        made = self.motion
        return MotionClip(made.poses, made.trans, made.expressions, audio=self.pcm16)

    def places(self) -> bytes:
        """Where its joints are, as of a clip."""
        from serving.recordings import pack_places, thinned

        return pack_places(*thinned(self.motion.poses))

    def turns(self) -> bytes:
        """How its joints are turned, as of a clip."""
        from serving.recordings import pack_turns, thinned

        return pack_turns(*thinned(self.motion.poses))

    def wav(self) -> bytes:
        """Its speech as a WAV file."""
        from serving.recordings import wav_file

        return wav_file(self.pcm16)
