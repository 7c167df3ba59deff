"""Words and their times, read from Praat TextGrid files.

Forced aligners (the Montreal Forced Aligner and its kin) write the words of a
recording as the tier ``words`` of a TextGrid. A lenient parser would read a
truncated file as a shorter transcript and a negative time as a positive one;
here a file is read whole or refused, so that no take is trained on half of
its words.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gestray.errors import BadInput

#: Larger TextGrids are refused: a minute of speech takes about 0.1 MB.
MAX_TEXTGRID_BYTES = 32 * 2**20

#: Labels (in lower case) by which aligners mark silence.
SILENCE = frozenset({"", "sp", "sil", "<eps>"})

#: Aligners round boundaries; words may overlap by this much, in seconds.
OVERLAP_TOLERANCE_S = 1e-3


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; times (seconds) and stress are None when unknown."""

    word: str
    start_s: float | None = None
    end_s: float | None = None
    stressed: bool | None = None


def read_textgrid(path: str | Path) -> list[Word]:
    """Words of the tier ``words`` of the TextGrid at `path`, silences left out.

    Raises:
        BadInput: see `parse_textgrid`.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        return parse_textgrid(file.read(MAX_TEXTGRID_BYTES + 1), str(path))


def parse_textgrid(data: bytes, file: str) -> list[Word]:
    """Words of the tier ``words`` of a TextGrid, silences left out.

    The long and the short text format are read, in UTF-8 or, with a byte
    order mark, UTF-16.

    Args:
        data: the whole file.
        file: its name, for errors.

    Raises:
        BadInput: the file is damaged, cut short or larger than
            `MAX_TEXTGRID_BYTES`; it has no tier ``words``, or two; or a word
            starts before zero, ends before it starts, or overlaps the next.
    """
    if len(data) > MAX_TEXTGRID_BYTES:
        raise BadInput(
            file, "size", f"more than {MAX_TEXTGRID_BYTES} bytes", "a TextGrid of one recording"
        )
    tokens = _Tokens(decode_text(data, file), file)
    tiers = _read_tiers(tokens)
    words = [intervals for name, intervals in tiers if name.strip().lower() == "words"]
    if len(words) != 1:
        names = ", ".join(repr(name) for name, _ in tiers) or "no tier"
        raise BadInput(file, "tiers", names, "exactly one interval tier named 'words'")
    return _check_words(words[0], file)


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


_Interval = tuple[float, float, str]

# In a Praat text file only free-standing numbers, quoted strings (with quotes
# doubled inside) and <flags> carry meaning; everything else, such as
# "intervals [1]:" or "xmin =", is comment. The short format merely omits it.
# https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*+)"'
    r"|(?<!\S)(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)"
    r"|(?<!\S)<(?P<flag>\w+)>(?!\S)"
    r"|(?<!\S)![^\n]*"
)


class _Tokens:
    """The meaningful tokens of a Praat text file, taken one by one."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._stream: Iterator[re.Match[str]] = (
            match for match in _TOKEN.finditer(text) if match.lastgroup is not None
        )

    def _take(self, kind: str, what: str) -> str:
        match = next(self._stream, None)
        if match is None:
            raise BadInput(self.file, what, "the end of the file", f"a {kind}")
        if match.lastgroup != kind:
            raise BadInput(self.file, what, _shorten(match.group()), f"a {kind}")
        return match[kind]

    def text(self, what: str) -> str:
        return self._take("text", what).replace('""', '"')

    def number(self, what: str) -> float:
        value = float(self._take("number", what))
        if not math.isfinite(value):
            raise BadInput(self.file, what, str(value), "a finite number")
        return value

    def count(self, what: str) -> int:
        value = self.number(what)
        if value < 0 or value != int(value):
            raise BadInput(self.file, what, str(value), "a count")
        return int(value)

    def flag(self, what: str) -> str:
        return self._take("flag", what)

    def expect_end(self) -> None:
        match = next(self._stream, None)
        if match is not None:
            found = f"{_shorten(match.group())} after the last tier"
            raise BadInput(self.file, "tiers", found, "no more entries than the file declares")

    def expect(self, value: str, what: str) -> None:
        found = self.text(what)
        if found != value:
            raise BadInput(self.file, what, _shorten(repr(found)), repr(value))


def _read_tiers(tokens: _Tokens) -> list[tuple[str, list[_Interval]]]:
    """Interval tiers of the file by name; point tiers are read over."""
    file_type = tokens.text("file type").removesuffix(" short")
    if file_type != "ooTextFile":
        raise BadInput(
            tokens.file, "file type", _shorten(repr(file_type)), "a TextGrid ('ooTextFile')"
        )
    tokens.expect("TextGrid", "object class")
    tokens.number("xmin"), tokens.number("xmax")
    tiers: list[tuple[str, list[_Interval]]] = []
    tier_count = tokens.count("number of tiers") if tokens.flag("tiers") == "exists" else 0
    for index in range(tier_count):
        kind = tokens.text(f"class of tier {index + 1}")
        name = tokens.text(f"name of tier {index + 1}")
        field = f"tier {_shorten(name)}"
        tokens.number(f"{field}, xmin"), tokens.number(f"{field}, xmax")
        size = tokens.count(f"{field}, size")
        if kind == "IntervalTier":
            tiers.append((name, [_read_interval(tokens, field, i + 1) for i in range(size)]))
        elif kind == "TextTier":
            for i in range(size):
                tokens.number(f"{field}, point {i + 1}"), tokens.text(f"{field}, point {i + 1}")
        else:
            expected = "IntervalTier or TextTier"
            raise BadInput(tokens.file, f"class of {field}", _shorten(repr(kind)), expected)
    tokens.expect_end()
    return tiers


def _read_interval(tokens: _Tokens, tier: str, number: int) -> _Interval:
    what = f"{tier}, interval {number}"
    return tokens.number(what), tokens.number(what), tokens.text(what)


def _check_words(intervals: list[_Interval], file: str) -> list[Word]:
    """The words among `intervals`, which must lie in order and not overlap."""

    def refuse(number: int, expected: str) -> BadInput:
        start, end, text = intervals[number - 1]
        found = f"{_shorten(repr(text))} from {start:g} s to {end:g} s"
        return BadInput(file, f"tier words, interval {number}", found, expected)

    for number, (start, end, text) in enumerate(intervals, 1):
        if start < 0:
            raise refuse(number, "a start at or after 0 s")
        if end < start or (end == start and not _is_silence(text)):
            raise refuse(number, "an end after the start")
    for number, (before, after) in enumerate(pairwise(intervals), 2):
        if after[0] < before[1] - OVERLAP_TOLERANCE_S:
            raise refuse(number, f"a start after the interval before it, which ends {before[1]:g}")
    return [
        Word(text.strip(), start, end) for start, end, text in intervals if not _is_silence(text)
    ]


def _is_silence(text: str) -> bool:
    return text.strip().lower() in SILENCE


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
