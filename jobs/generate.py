"""`gestray generate`: motion for a text or a recording, into a file."""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gestray.artifacts import Artifact
from gestray.errors import BadInput, UserError
from gestray.generators.contract import Gesturing, Speech
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float, read_audio
from gestray.speech.features import FRAMES_PER_S, end_of_frame, frames_in
from gestray.speech.transcript import Timed, time_transcript, words_within
from gestray.speech.words import MAX_WORDS_BYTES, Word, decode_text, read_words
from jobs.display import progress, remarks
from jobs.retrieved import Inserted

_AT_ONCE_BYTES = 10 * 2 * SAMPLE_RATE  # ten seconds
# Of speech; with less of it, what quickens a generator takes longer than it saves.
_QUICKENS_FROM_S = 120


@dataclass(frozen=True)
class Generated:
    """What came of `generate`.

    Attributes:
        first_motion_ms: from the start of generating to the first frames.
        real_time_factor: seconds of motion a second, features of speech included.
        gestures: recorded ones that were put under words, or could not be.
    """

    out: str
    generator: str
    speaker: str | None
    seed: int
    frames: int
    seconds: float
    words: int
    first_motion_ms: float
    real_time_factor: float
    gestures: list[Inserted]


class Recording:
    """PCM16 with its words; made into floats ten seconds at a time, so that an hour stays small."""

    def __init__(self, pcm16: bytes, words: tuple[Word, ...] = ()) -> None:
        self.pcm16, self.words = memoryview(pcm16), words

    @property
    def frames(self) -> int:
        return frames_in(len(self.pcm16) // 2)

    def pieces(self) -> Iterator[Speech]:
        """The whole as a stream."""
        words = list(self.words)
        for first in range(0, len(self.pcm16), _AT_ONCE_BYTES):
            part = pcm16_to_float(self.pcm16[first : first + _AT_ONCE_BYTES])
            end_s = (first + _AT_ONCE_BYTES) / (2 * SAMPLE_RATE)
            known = bisect_left(words, end_s, key=lambda word: word.start_s or 0)
            yield Speech(part, tuple(words[:known]))
            del words[:known]

    def whole(self) -> Speech:
        """All of it at once."""
        return Speech(pcm16_to_float(self.pcm16), self.words)


Retrieve = Callable[[np.ndarray, Recording], tuple[np.ndarray, list[Inserted]]]


def spoken(text: str, voice: str) -> Recording:
    """A text spoken by espeak-ng."""
    from gestray.generators.voice import speak

    speech = speak(text, voice)
    pcm16 = np.rint(speech.samples * 32767).astype("<i2").tobytes()
    return Recording(pcm16, speech.words)


def recorded(audio: Path, textgrid: Path | None, transcript: Path | None) -> Recording:
    """A recording with its words, from a TextGrid (or JSON) or from what is said in it.

    Raises:
        UserError: a file is not there, or its words are not of this recording.
    """
    for path in filter(None, (audio, textgrid, transcript)):
        if not path.is_file():
            raise UserError(f"{path}: found no such file")
    pcm16 = read_audio(audio)
    seconds = len(pcm16) / (2 * SAMPLE_RATE)
    if frames_in(len(pcm16) // 2) < 1:
        found = f"{seconds:.3f} s"
        raise BadInput(str(audio), "duration", found, f"at least {end_of_frame(1) / 16:.0f} ms")
    if textgrid is not None:
        timed = words_within(read_words(textgrid), seconds, str(textgrid), str(audio))
    elif transcript is not None:
        with open(transcript, "rb") as file:
            text = decode_text(file.read(MAX_WORDS_BYTES), str(transcript))
        timed = time_transcript(text, pcm16, str(transcript))
    else:
        timed = Timed((), "no words are given: motion follows the rhythm of speech alone")
    if timed.remark:
        remarks.print(timed.remark, markup=False)
    return Recording(pcm16, timed.words)


def generate(
    artifact: Artifact,
    recording: Recording,
    out: Path,
    speaker: str | None,
    seed: int,
    temperature: float,
    retrieve: Retrieve | None = None,
) -> Generated:
    """Write the motion for a recording, in the format that the file's name asks for.

    Args:
        retrieve: puts recorded gestures under words; of poses and what is said gives poses and
            what was wanted.
    """
    from gestray.generators.model import CodeGenerator
    from gestray.generators.npz import write_npz

    model = CodeGenerator.from_folder(artifact.folder)
    if recording.frames > _QUICKENS_FROM_S * FRAMES_PER_S:
        model.quicken()
    frames, began, first_ms = recording.frames, time.monotonic(), 0.0

    def parts() -> Iterator[Gesturing]:
        nonlocal first_ms
        done = 0
        with progress("generate", frames) as track:
            for part in model.stream(recording.pieces(), speaker, seed, temperature):
                first_ms = first_ms or 1000 * (time.monotonic() - began)
                done += len(part)
                track(done)
                yield part

    inserted: list[Inserted] = []
    if out.suffix == ".npz" and retrieve is None:
        write_npz(out, parts(), frames)  # as it comes: an hour stays small
        took = time.monotonic() - began
    else:
        with tempfile.TemporaryDirectory() as work:
            made = Path(work) / "motion.npz"
            write_npz(made, parts(), frames)
            took = time.monotonic() - began
            inserted = _export(made, recording, out, retrieve)
    return Generated(
        out=str(out),
        generator=artifact.uri,
        speaker=speaker,
        seed=seed,
        frames=frames,
        seconds=frames / 30,
        words=len(recording.words),
        first_motion_ms=first_ms,
        real_time_factor=frames / 30 / took,
        gestures=inserted,
    )


def _export(
    made: Path, recording: Recording, out: Path, retrieve: Retrieve | None
) -> list[Inserted]:
    """The motion of an npz in the format of `out`, with its speech and retrieved gestures."""
    from gestray.motion.export import MotionClip, export_motion

    with np.load(made, allow_pickle=False) as arrays:
        poses, trans, expressions = (arrays[n] for n in ("poses", "trans", "expressions"))
    inserted: list[Inserted] = []
    if retrieve is not None:
        poses, inserted = retrieve(poses, recording)
    clip = MotionClip(poses, trans, expressions, audio=bytes(recording.pcm16))
    export_motion(clip, out)
    return inserted
