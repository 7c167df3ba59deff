"""What gestray writes as TextGrid, others read the same; damage is never a crash."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid

from gestray.errors import BadInput
from gestray.speech.textgrid import format_textgrid, parse_textgrid
from gestray.speech.words import Word, format_words, parse_words

LABELS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1
)
STEPS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300), LABELS), max_size=8)


def timed(steps: list) -> list[tuple[float, float, str]]:
    intervals, now = [], 0
    for gap, length, label in steps:
        intervals.append(((now + gap) / 100, (now + gap + length) / 100, label))
        now += gap + length
    return intervals


@settings(max_examples=40)
@given(STEPS, STEPS)
def test_praatio_reads_what_is_written(tmp_path_factory, words: list, phones: list) -> None:
    tiers = {"words": timed(words), "phones": timed(phones)}
    path = tmp_path_factory.mktemp("grid") / "x.TextGrid"
    path.write_text(format_textgrid(tiers, 30.0), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    for name, intervals in tiers.items():
        found = [(entry.start, entry.end, entry.label) for entry in grid.getTier(name).entries]
        assert found == intervals
    read = dict(parse_textgrid(path.read_text("utf-8"), "f"))
    assert {name: [i for i in tier if i[2]] for name, tier in read.items()} == tiers


def test_words_come_back() -> None:
    words = [Word("so", 0.5, 0.91), Word('"big"', 0.91, 1.4), Word("ça", 2.0, 2.5)]
    assert parse_words(format_words(words, 3.0).encode(), "f") == words


REAL = format_words([Word("so", 0.5, 0.9), Word("it", 0.9, 1.4), Word("grows", 2, 2.5)], 3.0)
JSON = '{"segments": [{"start": 0, "words": [{"word": "so", "start": 0.1, "end": 0.2}]}]}'


@given(
    st.sampled_from([REAL, JSON, REAL.encode("utf-16").decode("latin-1")]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.binary(max_size=8)), max_size=5),
)
def test_mutated_files_are_words_or_bad_input(text: str, changes: list) -> None:
    data = bytearray(text.encode("latin-1"))
    for place, gone, new in changes:
        at = int(place * len(data))
        data[at : at + gone] = new
    with contextlib.suppress(BadInput):
        for word in parse_words(bytes(data), "f"):
            assert word.start_s is None or 0 <= word.start_s <= word.end_s


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_are_words_or_bad_input(data: bytes) -> None:
    with contextlib.suppress(BadInput):
        parse_words(data, "f")
        parse_words(b"[" + data, "f")
