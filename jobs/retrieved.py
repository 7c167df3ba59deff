"""Recorded gestures for words: which words deserve one, which gesture, and putting it there.

What RAG-Gesture (Mughal et al. 2025) does inside a diffusion model is done here to the motion of
any generator: an encoder finds recorded gestures that say what is said, and their strokes go
under the words (`gestray.generators.strokes`). Every gesture that was wanted is listed, with
what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gestray.anchors.taxonomy import load_taxonomy
from gestray.artifacts import Artifact
from gestray.corpora.take import FPS, motion_from_column
from gestray.errors import UserError
from gestray.generators.marks import Mark
from gestray.generators.strokes import Stroke, hand_speeds, put_strokes
from gestray.retrieval.filters import Filter
from gestray.retrieval.index import Hit
from gestray.speech.words import Word
from gestray.views.catalog import read_catalog, read_columns
from jobs.index import before_embeddings, load_index

# Words to either side that say what a word means here.
_CONTEXT = 2
# Gestures take a second or two; more than one in so many would leave no rest between them.
_APART_S = 2.5
# Hits a word, of which the first that shows a gesture is taken.
_HITS = 5
# Motion around a phrase that is cut with it.
_MARGIN_S = 0.6
_SPEED_TAKES = 16
_FASTEST = 0.99  # quantile of the speeds of recorded hands


@dataclass(frozen=True)
class Inserted:
    """A gesture that was wanted for a word.

    Attributes:
        word, start_s: the word, and when it is said.
        clip: id of the recorded phrase; None where none shows a gesture.
        score: how near the phrase's gesture is to what is said (cosine).
        asked: what the author asked for; None where the word was chosen.
        outcome: ``placed``, ``no room``, ``too fast`` or ``no gesture``.
    """

    word: str
    start_s: float
    clip: str | None
    score: float
    asked: str | None
    outcome: str


class RecordedGestures:
    """The gestures of an index, found by words."""

    def __init__(self, index: Artifact) -> None:
        from gestray.encoders.model import DualEncoder

        embeddings = before_embeddings(index)
        self.uri = index.uri
        self._encoder = DualEncoder.from_folder(embeddings.input("encoder").folder)
        self._index = load_index(index)
        self._takes = embeddings.input("takes").folder
        self._refs = {ref.take_id: ref for ref in read_catalog(self._takes) if ref.num_frames}

    def put_into(
        self, poses: np.ndarray, words: Sequence[Word], marks: Sequence[Mark], choose: bool
    ) -> tuple[np.ndarray, list[Inserted]]:
        """A motion with gestures under words.

        Args:
            poses: axis-angle (T, 165).
            words: what is said, with times.
            marks: gestures that are asked for; they have the right of way.
            choose: find words that deserve a gesture, besides.

        Returns:
            Poses (T, 165) and what was wanted, in the order of the words.
        """
        wanted: list[tuple[Word, Hit | None, Stroke | None, str | None]] = []
        for mark in marks:
            hits = self._asked(mark.asked, _around(words, mark.word))
            wanted.append((words[mark.word], *self._first(hits), mark.asked))
        if choose:
            busy = [word.start_s or 0.0 for word, *_ in wanted]
            wanted += [(*found, None) for found in self._chosen(words, busy)]
        strokes = [(w.start_s or 0.0, s) for w, _, s, _ in wanted if s is not None]
        made, outcomes = put_strokes(poses, strokes, self._fastest)
        told = iter(outcomes)
        inserted = [
            Inserted(
                word.word,
                word.start_s or 0.0,
                None if hit is None else hit.phrase_id,
                0.0 if hit is None else hit.score,
                asked,
                "no gesture" if stroke is None else next(told),
            )
            for word, hit, stroke, asked in wanted
        ]
        return made, sorted(inserted, key=lambda one: one.start_s)

    def _search(self, texts: Sequence[str], only: Filter | None = None) -> list[list[Hit]]:
        import torch

        with torch.inference_mode():
            query = self._encoder.embed_text(list(texts)).numpy()
        return self._index.search(query, _HITS, only)

    def _asked(self, asked: str, around: str) -> list[Hit]:
        """Of an intent, those nearest to what is said; a phrase by its id; or a description's."""
        rows = self._index.rows
        if asked in rows["phrase_id"].to_pylist():
            take_id = rows.filter(_equal(rows["phrase_id"], asked))["take_id"][0].as_py()
            nearest = self._index.search(
                self._embedded(around), len(rows), Filter(takes=(take_id,))
            )
            return [hit for hit in nearest[0] if hit.phrase_id == asked]
        known = set(rows["intent"].to_pylist()) - {None}
        if asked in load_taxonomy().labels and asked not in known:
            raise UserError(
                f"{self.uri}: found no gesture of intent {asked!r}; it has: "
                f"{', '.join(sorted(known)) or 'none, since it was built without anchors'}"
            )
        if asked in known:
            return self._search([around], Filter(intents=(asked,)))[0]
        (hits,) = self._index.search(self._embedded(asked), _HITS, text=asked)
        return hits

    def _embedded(self, text: str) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self._encoder.embed_text([text]).numpy()

    def _chosen(
        self, words: Sequence[Word], busy: Sequence[float]
    ) -> list[tuple[Word, Hit, Stroke]]:
        """Words whose nearest gestures are nearest, best first, far enough from each other."""
        if not words:
            return []
        hits = self._search([_around(words, number) for number in range(len(words))])
        order = sorted(range(len(words)), key=lambda n: -hits[n][0].score if hits[n] else 0.0)
        taken, found = list(busy), []
        for number in order:
            start_s = words[number].start_s or 0.0
            if any(abs(start_s - other) < _APART_S for other in taken):
                continue
            # A beat says nothing; where anchors tell one, it is no gesture to look for.
            meant = [hit for hit in hits[number] if hit.intent != "beat"]
            hit, stroke = self._first(meant)
            if hit is not None and stroke is not None:
                taken.append(start_s)
                found.append((words[number], hit, stroke))
        return found

    def _first(self, hits: Sequence[Hit]) -> tuple[Hit | None, Stroke | None]:
        """The nearest hit that shows a gesture; else the nearest, without."""
        for hit in hits:
            if (stroke := self._stroke(hit)) is not None:
                return hit, stroke
        return (hits[0] if hits else None), None

    def _stroke(self, hit: Hit) -> Stroke | None:
        from gestray.anchors.verbalize import describe

        poses = self._poses(hit.take_id)
        first = max(0, round((hit.start_s - _MARGIN_S) * FPS))
        clip = np.array(poses[first : round((hit.end_s + _MARGIN_S) * FPS)])
        phases = describe(clip).phases if len(clip) > 1 else None
        return None if phases is None else Stroke(clip, phases)

    def _poses(self, take_id: str) -> np.ndarray:
        if take_id not in self._refs:
            raise UserError(f"{self._takes.uri}: found no motion of take {take_id!r}")
        row = read_columns(self._takes, self._refs[take_id], ["poses"])
        poses = motion_from_column(row["poses"])
        assert poses is not None
        return poses

    @cached_property
    def _fastest(self) -> float:
        """The speed that one in a hundred recorded hands exceeds, m/s."""
        some = list(self._refs)[:: max(1, len(self._refs) // _SPEED_TAKES)]
        speeds = np.concatenate([hand_speeds(self._poses(take_id)) for take_id in some])
        return float(np.quantile(speeds, _FASTEST))


def _around(words: Sequence[Word], number: int) -> str:
    near = words[max(0, number - _CONTEXT) : number + _CONTEXT + 1]
    return " ".join(word.word for word in near)


def _equal(column: object, value: str) -> object:
    import pyarrow.compute as pc

    return pc.equal(column, value)
