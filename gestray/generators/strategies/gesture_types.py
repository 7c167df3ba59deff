"""By gesture type, after RAG-Gesture (Mughal et al. 2025).

Words that stand out get a gesture of a type (deictic, iconic, metaphoric), and recorded
gestures of that type are ranked by how like their word is. Which type, the published code takes
from the annotations of the very recording that it moves for, or asks a language model. Here the
corpus answers: the type of those annotated words that mean most nearly the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.strategies.contract import CANDIDATES, Candidate
from gestray.generators.strategies.recorded import Recorded, around
from gestray.retrieval.words import words_of
from gestray.speech.prominence import prominence_of
from gestray.speech.words import Word

TYPES = ("deictic", "iconic", "metaphoric")
"""Of gestures that mean something (McNeill 1992); beats do not."""

# The published points: of the same type, speaker and word, and at most for a word that is alike.
_TYPE, _SPEAKER, _WORD, _ALIKE = 2.0, 2.0, 5.0, 3.0
# A word is prominent that stands out more than the mean does.
_PROMINENT_FROM = 0.0
# Annotated words that vote on a type, and how like the best of them must be.
_NEIGHBOURS, _LIKE_FROM = 5, 0.6
# Words of a keyword that begins with a prominent one.
_LONGEST = 3

_TYPE_IN_LABEL = re.compile("|".join(TYPES), re.IGNORECASE)


def type_of_label(label: str) -> str | None:
    """The gesture type of a corpus's label, such as BEAT2's ``05_iconic_l``; None: it has none."""
    found = _TYPE_IN_LABEL.search(label)
    return found[0].lower() if found else None


@dataclass(frozen=True)
class Guess:
    """A word that deserves a gesture of a type.

    Args:
        first, last: numbers of its words, `last` exclusive.
        type: of `TYPES`.
        why: what says so, for people.
    """

    first: int
    last: int
    type: str
    why: str


@dataclass(frozen=True)
class _Labelled:
    """An annotated gesture in a recorded phrase, number `row` of the index."""

    row: int
    type: str
    word: str
    start_s: float
    end_s: float


class ByGestureType:
    """See the module."""

    name = "type"

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def candidates(self, speech: Speech, speaker: str | None) -> list[Candidate]:
        found: list[Candidate] = []
        for guess in self.guesses(speech):
            found += self._of(guess, speech.words, speaker)
        return found

    def guesses(self, speech: Speech) -> list[Guess]:
        """Which words deserve a gesture, and of which type: by annotated words that are alike.

        Of words that overlap, those count that are most alike.
        """
        words = speech.words
        starts = np.arange(len(words))
        if len(speech.samples):
            starts = np.flatnonzero(prominence_of(words, speech.samples) > _PROMINENT_FROM)
        spans = [
            (int(first), int(first) + count)
            for first in starts
            for count in range(1, _LONGEST + 1)
            if first + count <= len(words)
        ]
        if not spans:
            return []
        known, types = self._known
        vectors = self._recorded.embed([_spoken(words[a:b]) for a, b in spans])
        similar = vectors @ self._vectors.T
        nearest = np.argsort(-similar, axis=1)[:, :_NEIGHBOURS]
        likeness = np.take_along_axis(similar, nearest[:, :1], axis=1)[:, 0]
        found: list[Guess] = []
        for number in np.argsort(-likeness, kind="stable"):
            first, last = spans[number]
            apart = all(last <= one.first or one.last <= first for one in found)
            if likeness[number] < _LIKE_FROM or not apart:
                continue
            near = nearest[number]
            votes = {t: float(similar[number, near[types[near] == t]].sum()) for t in TYPES}
            chosen = max(TYPES, key=votes.__getitem__)
            like = near[types[near] == chosen][0]
            why = (
                f'"{_spoken(words[first:last])}" is like "{known[like]}" '
                f"({similar[number, like]:.2f})"
            )
            found.append(Guess(first, last, chosen, why))
        return sorted(found, key=lambda guess: guess.first)

    def _of(self, guess: Guess, words: Sequence[Word], speaker: str | None) -> list[Candidate]:
        recorded = self._recorded
        labelled = [one for one in self._labelled if one.type == guess.type]
        if not labelled:
            return []
        asked = _spoken(words[guess.first : guess.last])
        rows = np.array([one.row for one in labelled])
        alike = self._alike(asked, labelled)
        same_word = np.array([one.word == asked for one in labelled])
        speakers = recorded["speaker"]
        same = np.array([speaker is not None and speakers[row] == speaker for row in rows])
        points = _TYPE + _SPEAKER * same + np.where(same_word, _WORD, _ALIKE * alike)
        text = around(words, guess.first, guess.last)
        chosen, similar = recorded.shortlist(text, rows, points)
        found = []
        for place in np.lexsort((-similar, -points[chosen]))[:CANDIDATES]:
            one = labelled[chosen[place]]
            why = [guess.type, guess.why]
            why.append("the same word" if one.word == asked else f'of "{one.word}"')
            why += ["the same speaker"] if same[chosen[place]] else []
            why.append(f"text {similar[place]:.2f} alike")
            clip = recorded.clip(one.row, one.start_s, one.end_s)
            score = float(points[chosen[place]])
            found.append(Candidate(guess.first, clip, score, ", ".join(why)))
        return found

    def _alike(self, asked: str, labelled: Sequence[_Labelled]) -> np.ndarray:
        """How like the word of each gesture is (N,), in [0, 1]."""
        place = {word: number for number, word in enumerate(self._known[0])}
        similar = self._vectors @ self._recorded.embed([asked])[0]
        return np.array([similar[place[one.word]] for one in labelled]).clip(0, 1)

    @cached_property
    def _labelled(self) -> list[_Labelled]:
        """Annotated gestures that have a type and a word."""
        recorded = self._recorded
        found, labels = [], set()
        for take_id in recorded.by_take:
            for label in recorded.semantics(take_id):
                labels.add(label["label"])
                kind = type_of_label(label["label"])
                middle = (label["start_s"] + label["end_s"]) / 2
                row = recorded.phrase_at(take_id, middle)
                word = " ".join(words_of(label["keywords"] or ""))
                if kind is not None and row is not None and word:
                    found.append(_Labelled(row, kind, word, label["start_s"], label["end_s"]))
        if not found:
            has = ", ".join(sorted(labels)[:5]) or "no labels at all"
            raise UserError(
                f"{recorded.uri}: found no gesture annotated as {', '.join(TYPES)} with its "
                f"keywords in the takes of {len(recorded)} phrases ({has}); expected BEAT2's "
                "sem/*.txt beside the recordings when they are ingested, or choose another "
                "--strategy"
            )
        return found

    @cached_property
    def _known(self) -> tuple[list[str], np.ndarray]:
        """Annotated words, each once, and the commonest type of each."""
        counts: dict[str, dict[str, int]] = {}
        for one in self._labelled:
            of_word = counts.setdefault(one.word, dict.fromkeys(TYPES, 0))
            of_word[one.type] += 1
        words = sorted(counts)
        return words, np.array([max(TYPES, key=counts[word].__getitem__) for word in words])

    @cached_property
    def _vectors(self) -> np.ndarray:
        return self._recorded.embed(self._known[0])


def _spoken(words: Sequence[Word]) -> str:
    return " ".join(part for word in words for part in words_of(word.word))
