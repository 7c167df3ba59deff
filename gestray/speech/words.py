"""Words and their times, from whatever an aligner or a recognizer writes.

`parse_words` reads Praat TextGrids (forced aligners: the Montreal Forced
Aligner and its kin, and `gestray speech align`) and JSON (Whisper, WhisperX
and plain lists). A file is read whole or refused with the place that is
wrong. A transcript without times is words as well (`words_of_text`).
"""

from __future__ import annotations

import codecs
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gestray.errors import BadInput, shorten
from gestray.speech.spans import Span, check_order, fill_times
from gestray.speech.textgrid import Interval, format_textgrid, parse_textgrid
from gestray.speech.word_json import parse_word_json

#: Larger files are refused: a minute of speech takes about 0.1 MB.
MAX_WORDS_BYTES = 32 * 2**20

#: Labels (in lower case) by which aligners mark silence.
SILENCE = frozenset({"", "sp", "sil", "<eps>"})


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; times (seconds) and stress are None when unknown.

    `stressed` is whether one of its vowels carries primary stress.
    """

    word: str
    start_s: float | None = None
    end_s: float | None = None
    stressed: bool | None = None


def read_words(path: str | Path) -> list[Word]:
    """Words of the file at `path`.

    Raises:
        BadInput: see `parse_words`.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        return parse_words(file.read(MAX_WORDS_BYTES + 1), str(path))


def parse_words(data: bytes, file: str) -> list[Word]:
    """Words of a TextGrid or a JSON file in order, silences left out.

    The content tells the format: JSON begins with a bracket or a brace. Of a
    TextGrid (long or short) the tier ``words`` is read; for JSON see
    `word_json`. Text is UTF-8 or, with a byte order mark, UTF-16.

    Where a tier ``phones`` marks stress by digits, as English aligners do (ARPAbet's 0, 1
    and 2), it says which words are stressed.

    JSON words without times, such as numbers in WhisperX, share the time
    between their neighbours by their letters; where no word has times, all
    times are None.

    Args:
        data: the whole file.
        file: its name, for errors.

    Raises:
        BadInput: the file is damaged, cut short or larger than
            `MAX_WORDS_BYTES`; it has no tier ``words``, or two; or a word
            starts before zero, ends before it starts, or overlaps the next.
    """
    if len(data) > MAX_WORDS_BYTES:
        raise BadInput(
            file, "size", f"more than {MAX_WORDS_BYTES} bytes", "the words of one recording"
        )
    text = decode_text(data, file)
    if text.lstrip()[:1] in ("[", "{"):
        spans, phones = parse_word_json(text, file), None
    else:
        tiers = parse_textgrid(text, file)
        spans, phones = _words_tier(tiers, file), _tier(tiers, "phones")
    check_order(spans, file)
    words = [Word(span.word.strip(), span.start_s, span.end_s) for span in fill_times(spans)]
    words = [word for word in words if not _is_silence(word.word)]
    return words if phones is None else _with_stress(words, phones)


def words_of_text(text: str) -> list[Word]:
    """Words of a transcript, without times; a dash or a dot by itself is no word."""
    return [Word(word) for word in text.split() if any(map(str.isalnum, word))]


def format_words(words: Sequence[Word], end_s: float) -> str:
    """Timed words as a TextGrid with the tier ``words``, which `parse_words` reads back.

    Args:
        words: in order, all with times, each longer than a millisecond.
        end_s: length of the recording in seconds.
    """
    intervals: list[Interval] = []
    for word in words:
        assert word.start_s is not None and word.end_s is not None
        intervals.append((word.start_s, word.end_s, word.word))
    return format_textgrid({"words": intervals}, end_s)


def decode_text(data: bytes, file: str) -> str:
    """Text of `data`: UTF-8 with or without byte order mark, or UTF-16 with one.

    Raises:
        BadInput: other bytes.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {data[error.start]:#04x} at {error.start}"
        expected = "UTF-8, or UTF-16 with a byte order mark"
        raise BadInput(file, "text encoding", found, expected) from None


_Tiers = list[tuple[str, list[Interval]]]


def _tier(tiers: _Tiers, name: str) -> list[Interval] | None:
    """The one tier of a name; None where there is none, or more than one."""
    found = [intervals for tier, intervals in tiers if tier.strip().lower() == name]
    return found[0] if len(found) == 1 else None


def _words_tier(tiers: _Tiers, file: str) -> list[Span]:
    """Intervals of the tier ``words``, silences included."""
    words = _tier(tiers, "words")
    if words is None:
        names = ", ".join(repr(name) for name, _ in tiers) or "no tier"
        raise BadInput(file, "tiers", names, "exactly one interval tier named 'words'")
    for number, (start, end, label) in enumerate(words, 1):
        if start == end and not _is_silence(label):
            found = f"{shorten(repr(label))} from {start:g} s to {end:g} s"
            raise BadInput(file, f"tier words, interval {number}", found, "an end after the start")
    return [
        Span(f"tier words, interval {number}", label, start, end)
        for number, (start, end, label) in enumerate(words, 1)
    ]


def _with_stress(words: Sequence[Word], phones: Sequence[Interval]) -> list[Word]:
    """Words with their stress, where the phones say it at all."""
    if not any(label.strip()[-1:] in ("0", "1", "2") for *_, label in phones):
        return list(words)
    # By their middles, so that rounded boundaries do not hand a phone to the next word.
    stressed = sorted((a + b) / 2 for a, b, label in phones if label.strip().endswith("1"))
    return [
        replace(word, stressed=bisect(stressed, word.start_s) < bisect(stressed, word.end_s))
        if word.start_s is not None and word.end_s is not None
        else word
        for word in words
    ]


def _is_silence(label: str) -> bool:
    return label.strip().lower() in SILENCE
