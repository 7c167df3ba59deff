"""Written words become spoken ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gestray.speech.pronunciation import approximate_phones, spoken_tokens

pytest.importorskip("num2words", reason="needs the extra `align`")

# The phones of CMUdict, without stress.
_VOWELS = "AA|AE|AH|AO|AW|AY|EH|ER|EY|IH|IY|OW|OY|UH|UW"
_CONSONANTS = "B|CH|D|DH|F|G|HH|JH|K|L|M|N|NG|P|R|S|SH|T|TH|V|W|Y|Z|ZH"
PHONES = re.compile(f"({_VOWELS}|{_CONSONANTS})( ({_VOWELS}|{_CONSONANTS}))*")


@pytest.mark.parametrize(
    ("word", "spoken"),
    [
        ("Hello,", "hello"),
        ("I’ll", "i'll"),
        ("'cause", "cause"),
        ("Well-known", "well known"),
        ("café", "cafe"),
        ("5", "five"),
        ("2019.", "twenty nineteen"),
        ("1,250", "one thousand two hundred and fifty"),
        ("3.5", "three point five"),
        ("21st", "twenty first"),
        ("$20", "twenty dollars"),
        ("50%", "fifty percent"),
        ("B2B", "b two b"),
        ("00441234567890", "zero zero four four one two three four five six seven eight nine zero"),
        ("¿你好?", ""),
        ("—", ""),
    ],
)
def test_what_is_said(word: str, spoken: str) -> None:
    assert " ".join(spoken_tokens(word)) == spoken


def test_unknown_words_are_sounded_out() -> None:
    known = {"anime": "AE N AH M EY"}.get
    assert approximate_phones("anime's", known) == "AE N AH M EY Z"
    assert approximate_phones("shipping", known) == "SH IH P IH NG"
    assert approximate_phones("zote", known) == "Z OW T"


@given(st.text(max_size=12))
def test_every_token_has_phones(word: str) -> None:
    for token in spoken_tokens(word):
        assert PHONES.fullmatch(approximate_phones(token, lambda _: None))
