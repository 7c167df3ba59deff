"""Words from JSON of recognizers, and what is said of JSON that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gestray.errors import BadInput
from gestray.speech.words import Word, parse_words, read_words

A = {"word": " So", "start": 0.5, "end": 0.9, "score": 0.98}
B = {"word": " it", "start": 0.9, "end": 1.25, "probability": 0.7}
WORDS = [Word("So", 0.5, 0.9), Word("it", 0.9, 1.25)]


def parse(content: Any) -> list[Word]:
    return parse_words(json.dumps(content).encode(), "x.json")


@pytest.mark.parametrize(
    "content",
    [
        [A, B],
        {"text": "So it", "words": [A, B], "segments": [{"text": "So it"}]},
        {"segments": [{"start": 0.5, "end": 0.9, "words": [A]}, {"words": []}, {"words": [B]}]},
        {"segments": [{"words": [A, B], "id": 0}], "word_segments": [A, B], "language": "en"},
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_shape(tmp_path: Path, content: Any, encoding: str) -> None:
    path = tmp_path / "x.json"
    path.write_text("\n " + json.dumps(content), encoding=encoding)
    assert read_words(path) == WORDS


def test_words_without_times_share_the_time_between_their_neighbours() -> None:
    content = [A, {"word": "1"}, {"word": "200"}, {"word": "it", "start": 1.3, "end": 1.5}]
    words = parse(content)
    assert [w.word for w in words] == ["So", "1", "200", "it"]
    assert [t for w in words[1:3] for t in (w.start_s, w.end_s)] == pytest.approx([0.9, 1, 1, 1.3])


def test_words_without_times_stay_within_their_segment() -> None:
    early = {"start": 0.2, "end": 0.9, "words": [{"word": "7"}, A]}
    late = {"start": 0.9, "end": 1.5, "words": [B, {"word": "8", "start": None, "end": None}]}
    words = parse({"segments": [early, late]})
    assert [(w.start_s, w.end_s) for w in words] == [
        (0.2, 0.5),
        (0.5, 0.9),
        (0.9, 1.25),
        (1.25, 1.5),
    ]
    bare = parse([{"word": "7"}, A, {"word": "8"}])
    assert [(w.start_s, w.end_s) for w in bare] == [(0.5, 0.5), (0.5, 0.9), (0.9, 0.9)]


def test_without_any_time_all_are_unknown() -> None:
    assert parse([{"word": "so"}, {"word": "it", "start": None}]) == [Word("so"), Word("it")]
    assert parse([]) == parse({"segments": []}) == []


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "JSON"),
        ("[NaN]", "JSON"),
        ("[" * 10_000, "JSON"),
        ('["\\ud800"]', "JSON"),
        ("{}", "JSON"),
        ({"segments": 3}, "segments"),
        ({"segments": [{"words": []}, {"text": "it"}]}, "segments[1].words"),
        ({"segments": [{"words": [A, {**B, "start": "0.9"}]}]}, "segments[0].words[1].start"),
        ({"words": [{"start": 0.1, "end": 0.2}]}, "words[0].word"),
        ([A, {**B, "word": None}], "[1].word"),
        ([A, {**B, "end": True}], "[1].end"),
        ([A, {**B, "end": None}], "[1]"),
        ([A, {**B, "end": 0.8}], "[1]"),
        ([{**A, "start": -0.1}], "[0]"),
        ([B, A], "[1]"),
        ([A, {**B, "start": 0.8}], "[1]"),
        ("[1e999]", "[0]"),
        ('[{"word": "a", "start": 0, "end": 1e999}]', "[0].end"),
        ("[" + "9" * 5000 + "]", "JSON"),
    ],
)
def test_damage_is_named(content: Any, field: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(BadInput) as error:
        parse_words(text.encode(), "words/x.json")
    assert (error.value.file, error.value.field) == ("words/x.json", field)
