"""Words and times in JSON, as speech recognizers write them.

Three shapes are read, of which only these keys matter:

    {"segments": [{"start": 0, "end": 2, "words": [WORD, ...]}, ...]}   Whisper, WhisperX
    {"words": [WORD, ...]}                                              hosted recognizers
    [WORD, ...]                                                         a plain list

with WORD = {"word": "hello", "start": 0.2, "end": 0.5}, times in seconds. A
word may lack both times (WhisperX leaves out those of words that it has no
sounds for) but not one of them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from gestray.errors import BadInput, shorten
from gestray.speech.spans import Span

_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Word(BaseModel):
    model_config = ConfigDict(strict=True)

    word: str
    start: _Seconds | None = None
    end: _Seconds | None = None


class _Segment(BaseModel):
    model_config = ConfigDict(strict=True)

    words: list[_Word]
    start: _Seconds | None = None
    end: _Seconds | None = None


class _Segments(BaseModel):
    segments: list[_Segment]


_WORDS = TypeAdapter(list[_Word])


class _Words(BaseModel):
    words: list[_Word]


def parse_word_json(text: str, file: str) -> list[Span]:
    """Words in the order of the file.

    Raises:
        BadInput: not JSON, none of the shapes, or a value of the wrong type; the
            JSON path is named, such as ``segments[2].words[0].start``.
    """
    try:
        content = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(file, "JSON", str(error), "well-formed JSON") from None
    try:
        if isinstance(content, list):
            return _spans("", _WORDS.validate_python(content), file)
        if "words" in content:
            return _spans("words", _Words.model_validate(content).words, file)
        if "segments" in content:
            segments = _Segments.model_validate(content).segments
            return [
                span
                for number, segment in enumerate(segments)
                for span in _spans(
                    f"segments[{number}].words", segment.words, file, segment.start, segment.end
                )
            ]
    except ValidationError as error:
        raise _bad_value(error, file) from None
    keys = ", ".join(repr(shorten(key)) for key in list(content)[:8]) or "no keys"
    raise BadInput(file, "JSON", keys, "'segments', 'words', or a list of words")


def _spans(
    path: str,
    words: list[_Word],
    file: str,
    earliest_s: float | None = None,
    latest_s: float | None = None,
) -> list[Span]:
    for number, word in enumerate(words):
        if (word.start is None) != (word.end is None):
            found = "no end" if word.end is None else "no start"
            expected = "both start and end, or neither"
            raise BadInput(
                file, f"{path}[{number}]", f"{shorten(repr(word.word))} with {found}", expected
            )
    return [
        Span(f"{path}[{number}]", word.word, word.start, word.end, earliest_s, latest_s)
        for number, word in enumerate(words)
    ]


def _bad_value(error: ValidationError, file: str) -> BadInput:
    """The first problem, with its path as one would write it in code."""
    first: Any = error.errors(include_url=False)[0]
    path = "".join(
        f"[{key}]" if isinstance(key, int) else f".{key}" for key in first["loc"]
    ).removeprefix(".")
    if first["type"] == "missing":
        expected = "the words of the segment; ask the recognizer for word timestamps"
        return BadInput(
            file, path, "none", expected if path.endswith("words") else "the word's text"
        )
    return BadInput(file, path, shorten(repr(first["input"])), first["msg"])
