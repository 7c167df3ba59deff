"""How the sentences of a take sound: times of their words and phones, and with a
synthesizer the speech itself.

Without one the times are made up from the letters (`grammar.speak`) and there is no audio.
With espeak-ng they are the synthesizer's own, and gestures and beats follow them.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import TracebackType
from typing import IO, NamedTuple, Protocol, Self

import numpy as np
import soxr

from gestray.corpora.synthetic import espeak
from gestray.corpora.synthetic.grammar import Sentence, SpokenWord, speak
from gestray.corpora.synthetic.speakers import Speaker
from gestray.errors import UserError

SAMPLE_RATE = 16_000
"""Of the audio, Hz; that of BEAT2's wave16k."""

VOWEL_CLASSES = "AEIOU"
"""First letters of phones that open the mouth; a digit after them is their stress, as in the
Montreal Forced Aligner's ARPAbet: 1 primary, 2 secondary, 0 none."""

# espeak-ng's mnemonics of English vowels by their first letter.
_VOWEL_OF = {"@": "E", "3": "E", "V": "A", "0": "O"} | {c: c.upper() for c in "aeiouAEIOU"}
_STRESS_DIGIT = {"'": "1", ",": "2"}
_VOWEL_LETTERS = re.compile(r"[aeiouy]+")
# What espeak-ng is to be asked for, in its words a minute, for one word a second of ours: it
# counts the short words that texts are full of as less than one.
_WPM = 43
# Speech is this loud: peaks of the samples, of full scale.
_PEAK = 0.5


class Phone(NamedTuple):
    """A sound with its times in the take, seconds."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Speech:
    """A spoken sentence.

    Attributes:
        words: with their times.
        phones: in time order; with letters only, the vowel of each syllable.
        start_s: time of the first sample, seconds.
        samples: int16 at `SAMPLE_RATE`; empty without a synthesizer.
    """

    words: tuple[SpokenWord, ...]
    phones: tuple[Phone, ...]
    start_s: float
    samples: np.ndarray

    def later(self, seconds: float) -> Speech:
        """The same, `seconds` later (rounded to a sample, so that words and audio agree)."""
        shift = round(seconds * SAMPLE_RATE) / SAMPLE_RATE
        return replace(
            self,
            words=tuple(
                replace(w, start_s=round(w.start_s + shift, 4), end_s=round(w.end_s + shift, 4))
                for w in self.words
            ),
            phones=tuple(
                Phone(round(p.start_s + shift, 4), round(p.end_s + shift, 4), p.label)
                for p in self.phones
            ),
            start_s=self.start_s + shift,
        )


class Voice(Protocol):
    """Says sentences, from time 0 on."""

    def say(self, sentence: Sentence, words_per_s: float, rng: np.random.Generator) -> Speech:
        """`sentence` spoken at about `words_per_s`; `rng` is the source of what varies."""


class LettersVoice:
    """Times from the letters of the words; silent."""

    def say(self, sentence: Sentence, words_per_s: float, rng: np.random.Generator) -> Speech:
        words = tuple(speak(sentence, 0.0, words_per_s, rng))
        phones = tuple(phone for word in words for phone in _syllables(word))
        return Speech(words, phones, 0.0, np.zeros(0, dtype=np.int16))


def _syllables(word: SpokenWord) -> list[Phone]:
    """A phone for each group of vowel letters, spread evenly; the first takes the stress."""
    vowels = _VOWEL_LETTERS.findall(word.text) or ["e"]
    edges = np.linspace(word.start_s, word.end_s, len(vowels) + 1)
    labels = [vowel[0].upper().replace("Y", "I") for vowel in vowels]
    return [
        Phone(float(start), float(end), f"{label}{int(word.stressed and number == 0)}")
        for number, (start, end, label) in enumerate(
            zip(edges[:-1], edges[1:], labels, strict=True)
        )
    ]


class EspeakVoice:
    """espeak-ng in the voice of one speaker, for one take; use as a context.

    Raises:
        UserError: there is no espeak-ng, or it fails.
    """

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        library, data = find_espeak()
        self._process = subprocess.Popen(
            [sys.executable, "-I", espeak.__file__, library, *([data] if data else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()
        _pipe(self._process.stderr).close()

    def say(self, sentence: Sentence, words_per_s: float, rng: np.random.Generator) -> Speech:
        request = {
            "text": " ".join(sentence.words),
            "voice": self._speaker.voice,
            "pitch": self._speaker.pitch + int(rng.integers(-3, 4)),
            "wpm": round(_WPM * words_per_s),
        }
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps(request).encode() + b"\n")
            _pipe(self._process.stdin).flush()
        head = _pipe(self._process.stdout).readline()
        if not head:
            said = _pipe(self._process.stderr).read().decode("utf-8", "replace").strip()
            raise UserError(f"speech: {said or 'espeak-ng ended without a word'}")
        answer = json.loads(head)
        raw = np.frombuffer(_pipe(self._process.stdout).read(answer["bytes"]), dtype="<i2")
        return _as_speech(sentence, answer["words"], raw, answer["rate"])


def find_espeak() -> tuple[str, str | None]:
    """espeak-ng's library and data: of the package espeakng-loader, or else the system's.

    Raises:
        UserError: there is neither.
    """
    if find_spec("espeakng_loader") is not None:
        import espeakng_loader

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    library = find_library("espeak-ng")
    if library is None:
        raise UserError(
            "speech: found no espeak-ng; install it with `pip install 'gestray[speech]'` or from "
            "the system's packages (libespeak-ng1, espeak-ng-data), or leave --speech out"
        )
    return library, None


def mix(speeches: list[Speech], seconds: float) -> np.ndarray:
    """Samples of a whole take, int16, silent between the sentences."""
    samples = np.zeros(round(seconds * SAMPLE_RATE), dtype=np.int16)
    for speech in speeches:
        first = round(speech.start_s * SAMPLE_RATE)
        part = speech.samples[: len(samples) - first]
        samples[first : first + len(part)] = part
    return samples


def _as_speech(sentence: Sentence, words: list[dict], raw: np.ndarray, rate: int) -> Speech:
    spoken, phones = [], []
    for text, word in zip(sentence.words, words, strict=True):
        own = [Phone(start / rate, end / rate, _label(name)) for start, end, name in word["phones"]]
        stressed = any(phone.label.endswith("1") for phone in own)
        spoken.append(SpokenWord(text, word["start"] / rate, word["end"] / rate, stressed))
        phones += own
    samples = soxr.resample(raw.astype(np.float32), rate, SAMPLE_RATE)
    samples *= _PEAK * 32767 / max(float(np.abs(samples).max()), 1.0)
    return Speech(tuple(spoken), tuple(phones), 0.0, np.rint(samples).astype(np.int16))


def _label(mnemonic: str) -> str:
    """A phone's label: a vowel class with its stress, or the letters of a consonant."""
    digit = _STRESS_DIGIT.get(mnemonic[:1], "0")
    bare = mnemonic.lstrip("',")
    vowel = _VOWEL_OF.get(bare[:1])
    if vowel is not None:
        return vowel + digit
    return re.sub(r"[^A-Z]", "", bare.upper()) or "X"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
