"""TextGrids are read whole, or refused with the place that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid
from praatio.utilities.constants import Interval

from gestray.errors import BadInput
from gestray.speech.words import MAX_WORDS_BYTES, Word, parse_words, read_words

INTERVALS = [(0.0, 0.5, ""), (0.5, 0.9, "so"), (0.9, 1.4, 'the "big"'), (1.4, 2.0, "sp")]
WORDS = [Word("so", 0.5, 0.9), Word('the "big"', 0.9, 1.4)]


def long_textgrid(intervals: list, *, tier: str = "words", size: int | None = None) -> str:
    rows = "".join(
        f"        intervals [{i}]:\n            xmin = {a} \n            xmax = {b} \n"
        '            text = "{}" \n'.format(str(text).replace('"', '""'))
        for i, (a, b, text) in enumerate(intervals, 1)
    )
    return (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 9 \n'
        'tiers? <exists> \nsize = 1 \nitem []: \n    item [1]:\n        class = "IntervalTier" \n'
        f'        name = "{tier}" \n        xmin = 0 \n        xmax = 9 \n'
        f"        intervals: size = {len(intervals) if size is None else size} \n{rows}"
    )


def short_textgrid(intervals: list) -> str:
    rows = "".join('{}\n{}\n"{}"\n'.format(a, b, t.replace('"', '""')) for a, b, t in intervals)
    return (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n9\n<exists>\n1\n'
        f'"IntervalTier"\n"words"\n0\n9\n{len(intervals)}\n{rows}'
    )


@pytest.mark.parametrize("text", [long_textgrid(INTERVALS), short_textgrid(INTERVALS)])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "crlf"])
def test_both_formats_in_every_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "take.TextGrid"
    if encoding == "crlf":
        path.write_bytes(text.replace("\n", "\r\n").encode())
    else:
        path.write_bytes(text.encode(encoding))
    assert read_words(path) == WORDS


@pytest.mark.parametrize("label", ["", "  ", "sp", "SIL", "<eps>"])
def test_silences_are_dropped(label: str) -> None:
    assert parse_words(long_textgrid([(0, 1, label)]).encode(), "f") == []


def test_other_tiers_are_read_over() -> None:
    text = (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n0 9 <exists> 3\n'
        '"TextTier" "marks" 0 9 1  0.5 "click"\n'
        '"IntervalTier" "phonemes" 0 9 1  0 9 "AH0"\n'
        '"IntervalTier" "words" 0 9 1  0 9 "a"\n'
    )
    assert parse_words(text.encode(), "f") == [Word("a", 0, 9)]


@pytest.mark.parametrize(
    ("phones", "stressed"),
    [
        (["DH", "AH0", "T", "AY1", "ER2"], [False, True]),
        (["DH", "AH", "T", "AY", "ER"], [None, None]),  # no digits: stress is unknown
        (["", "AH1", "", "AY2", "ER0"], [True, False]),
    ],
)
def test_phones_with_digits_tell_which_words_are_stressed(phones, stressed) -> None:
    # Boundaries of phones may be rounded across those of words.
    bounds = [(0, 0.2), (0.2, 0.501), (0.499, 0.7), (0.7, 0.8), (0.8, 1)]
    tiers = {
        "phones": [(a, b, label) for (a, b), label in zip(bounds, phones, strict=True)],
        "words": [(0, 0.5, "the"), (0.5, 1, "tire")],
    }
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0 1 <exists> 2\n'
    for name, intervals in tiers.items():
        text += f'"IntervalTier" "{name}" 0 1 {len(intervals)}\n'
        text += "".join(f'{start} {end} "{label}"\n' for start, end, label in intervals)
    assert [word.stressed for word in parse_words(text.encode(), "f")] == stressed


def test_accepts_scientific_notation_and_rounding_overlap() -> None:
    words = parse_words(long_textgrid([("1e-05", 0.5, "a"), (0.4999, 1, "b")]).encode(), "f")
    assert words == [Word("a", 1e-05, 0.5), Word("b", 0.4999, 1.0)]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "file type"),
        (b"\xff\x00garbage\x81", "text encoding"),
        (long_textgrid(INTERVALS).encode("utf-8") + b"\xe9", "text encoding"),
        (b'"ooTextFile" "Pitch" 0 1', "object class"),
        (long_textgrid(INTERVALS, tier="phones").encode(), "tiers"),
        (long_textgrid(INTERVALS, size=5).encode(), "tier words, interval 5"),
        (long_textgrid(INTERVALS, size=3).encode(), "tiers"),
        (long_textgrid(INTERVALS, size=-1).encode(), "tier words, size"),
        (long_textgrid(INTERVALS)[:-60].encode(), "tier words, interval 4"),
        (short_textgrid(INTERVALS)[:-6].encode(), "tier words, interval 4"),
        (long_textgrid([(0, 1, "a"), ("later", 2, "b")]).encode(), "tier words, interval 2"),
        (long_textgrid([(0, 1, "a"), ("1e999", 2, "b")]).encode(), "tier words, interval 2"),
        (long_textgrid([(-0.5, 1, "a")]).encode(), "tier words, interval 1"),
        (long_textgrid([(0, 1, "a"), (0.5, 2, "b")]).encode(), "tier words, interval 2"),
        (long_textgrid([(1, 2, "a"), (0, 1, "b")]).encode(), "tier words, interval 2"),
        (long_textgrid([(2, 1, "a")]).encode(), "tier words, interval 1"),
        (long_textgrid([(1, 1, "a")]).encode(), "tier words, interval 1"),
        (b" " * (MAX_WORDS_BYTES + 1), "size"),
    ],
)
def test_damage_is_named(data: bytes, field: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_words(data, "textgrid/x.TextGrid")
    assert (error.value.file, error.value.field) == ("textgrid/x.TextGrid", field)


def test_every_truncation_is_refused() -> None:
    data = long_textgrid(INTERVALS).rstrip().encode()
    for end in range(len(data)):
        with pytest.raises(BadInput):
            parse_words(data[:end], "f")


LABELS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8
).map(str.strip)


@given(st.lists(st.tuples(st.integers(1, 500), LABELS), min_size=1, max_size=12), st.booleans())
def test_agrees_with_praatio(tmp_path_factory, steps: list, short: bool) -> None:
    """What another implementation writes is read back the same."""
    intervals, now = [], 0.0
    for length, label in steps:
        start, now = now, round(now + length / 100, 2)
        intervals.append(Interval(start, now, label))
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("words", intervals, 0, now))
    path = tmp_path_factory.mktemp("grid") / "x.TextGrid"
    grid.save(str(path), "short_textgrid" if short else "long_textgrid", includeBlankSpaces=True)
    silent = {"", "sp", "sil", "<eps>"}
    expected = [
        Word(text.strip(), start, end)
        for start, end, text in intervals
        if text.strip().lower() not in silent
    ]
    assert read_words(path) == expected
