"""How written English words are spoken, as far as an aligner needs to know.

A transcript has numbers, symbols and words that no dictionary has. For finding
where a word lies, a rough pronunciation is as good as a fine one, for the
words around it hold it in place.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "@": "at", "=": "equals"}
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_PART = re.compile(
    r"(?P<currency>[$£€])?(?P<number>\d[\d,]*(?:\.\d+)?)(?P<ordinal>st|nd|rd|th)?"
    r"|(?P<word>[a-z]+(?:'[a-z]+)*'?)"
    r"|(?P<symbol>[&%+@=])"
)
# Digits that long are an identifier, and read one by one.
_LONGEST_NUMBER = 9
_YEARS = range(1100, 2100)

# Usual sounds of English letters in the phones of CMUdict, longest spelling first.
_SOUNDS = {
    **{"tch": "CH", "igh": "AY", "tion": "SH AH N", "sh": "SH", "ch": "CH", "th": "TH", "ph": "F"},
    **{"ck": "K", "ng": "NG", "qu": "K W", "wh": "W", "ee": "IY", "ea": "IY", "oo": "UW"},
    **{"ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY", "ai": "EY", "ay": "EY", "au": "AO"},
    **{"aw": "AO", "er": "ER", "ur": "ER", "ir": "ER", "a": "AE", "b": "B", "c": "K", "d": "D"},
    **{"e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L"},
    **{"m": "M", "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T"},
    **{"u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z"},
}
_SPELLING = re.compile("|".join(sorted(_SOUNDS, key=len, reverse=True)))


def spoken_tokens(word: str) -> list[str]:
    """Dictionary words by which a written word is spoken; none where it is not English.

    ``"$5"`` is ``five dollars``, ``"2019,"`` is ``twenty nineteen``, ``"Well-known"`` is two
    words, and accents are left out.
    """
    plain = unicodedata.normalize("NFKD", word.replace("’", "'")).lower()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    tokens: list[str] = []
    for match in _PART.finditer(plain):
        if match["word"]:
            tokens.append(match["word"])
        elif match["symbol"]:
            tokens.append(_SYMBOLS[match["symbol"]])
        else:
            tokens += _spoken_number(match["number"], bool(match["ordinal"]))
            if match["currency"]:
                tokens.append(_CURRENCIES[match["currency"]])
    return tokens


def approximate_phones(token: str, lookup: Callable[[str], str | None]) -> str:
    """Phones of a word that the dictionary lacks, by its letters.

    Args:
        token: lower-case letters and apostrophes, as from `spoken_tokens`.
        lookup: phones of a word, separated by spaces, or None.
    """
    if token.endswith("'s") and (phones := lookup(token[:-2])):
        return f"{phones} Z"
    # A doubled consonant sounds once, and an "e" at the end not at all.
    letters = re.sub(r"([^aeou])\1", r"\1", token.replace("'", ""))
    letters = letters[:-1] if len(letters) > 3 and letters.endswith("e") else letters
    return " ".join(_SOUNDS[spelling] for spelling in _SPELLING.findall(letters))


def _spoken_number(number: str, ordinal: bool) -> list[str]:
    from num2words import num2words

    digits = number.replace(",", "")
    if len(digits) > _LONGEST_NUMBER:
        spoken = " ".join(num2words(int(digit)) for digit in digits if digit.isdigit())
    elif "." in digits:
        spoken = num2words(float(digits))
    elif ordinal:
        spoken = num2words(int(digits), to="ordinal")
    else:
        is_year = len(number) == 4 and int(digits) in _YEARS
        spoken = num2words(int(digits), to="year" if is_year else "cardinal")
    return re.findall(r"[a-z]+", spoken)
