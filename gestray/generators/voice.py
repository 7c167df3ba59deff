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
    sentences = [words for part in _SENTENCES.split(text) if (words := _words(part))]
    if not sentences:
        raise UserError(
            f"text {text[:40]!r}: found no word in Latin letters, expected something to say"
        )
    library, data = find_espeak()
    requests = [
        {"text": " ".join(words), "voice": voice, "pitch": 50, "wpm": words_per_minute}
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
    return _joined(sentences, done.stdout)


def words_of(text: str) -> list[str]:
    """The words of a text as `speak` says them, one after the other."""
    return [word for part in _SENTENCES.split(text) for word in _words(part)]


def _words(text: str) -> list[str]:
    """What of a sentence espeak-ng is given: words of ASCII letters and digits."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = (re.sub(r"[^A-Za-z0-9']+", "", word) for word in re.split(r"[\s\-]+", plain))
    return [word for word in words if any(map(str.isalnum, word))]


def _joined(sentences: list[list[str]], answers: bytes) -> Speech:
    parts, words = [np.zeros(round(_AROUND_S * SAMPLE_RATE), np.float32)], []
    at = 0
    for number, names in enumerate(sentences):
        end = answers.index(b"\n", at)
        head = json.loads(answers[at:end])
        raw = np.frombuffer(answers, "<i2", head["bytes"] // 2, end + 1).astype(np.float32)
        at = end + 1 + head["bytes"]
        before_s = sum(map(len, parts)) / SAMPLE_RATE
        for name, spoken in zip(names, head["words"], strict=True):
            times = (before_s + spoken[edge] / head["rate"] for edge in ("start", "end"))
            words.append(Word(name, *(round(time, 4) for time in times)))
        samples = soxr.resample(raw, head["rate"], SAMPLE_RATE)
        parts.append(samples * (_PEAK / max(float(np.abs(samples).max()), 1.0)))
        last = number + 1 == len(sentences)
        pause_s = _AROUND_S if last else _PAUSE_S
        parts.append(np.zeros(round(pause_s * SAMPLE_RATE), np.float32))
    return Speech(np.concatenate(parts).astype(np.float32), tuple(words))
