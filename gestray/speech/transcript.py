"""Words of a recording, from what somebody wrote down of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gestray.errors import BadInput, UserError, shorten
from gestray.speech.alignment import align
from gestray.speech.audio import pcm16_to_float
from gestray.speech.words import Word, words_of_text

#: Words may be said to begin so much after the recording's end, seconds; they are left out.
BEYOND_S = 1.0


class Timed(NamedTuple):
    """Words with times, in order; `remark` says what was done about them, if anything."""

    words: tuple[Word, ...]
    remark: str | None


def time_transcript(text: str, pcm16: bytes, file: str) -> Timed:
    """Words of a transcript with their times: aligned, or laid out where nothing can align.

    Args:
        text: what is said.
        pcm16: the recording, mono, 16 kHz.
        file: name of the transcript, for errors.

    Raises:
        BadInput: the transcript has no words, or is not that of this recording.
    """
    from gestray.speech.spread import spread_words

    words = words_of_text(text)
    if not words:
        raise BadInput(file, "transcript", "no words", "what is said in the recording")
    try:
        return Timed(tuple(align(pcm16, text, file).words), None)
    except BadInput:
        raise
    except UserError as error:
        remark = f"words are laid out by their letters over what is spoken: {error}"
        return Timed(tuple(spread_words(words, pcm16_to_float(pcm16))), remark)


def words_within(words: Sequence[Word], seconds: float, file: str, audio: str) -> Timed:
    """Those of timed words that begin within the recording.

    Args:
        words: in order.
        seconds: length of the recording.
        file, audio: names of both, for errors.

    Raises:
        BadInput: a word has no times.
        UserError: the words are of a longer recording.
    """
    for word in words:
        if word.start_s is None:
            raise BadInput(file, "words", f"{shorten(word.word)!r} without times", "times of words")
        if word.start_s > seconds + BEYOND_S:
            raise UserError(
                f"{file}: the word {shorten(word.word)!r} begins at {word.start_s:.2f} s, but "
                f"{audio} ends at {seconds:.2f} s; give the words of this recording"
            )
    heard = tuple(word for word in words if (word.start_s or 0) < seconds)
    beyond = len(words) - len(heard)
    return Timed(
        heard, f"{beyond} words begin after the recording's end, left out" if beyond else None
    )
