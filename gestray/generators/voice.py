"""Text spoken, for those who have words and no recording: espeak-ng, as for synthetic corpora.

espeak-ng reads sentence by sentence and tells when each word is spoken, so that nothing needs
to be aligned. Its speech is plain; a better voice's recording and transcript serve as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata

import numpy as np
import soxr

from gestray.corpora.synthetic import espeak
from gestray.corpora.synthetic.voice import find_espeak
from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word

_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\n+")
_PAUSE_S = 0.35
# Silence around the whole, so that a gesture can begin before its word and end after.
_AROUND_S = 0.5
# Peaks of the samples, of full scale; as loud as speech of synthetic corpora.
_PEAK = 0.5


def speak(text: str, voice: str = "en-us", words_per_minute: int = 160) -> Speech:
    """The text spoken, with the times of its words.

    Args:
        text: in Latin letters; accents are left out.
        voice: of espeak-ng, such as en-us or en-gb+f3.
        words_per_minute: pace.

    Raises:
        UserError: the text has no word, or there is no espeak-ng.
    """
    speaking = Speaking(voice, words_per_minute)
    said, silence = speaking.say(text), speaking.end()
    return Speech(np.concatenate([said.samples, silence.samples]), said.words)


class Speaking:
    """A text spoken as it comes, sentence by sentence; said in one piece, it is what `speak` gives.

    Attributes:
        said: samples spoken so far.
    """

    def __init__(self, voice: str = "en-us", words_per_minute: int = 160) -> None:
        self.voice, self.words_per_minute, self.said = voice, words_per_minute, 0

    def say(self, text: str) -> Speech:
        """What comes next, spoken, with a pause after it; times are from the whole's beginning.

        Raises:
            UserError: as of `speak`.
        """
        sentences = [words for part in _SENTENCES.split(text) if (words := _words(part))]
        if not sentences:
            raise UserError(
                f"text {text[:40]!r}: found no word in Latin letters, expected something to say"
            )
        library, data = find_espeak()
        requests = [
            {"text": " ".join(words), "voice": self.voice, "pitch": 50}
            | {"wpm": self.words_per_minute}
            for words in sentences
        ]
        done = subprocess.run(
            [sys.executable, "-I", espeak.__file__, library, *([data] if data else [])],
            input="".join(json.dumps(request) + "\n" for request in requests).encode(),
            capture_output=True,
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise UserError(f"text: {said or 'espeak-ng ended without a word'}")
        speech = _joined(sentences, done.stdout, self.said)
        self.said += len(speech.samples)
        return speech

    def end(self) -> Speech:
        """The silence after the last word."""
        silence = _silence(_AROUND_S - _PAUSE_S)
        self.said += len(silence)
        return Speech(silence)


def words_of(text: str) -> list[str]:
    """The words of a text as `speak` says them, one after the other."""
    return [word for part in _SENTENCES.split(text) for word in _words(part)]


def _words(text: str) -> list[str]:
    """What of a sentence espeak-ng is given: words of ASCII letters and digits."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = (re.sub(r"[^A-Za-z0-9']+", "", word) for word in re.split(r"[\s\-]+", plain))
    return [word for word in words if any(map(str.isalnum, word))]


def _joined(sentences: list[list[str]], answers: bytes, said: int) -> Speech:
    """Sentences one after the other, after `said` samples of others."""
    parts, words = [_silence(0 if said else _AROUND_S)], []
    at = 0
    for names in sentences:
        end = answers.index(b"\n", at)
        head = json.loads(answers[at:end])
        raw = np.frombuffer(answers, "<i2", head["bytes"] // 2, end + 1).astype(np.float32)
        at = end + 1 + head["bytes"]
        before_s = (said + sum(map(len, parts))) / SAMPLE_RATE
        for name, spoken in zip(names, head["words"], strict=True):
            times = (before_s + spoken[edge] / head["rate"] for edge in ("start", "end"))
            words.append(Word(name, *(round(time, 4) for time in times)))
        samples = soxr.resample(raw, head["rate"], SAMPLE_RATE)
        parts.append(samples * (_PEAK / max(float(np.abs(samples).max()), 1.0)))
        parts.append(_silence(_PAUSE_S))
    return Speech(np.concatenate(parts).astype(np.float32), tuple(words))


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)
