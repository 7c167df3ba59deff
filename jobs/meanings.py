"""What the gestures of phrases mean, and under which words: what evaluation asks for.

Taken from where it is surest: a corpus's gold; else the anchors, which methods may have
learnt from; else BEAT2's labels, which tell deictic, iconic and metaphoric gestures apart
and no more. Figures say which it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from gestray.artifacts import Artifact
from gestray.views.catalog import read_catalog, read_columns
from jobs.rows import read_rows

BEAT = "beat"
_NO_GESTURE = "nogesture"
_LABEL = re.compile(r"\d\d_(deictic|iconic|metaphoric)(_[lmh])?|01_(beat)_align|00_(nogesture)")


class Gesture(NamedTuple):
    """A gesture in seconds of its take: its stroke, and what it means (`BEAT`: nothing)."""

    start_s: float
    end_s: float
    meaning: str


class Target(NamedTuple):
    """A word that carries a gesture: its number in the phrase, and of what kind it is."""

    word: int
    is_beat: bool
    stressed: bool | None


@dataclass(frozen=True)
class Meanings:
    """Of Q phrases.

    Attributes:
        source: "gold", "anchors", "labels", or "" where nothing is known.
        terms: what gestures can mean here; beats are not among them.
        carries: (Q, terms) bool.
        gestures: of each phrase, where their times are known.
    """

    source: str
    terms: list[str]
    carries: np.ndarray
    gestures: list[list[Gesture]]

    def of(self, phrase: int) -> str:
        """All that a phrase's gestures mean, "" if nothing."""
        return ", ".join(np.array(self.terms)[self.carries[phrase]].tolist())


def read_meanings(rows: pa.Table, takes: Artifact, anchors: Artifact | None) -> Meanings:
    """What the gestures of phrases mean; a gesture is the phrase's in which its middle lies.

    Args:
        rows: with `phrase_id`, `take_id`, `start_s`, `end_s`.
        takes: the recordings they are of.
        anchors: of these phrases, if there are any.
    """
    columns = _labelled(rows, takes)
    gestures = [[] for _ in range(len(rows))]  # type: list[list[Gesture]]
    source = ""
    for name, read in (("gold", _of_gold), ("labels", _of_label)):
        for number, row in enumerate(rows.select(["take_id", "start_s", "end_s"]).to_pylist()):
            for record in columns[row["take_id"]][name]:
                gesture = read(record)
                if gesture is None:
                    continue
                middle = (gesture.start_s + gesture.end_s) / 2
                if row["start_s"] <= middle < row["end_s"]:
                    gestures[number].append(gesture)
        if any(gestures):
            source = name
            break
    meant = [{g.meaning for g in found} - {BEAT} for found in gestures]
    if anchors is not None and source != "gold":
        found = _of_anchors(rows, anchors)
        if any(found):
            source, meant = "anchors", found
    terms = sorted(set().union(*meant))
    carries = np.array([[term in one for term in terms] for one in meant], bool)
    return Meanings(source, terms, carries.reshape(len(rows), len(terms)), gestures)


def targets_of(words: Sequence[Mapping[str, Any]], gestures: Sequence[Gesture]) -> list[Target]:
    """The word under each gesture: that which lasts longest in its stroke.

    A word under two gestures counts once, as the one that is no beat. Words without times
    are under none.
    """
    found: dict[int, Target] = {}
    for gesture in sorted(gestures, key=lambda gesture: gesture.meaning == BEAT):
        together = [
            min(word["end_s"], gesture.end_s) - max(word["start_s"], gesture.start_s)
            if word["start_s"] is not None
            else -np.inf
            for word in words
        ]
        if together and max(together) > 0:
            word = int(np.argmax(together))
            is_beat = gesture.meaning == BEAT
            found.setdefault(word, Target(word, is_beat, words[word].get("stressed")))
    return [found[word] for word in sorted(found)]


def _labelled(rows: pa.Table, takes: Artifact) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Take → the records of its gestures, by where they come from."""
    wanted = set(rows["take_id"].to_pylist())
    found = {}
    for ref in read_catalog(takes.folder):
        if ref.take_id in wanted:
            take = read_columns(takes.folder, ref, ["gold", "semantics"])
            found[ref.take_id] = {
                "gold": take["gold"][0].as_py() or [],
                "labels": take["semantics"][0].as_py() or [],
            }
    return found


def _of_gold(record: Mapping[str, Any]) -> Gesture | None:
    if record["intent"] is None:
        return None
    return Gesture(record["start_s"], record["end_s"], record["intent"])


def _of_label(record: Mapping[str, Any]) -> Gesture | None:
    """A gesture of BEAT2's labels; None for those that say there is none, or say otherwise."""
    match = _LABEL.fullmatch(record["label"])
    if match is None or match.group(4) == _NO_GESTURE:
        return None
    return Gesture(record["start_s"], record["end_s"], match.group(1) or BEAT)


def _of_anchors(rows: pa.Table, anchors: Artifact) -> list[set[str]]:
    columns = read_rows(anchors.folder, ["phrase_id", "intent"]).to_pylist()
    intents = {row["phrase_id"]: row["intent"] for row in columns}
    found = []
    for phrase_id in rows["phrase_id"].to_pylist():
        intent = intents.get(phrase_id)
        found.append({json.loads(intent)["label"]} - {BEAT} if intent else set())
    return found
