"""The parts of a take as files hold them, for every reader: speech, words, arrays of numbers.

A part that is missing is None. One that is damaged, or that cannot belong to the rest of
its take, is refused.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.folder import CorpusFolder
from gestray.corpora.take import FPS
from gestray.errors import BadInput
from gestray.speech.audio import SAMPLE_RATE, decode_audio
from gestray.speech.words import MAX_WORDS_BYTES, Word, decode_text, parse_words

#: Larger label, transcript, emotion, gold and split files are refused.
MAX_TEXT_BYTES = 64 * 2**20

#: Alignments may run past the end of the speech by this much, in seconds.
WORDS_OVERRUN_S = 1.0

#: Audio shorter than this fraction of the motion does not belong to it.
SHORTEST_AUDIO = 0.9


def read_text(corpus: CorpusFolder, file: str) -> str | None:
    """The text of a file.

    Raises:
        BadInput: it is too large, or no text.
    """
    data = corpus.read(file, MAX_TEXT_BYTES)
    return None if data is None else decode_text(data, file)


def read_audio(corpus: CorpusFolder, file: str) -> bytes | None:
    """Samples of an audio file, PCM16 mono 16 kHz.

    Raises:
        BadInput: see `decode_audio`.
    """
    stream = corpus.open(file)
    if stream is None:
        return None
    with stream:
        return decode_audio(stream, file)


def audio_s(audio: bytes | None) -> float:
    """Length of PCM16 mono 16 kHz in seconds."""
    return len(audio or b"") / (2 * SAMPLE_RATE)


def check_audio(file: str, audio: bytes, motion_s: float) -> None:
    """Refuse audio that is too short for its motion.

    Raises:
        BadInput: names `file`.
    """
    if audio_s(audio) < SHORTEST_AUDIO * motion_s:
        expected = f"at least {SHORTEST_AUDIO:.0%} of the motion's {motion_s:.2f} s"
        raise BadInput(file, "duration", f"{audio_s(audio):.2f} s", expected)


def read_words(corpus: CorpusFolder, file: str, recorded_s: float) -> list[Word] | None:
    """Words of a TextGrid or JSON file.

    Args:
        recorded_s: length of the recording in seconds, 0 where there is none.

    Raises:
        BadInput: see `parse_words`; or a word ends long after the recording.
    """
    data = corpus.read(file, MAX_WORDS_BYTES)
    if data is None:
        return None
    words = parse_words(data, file)
    end = max((word.end_s or 0.0 for word in words), default=0.0)
    if recorded_s and end > recorded_s + WORDS_OVERRUN_S:
        expected = f"at most {WORDS_OVERRUN_S:g} s after the recording's {recorded_s:.2f} s"
        raise BadInput(file, "tier words", f"a word that ends at {end:.2f} s", expected)
    return words


def as_float32(file: str, name: str, values: np.ndarray) -> np.ndarray:
    """An array's numbers as float32, in C order.

    Raises:
        BadInput: it holds something else.
    """
    if values.dtype.kind not in "fiu":
        raise BadInput(file, name, f"values of type {values.dtype}", "real numbers")
    # What does not fit float32 becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def frame_rate(file: str, name: str, values: np.ndarray) -> float:
    """Frames a second as an array states them.

    Raises:
        BadInput: not one number from 1 to 1000.
    """
    fps = float(values.reshape(-1)[0]) if values.size == 1 and values.dtype.kind in "fiu" else None
    if fps is None or not 1 <= fps <= 1000:
        found = f"{values.dtype} {values.shape}" if fps is None else f"{fps:g}"
        raise BadInput(file, name, found, "one number from 1 to 1000")
    return fps


def as_text(values: np.ndarray | None) -> str | None:
    """The text of an array of one string, None for anything else."""
    if values is None or values.dtype.kind not in "US" or values.size != 1:
        return None
    text = values.reshape(-1)[0]
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def motion_s(num_frames: int | None) -> float:
    """Length of motion of a take in seconds."""
    return (num_frames or 0) / FPS
