"""Praat TextGrids, the file in which forced aligners write what was said when.

A lenient parser would read a truncated file as a shorter transcript and a
negative time as a positive one; here a file is read whole or refused, so that
no take is trained on half of its words. What is written here is read the same
by Praat and by praatio.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from gestray.errors import BadInput, shorten

#: Start and end in seconds, and the label.
Interval = tuple[float, float, str]


def parse_textgrid(text: str, file: str) -> list[tuple[str, list[Interval]]]:
    """Interval tiers of a TextGrid in file order, by name; point tiers are read over.

    The long and the short text format are read. Intervals are as the file has
    them, silences included; their times are finite and otherwise unchecked.

    Raises:
        BadInput: not a text TextGrid, cut short, or with more than it declares.
    """
    if text.startswith("ooBinaryFile"):
        raise BadInput(file, "file type", "a binary TextGrid", "one saved as text by Praat")
    tokens = _Tokens(text, file)
    file_type = tokens.text("file type").removesuffix(" short")
    if file_type != "ooTextFile":
        expected = "a TextGrid ('ooTextFile')"
        raise BadInput(file, "file type", shorten(repr(file_type)), expected)
    tokens.expect("TextGrid", "object class")
    tokens.number("xmin"), tokens.number("xmax")
    tiers: list[tuple[str, list[Interval]]] = []
    tier_count = tokens.count("number of tiers") if tokens.flag("tiers") == "exists" else 0
    for index in range(tier_count):
        kind = tokens.text(f"class of tier {index + 1}")
        name = tokens.text(f"name of tier {index + 1}")
        field = f"tier {shorten(name)}"
        tokens.number(f"{field}, xmin"), tokens.number(f"{field}, xmax")
        size = tokens.count(f"{field}, size")
        if kind == "IntervalTier":
            tiers.append((name, [_interval(tokens, field, i + 1) for i in range(size)]))
        elif kind == "TextTier":
            for i in range(size):
                tokens.number(f"{field}, point {i + 1}"), tokens.text(f"{field}, point {i + 1}")
        else:
            expected = "IntervalTier or TextTier"
            raise BadInput(file, f"class of {field}", shorten(repr(kind)), expected)
    tokens.expect_end()
    return tiers


def format_textgrid(tiers: Mapping[str, Sequence[Interval]], end_s: float) -> str:
    """A TextGrid in Praat's long text format, times to the tenth of a millisecond.

    Args:
        tiers: intervals of each tier by its name, in order and without overlap;
            what lies between them and up to `end_s` becomes silence.
        end_s: length of the recording in seconds; a tier that ends later extends it.
    """
    ends = [intervals[-1][1] for intervals in tiers.values() if intervals]
    end_s = max([end_s, *ends])
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_seconds(end_s)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        filled = list(_without_gaps(intervals, end_s))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(name)}",
            "        xmin = 0",
            f"        xmax = {_seconds(end_s)}",
            f"        intervals: size = {len(filled)}",
        ]
        for index, (start, end, label) in enumerate(filled, 1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {start}",
                f"            xmax = {end}",
                f"            text = {_quoted(label)}",
            ]
    return "\n".join(lines) + "\n"


def _without_gaps(intervals: Sequence[Interval], end_s: float) -> Iterator[tuple[str, str, str]]:
    """`intervals` with silences between; a gap that rounds to nothing is none."""
    now = _seconds(0.0)
    for start_s, interval_end_s, label in intervals:
        start, end = _seconds(start_s), _seconds(interval_end_s)
        if start != now:
            yield now, start, ""
        yield start, end, label
        now = end
    if now != _seconds(end_s):
        yield now, _seconds(end_s), ""


def _seconds(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


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
            raise BadInput(self.file, what, shorten(match.group()), f"a {kind}")
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
            found = f"{shorten(match.group())} after the last tier"
            raise BadInput(self.file, "tiers", found, "no more entries than the file declares")

    def expect(self, value: str, what: str) -> None:
        found = self.text(what)
        if found != value:
            raise BadInput(self.file, what, shorten(repr(found)), repr(value))


def _interval(tokens: _Tokens, tier: str, number: int) -> Interval:
    what = f"{tier}, interval {number}"
    return tokens.number(what), tokens.number(what), tokens.text(what)
