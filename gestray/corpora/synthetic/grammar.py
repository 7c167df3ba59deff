"""Sentences from patterns, and the times at which their words are spoken."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from gestray.corpora.synthetic.lexicon import SLOTS, Patterns

MAX_WORD_GAP_S = 0.1
"""Longest silence between two words of an utterance, seconds."""

_CHOICE = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
# Slots that can be what a sentence is about, the more telling ones first.
_TOPIC_SLOTS = tuple(
    """
    doing measure thing song object big area tall event foods things ingredient material
    team people place news person
    """.split()  # noqa: SIM905
)
# Of these, the ones whose words stand behind an article.
_BARE_NOUNS = frozenset(
    "thing song object big area tall foods things ingredient material".split()  # noqa: SIM905
)
# Set before and after a keyword while a pattern is expanded.
_OPEN, _CLOSE = "<", ">"

# Articles, pronouns, prepositions, auxiliaries and conjunctions: unstressed in connected
# speech. Particles (up, down, out) and "not" are not among them.
_FUNCTION_WORDS = frozenset(
    """
    a an the this that these those some any such each
    i you he she it we they me him her us them my your his its our their
    who what which whose
    at by for from in into near of on onto to toward under with without about
    after before behind between through until since
    am is are was were be been being do does did has have had
    can could may might must shall should will would let
    and but or nor so if as than then when while where because like
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Sentence:
    """Words of an utterance, without times.

    Attributes:
        words: in lower case, without punctuation.
        keyword: index of the first word of the keyword and one past its last, or None.
        topic: what the sentence is about, such as ``the garden``.
    """

    words: tuple[str, ...]
    keyword: tuple[int, int] | None
    topic: str


@dataclass(frozen=True)
class SpokenWord:
    """A word with its times in the take, seconds."""

    text: str
    start_s: float
    end_s: float
    stressed: bool


def make_sentence(patterns: tuple[str, ...], rng: np.random.Generator) -> Sentence:
    """A sentence from one of `patterns` (see `gestray.corpora.synthetic.lexicon`)."""
    filled: dict[str, list[str]] = {}

    def choose(match: re.Match[str]) -> str:
        plain, keyword = match.groups()
        chosen = _pick((keyword if plain is None else plain).split("|"), rng)
        return chosen if keyword is None else f"{_OPEN} {chosen} {_CLOSE}"

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        unused = [phrase for phrase in SLOTS[slot] if phrase not in filled.get(slot, [])]
        filled.setdefault(slot, []).append(_pick(unused, rng))
        return filled[slot][-1]

    text = _SLOT.sub(fill, _CHOICE.sub(choose, _pick(patterns, rng)))
    tokens = text.split()
    keyword = None
    if _OPEN in tokens:
        first, last = tokens.index(_OPEN), tokens.index(_CLOSE)
        keyword = (first, last - 1)
        tokens = tokens[:first] + tokens[first + 1 : last] + tokens[last + 1 :]
    return Sentence(tuple(tokens), keyword, _topic(filled))


def patterns_of(patterns: Patterns, unseen: bool) -> tuple[str, ...]:
    """The patterns for training takes, or those that only other takes use."""
    return patterns.unseen if unseen else patterns.train


def stressed_words(sentence: Sentence) -> list[bool]:
    """Whether each word carries stress: content words, and one or more words of the keyword."""
    stressed = [word not in _FUNCTION_WORDS for word in sentence.words]
    if sentence.keyword is not None:
        first, last = sentence.keyword
        if not any(stressed[first:last]):
            stressed[first:last] = [True] * (last - first)
    return stressed


def speak(
    sentence: Sentence, start_s: float, words_per_s: float, rng: np.random.Generator
) -> list[SpokenWord]:
    """Gives the words times from `start_s` on, at `words_per_s` on average.

    Long and stressed words take longer; now and then there is a gap of at most
    `MAX_WORD_GAP_S` between two words.
    """
    stressed = stressed_words(sentence)
    letters = np.array([len(word) for word in sentence.words], dtype=np.float64)
    weight = (2.5 + letters) * np.where(stressed, 1.15, 0.9) * rng.uniform(0.85, 1.15, len(letters))
    seconds = weight / weight.sum() * len(letters) / words_per_s
    # A gap is taken out of its word's share, so that the rate stays as asked.
    gaps = np.where(rng.random(len(letters)) < 0.25, rng.uniform(0.02, MAX_WORD_GAP_S), 0.0)
    gaps = np.minimum(gaps, 0.4 * seconds)
    starts = start_s + np.cumsum(seconds) - seconds
    return [
        SpokenWord(word, round(float(start), 3), round(float(start + length), 3), stress)
        for word, start, length, stress in zip(
            sentence.words, starts, seconds - gaps, stressed, strict=True
        )
    ]


def _pick(options: list[str] | tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _topic(filled: dict[str, list[str]]) -> str:
    for slot in _TOPIC_SLOTS:
        if slot in filled:
            noun = filled[slot][0]
            return f"the {noun}" if slot in _BARE_NOUNS else noun
    return "it"
