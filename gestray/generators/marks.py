"""Gestures that the author of a text asks for: SSML marks before the word they belong to.

    I have <mark name="gesture:shrug"/> no idea.

What stands after ``gesture:`` is an intent of the taxonomy, the id of a recorded phrase, or
any description. Of SSML (W3C 2010, section 3.3.2) this is all that is understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gestray.errors import UserError, shorten
from gestray.generators.voice import words_of

_MARK = re.compile(r"""<mark\s+name=(["'])gesture:\s*(?P<asked>[^"'<>]+?)\s*\1\s*/>""")
_TAG = re.compile(r"<[^>]*>?")


@dataclass(frozen=True)
class Mark:
    """A gesture asked for.

    Args:
        word: number of the word, from 0, under which it begins.
        asked: what stands after ``gesture:``.
    """

    word: int
    asked: str


def read_marks(text: str) -> tuple[str, list[Mark]]:
    """The text without its marks, and the marks.

    Raises:
        UserError: another tag than a mark of a gesture, or a mark that no word follows.
    """
    plain, marks, at = "", [], 0
    for found in _MARK.finditer(text):
        plain += text[at : found.start()]
        at = found.end()
        marks.append(Mark(len(words_of(plain)), found["asked"]))
    plain += text[at:]
    if tag := _TAG.search(plain):
        raise UserError(
            f"text: found {shorten(tag[0])!r}, expected no other tag than "
            '<mark name="gesture:…"/>, with an intent, a phrase id or a description'
        )
    count = len(words_of(plain))
    for mark in marks:
        if mark.word >= count:
            raise UserError(
                f"text: no word follows the mark gesture:{shorten(mark.asked)}; put it before the "
                "word that the gesture belongs to"
            )
    return plain, marks
