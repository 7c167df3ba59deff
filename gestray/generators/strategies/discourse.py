"""By discourse relation, after RAG-Gesture (Mughal et al. 2025).

A connective ("because") and the relation that it signals (contingency.cause) are looked for in
recordings: gestures that go with the same relation do the same work in what is said. Of all
with that relation, those rank first that have the same connective, are of the same speaker, and
stress the connective as much.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from gestray.config import Config, read_yaml
from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.strategies.contract import CANDIDATES, Candidate
from gestray.generators.strategies.recorded import Recorded, around
from gestray.retrieval.words import words_of
from gestray.speech.prominence import prominence_of
from gestray.speech.words import Word

# The published points: of the same relation, connective and speaker, and of a connective that is
# as prominent (falling with the difference).
_RELATION, _CONNECTIVE, _SPEAKER, _PROMINENT = 2.0, 4.0, 3.0, 4.0
# A silence this long before a word begins a clause with it.
_PAUSE_S = 0.2
# Of a recording to either side of its connective.
_AROUND_S = 0.5
_NONE = "none"


@dataclass(frozen=True)
class Connective:
    """A connective in speech.

    Args:
        first, last: numbers of its words, `last` exclusive.
        text: in lower case.
        sense: the relation it signals.
    """

    first: int
    last: int
    text: str
    sense: str


class _Reading(Config):
    """When a connective has a sense; see `connectives.yaml`."""

    sense: str
    next: frozenset[str] = frozenset()
    not_next: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    not_before: frozenset[str] = frozenset()
    opens: bool = False

    def holds(self, before: str, after: str, opens: bool) -> bool:
        return (
            (not self.next or after in self.next)
            and after not in self.not_next
            and (not self.before or before in self.before)
            and before not in self.not_before
            and (opens or not self.opens)
        )


@functools.cache
def _lexicon() -> dict[tuple[str, ...], tuple[_Reading, ...]]:
    """Readings of each connective, by its words."""
    tree = read_yaml(resources.files(__package__) / "connectives.yaml")
    subject = tree["subject"].split()

    def reading(values: Any) -> _Reading:
        if isinstance(values, str):
            return _Reading(sense=values)
        lists = {
            name: [w for word in value for w in (subject if word == "subject" else [word])]
            for name, value in values.items()
            if isinstance(value, list)
        }
        return _Reading(**{**values, **lists})

    return {
        tuple(name.split()): tuple(
            reading(one) for one in (readings if isinstance(readings, list) else [readings])
        )
        for name, readings in tree["connectives"].items()
    }


def connectives_of(words: Sequence[Word]) -> list[Connective]:
    """The connectives of speech in English, in order.

    Args:
        words: with times, which tell pauses; without, only the first word opens a clause.
    """
    lexicon = _lexicon()
    longest = max(map(len, lexicon))
    spoken = [" ".join(words_of(word.word)) for word in words]
    found: list[Connective] = []
    at = 0
    while at < len(words):
        step = 1
        for count in range(min(longest, len(words) - at), 0, -1):
            key = tuple(spoken[at : at + count])
            before = spoken[at - 1] if at else ""
            after = spoken[at + count] if at + count < len(words) else ""
            opens = at == 0 or _pause(words[at - 1], words[at])
            held = next((r for r in lexicon.get(key, ()) if r.holds(before, after, opens)), None)
            if held is not None:
                step = count
                if held.sense != _NONE:
                    found.append(Connective(at, at + count, " ".join(key), held.sense))
                break
        at += step
    return found


def _pause(before: Word, after: Word) -> bool:
    if before.end_s is None or after.start_s is None:
        return False
    return after.start_s - before.end_s >= _PAUSE_S


@dataclass(frozen=True)
class _Spot:
    """A connective in a recorded phrase, number `row` of the index."""

    row: int
    said: Connective
    start_s: float
    end_s: float


class ByDiscourse:
    """See the module."""

    name = "discourse"

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded

    def candidates(self, speech: Speech, speaker: str | None) -> list[Candidate]:
        spots = self._spots
        asked = connectives_of(speech.words)
        stressed = prominence_of(speech.words, speech.samples) if len(speech.samples) else None
        found: list[Candidate] = []
        for one in asked:
            if one.sense in spots:
                stress = None if stressed is None else float(stressed[one.first : one.last].mean())
                text = around(speech.words, one.first, one.last)
                found += self._of(one, spots[one.sense], text, stress, speaker)
        return found

    def _of(
        self,
        one: Connective,
        spots: Sequence[_Spot],
        text: str,
        stress: float | None,
        speaker: str | None,
    ) -> list[Candidate]:
        recorded = self._recorded
        rows = np.array([spot.row for spot in spots])
        alike = np.array([spot.said.text == one.text for spot in spots])
        speakers = recorded["speaker"]
        same = np.array([speaker is not None and speakers[row] == speaker for row in rows])
        points = _RELATION + _CONNECTIVE * alike + _SPEAKER * same
        chosen, similar = recorded.shortlist(text, rows, points)
        differs = np.array([self._difference(spots[n], stress) for n in chosen])
        scores = points[chosen] + np.nan_to_num(_PROMINENT / (1 + 2 * differs))
        found = []
        for place in np.lexsort((-similar, -scores))[:CANDIDATES]:
            spot = spots[chosen[place]]
            why = [f'"{one.text}" ({one.sense})']
            why.append("the same connective" if spot.said.text == one.text else spot.said.text)
            why += ["the same speaker"] if same[chosen[place]] else []
            if not np.isnan(differs[place]):
                why.append(f"prominence {differs[place]:.1f} apart")
            why.append(f"text {similar[place]:.2f} alike")
            clip = recorded.clip(spot.row, spot.start_s - _AROUND_S, spot.end_s + _AROUND_S)
            found.append(Candidate(one.first, clip, float(scores[place]), ", ".join(why)))
        return found

    def _difference(self, spot: _Spot, stress: float | None) -> float:
        """How much more or less prominent a recorded connective is; NaN where nobody can tell."""
        if stress is None:
            return float("nan")
        there = self._recorded.prominence(self._recorded["take_id"][spot.row])
        if there is None:
            return float("nan")
        return abs(float(there[spot.said.first : spot.said.last].mean()) - stress)

    @functools.cached_property
    def _spots(self) -> dict[str, list[_Spot]]:
        """Connectives of all recorded phrases by their sense."""
        recorded = self._recorded
        found: dict[str, list[_Spot]] = {}
        timed = 0
        for take_id in recorded.by_take:
            words = recorded.words(take_id)
            timed += bool(words)
            for said in connectives_of(words):
                start_s, end_s = words[said.first].start_s, words[said.last - 1].end_s
                assert start_s is not None and end_s is not None
                row = recorded.phrase_at(take_id, start_s)
                if row is not None:
                    found.setdefault(said.sense, []).append(_Spot(row, said, start_s, end_s))
        if not timed:
            raise UserError(
                f"{recorded.uri}: found no take whose words have times, which say where a "
                "connective's gesture is; make them with `gestray speech align` and ingest "
                "again, or choose --strategy encoder"
            )
        if not found:
            raise UserError(
                f"{recorded.uri}: found no discourse connective (because, but, for example, …) in "
                f"{len(recorded)} recorded phrases; only those of English are known. Choose "
                "another --strategy"
            )
        return found
