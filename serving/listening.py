"""From what a request brings to speech with words in time: text spoken, recordings decoded.

Nothing is decoded beyond what is moved for: a body is bounded at the gate, a recording by what
it says of its length and, since that may be a lie, again while it is decoded.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from io import BytesIO
from typing import NamedTuple

import numpy as np

from gestray.corpora.synthetic.voice import find_espeak
from gestray.errors import BadInput, UserError
from gestray.generators.contract import Speech
from gestray.generators.voice import speak
from gestray.speech.audio import SAMPLE_RATE, decode_audio, pcm16_to_float
from gestray.speech.features import end_of_frame, frames_in
from gestray.speech.transcript import Timed, time_transcript, words_within
from gestray.speech.words import parse_words
from serving.problems import Problem

_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class Heard(NamedTuple):
    """Speech, and what was done about its words, if anything."""

    speech: Speech
    remark: str | None


@cache
def has_voice() -> bool:
    """Whether this machine can speak a text."""
    try:
        find_espeak()
    except UserError:
        return False
    return True


def check_voice() -> None:
    """Refuse texts where nothing can speak them.

    Raises:
        Problem: there is no synthesizer.
    """
    if not has_voice():
        raise Problem(
            HTTPStatus.NOT_IMPLEMENTED,
            "this server has no voice to speak a text with (its operator: pip install "
            "'gestray[speech]'); send a recording instead",
        )


def speech_of_text(text: str, longest_s: float) -> Heard:
    """A text spoken by espeak-ng.

    Raises:
        Problem: it has nothing to say, is too long, or there is no synthesizer.
    """
    check_voice()
    try:
        if "<mark" in text:
            raise UserError("text: found <mark …>, which only `gestray generate` understands")
        speech = speak(text)
    except UserError as error:
        raise Problem(_UNPROCESSABLE, str(error)) from None
    seconds = len(speech.samples) / SAMPLE_RATE
    if seconds > longest_s:
        raise Problem(
            _UNPROCESSABLE, f"text: spoken it takes {seconds:.0f} s, at most {longest_s:g} s"
        )
    return Heard(rounded(speech)[0], None)


def rounded(speech: Speech) -> tuple[Speech, bytes]:
    """A speech as whoever plays it hears it: as PCM16, and those bytes."""
    pcm16 = np.clip(np.rint(speech.samples * 32768), -32768, 32767).astype("<i2").tobytes()
    return Speech(pcm16_to_float(pcm16), speech.words), pcm16


def speech_of_recording(
    audio: bytes, words: bytes | None, transcript: str | None, longest_s: float
) -> Heard:
    """A recording with its words, from a TextGrid or JSON, from what is said in it, or without.

    Raises:
        Problem: it is no recording, too long or too short, or the words are not of it.
    """
    try:
        pcm16 = decode_audio(BytesIO(audio), "audio", longest_s)
        if not frames_in(len(pcm16) // 2):
            found = f"{len(pcm16) / 2 / SAMPLE_RATE:.3f} s"
            raise BadInput("audio", "duration", found, f"at least {end_of_frame(1) / 16:.0f} ms")
        if words is not None:
            seconds = len(pcm16) / 2 / SAMPLE_RATE
            found_words = words_within(parse_words(words, "words"), seconds, "words", "audio")
        elif transcript:
            found_words = time_transcript(transcript, pcm16, "transcript")
        else:
            remark = "no words are given: motion follows the rhythm of speech alone"
            found_words = Timed((), remark)
    except UserError as error:
        raise Problem(_UNPROCESSABLE, str(error)) from None
    return Heard(Speech(pcm16_to_float(pcm16), found_words.words), found_words.remark)
