"""Recorded gestures for words: which words deserve one, which gesture, and putting it there.

What RAG-Gesture (Mughal et al. 2025) does inside a diffusion model is done here to the motion of
any generator: a strategy (`gestray.generators.strategies`) names recorded gestures for words, and
their strokes go under the words (`gestray.generators.strokes`). Every gesture that was wanted is
listed, with the strategy's reason and what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gestray.anchors.taxonomy import load_taxonomy
from gestray.artifacts import Artifact
from gestray.corpora.take import FPS
from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.insertions import Insertion, Seen, seen
from gestray.generators.marks import Mark
from gestray.generators.strategies.contract import (
    CANDIDATES,
    Candidate,
    Clip,
    Strategy,
    StrategyName,
)
from gestray.generators.strategies.discourse import ByDiscourse
from gestray.generators.strategies.encoder import ByMeaning
from gestray.generators.strategies.gesture_types import ByGestureType
from gestray.generators.strategies.recorded import Recorded, around
from gestray.generators.strokes import Placing, Stroke, hand_speeds
from gestray.retrieval.filters import Filter
from gestray.retrieval.index import Hit
from jobs.index import before_embeddings, load_index

if TYPE_CHECKING:
    from gestray.encoders.towers.text import TextEncoder

# Words to either side that say what a word means here.
_CONTEXT = 2
# Gestures take a second or two; more than one in so many would leave no rest between them.
_APART_S = 2.5
# Motion around a clip that is cut with it.
_MARGIN_S = 0.6
_SPEED_TAKES = 16
_FASTEST = 0.99  # quantile of the speeds of recorded hands
_MARK = "mark"


@dataclass(frozen=True)
class Inserted:
    """A gesture that was wanted for a word.

    Attributes:
        word, start_s: the word, and when it is said.
        clip: id of the recorded phrase; None where nothing was found.
        clip_start_s, clip_end_s: the stretch of its take.
        score: how much the strategy wanted it; of a mark, how near it is to what is said.
        strategy: whose wish it was; ``mark`` where the author of the text asked for it.
        why: the strategy's reason, or what the author asked for.
        outcome: ``placed``, ``no room``, ``too fast``, ``not seen`` or ``no gesture``.
        recognised: of a gesture that was placed, whether the verbalizer sees the retrieved form at
            the word in the motion as it is in the end.
    """

    word: str
    start_s: float
    clip: str | None
    clip_start_s: float | None
    clip_end_s: float | None
    score: float
    strategy: str
    why: str
    outcome: str
    recognised: bool | None = None


@dataclass(frozen=True, eq=False)
class Wish:
    """A gesture that was wanted, as it lies in the motion.

    Attributes:
        told: what is reported of it.
        stroke: the recorded gesture; None where the clip shows none.
        span: frames of the motion that it takes up; None where it was left out.
        seen: what is seen of it there.
    """

    told: Inserted
    stroke: Stroke | None = None
    span: slice | None = None
    seen: Seen | None = None


class RecordedGestures:
    """The gestures of an index, found by words."""

    def __init__(self, index: Artifact) -> None:
        from gestray.encoders.model import DualEncoder

        embeddings = before_embeddings(index)
        self.uri = index.uri
        self._encoder = DualEncoder.from_folder(embeddings.input("encoder").folder)
        self._index = load_index(index)
        takes = embeddings.input("takes").folder
        self._stroke = lru_cache(maxsize=4096)(self._find_stroke)
        self._recorded = Recorded(self._index.live_rows(), takes, self._plain_embedded, index.uri)

    def strategy(self, name: StrategyName) -> Strategy:
        """A way to choose gestures of the index."""
        ways: dict[StrategyName, Callable[[], Strategy]] = {
            "encoder": lambda: ByMeaning(self._index, self._embedded),
            "discourse": lambda: ByDiscourse(self._recorded),
            "type": lambda: ByGestureType(self._recorded),
        }
        return ways[name]()

    def phrases_of(self, split: str) -> int:
        """How many of them are of a split."""
        return self._recorded["split"].count(split)

    def put_into(
        self,
        poses: np.ndarray,
        speech: Speech,
        speaker: str | None = None,
        marks: Sequence[Mark] = (),
        strategy: Strategy | None = None,
    ) -> tuple[np.ndarray, list[Wish]]:
        """A motion with gestures under words.

        Args:
            poses: axis-angle (T, 165).
            speech: what is said, words with times.
            speaker: who moves, where a strategy prefers gestures of the same.
            marks: gestures that are asked for; they have the right of way.
            strategy: finds words that deserve a gesture, besides.

        Returns:
            Poses (T, 165) and what was wanted, in the order of the words.
        """
        words = speech.words
        placing = Placing(poses, self.fastest)
        wishes = []
        for mark in marks:
            hits = self._asked(mark.asked, around(words, mark.word, mark.word + 1, _CONTEXT))
            clips = [
                Candidate(mark.word, _clip_of(hit), hit.score, f"asked for: {mark.asked}")
                for hit in hits
            ]
            none = Wish(_told(speech, mark.word, _MARK, f"asked for: {mark.asked}"))
            wishes.append(self._granted(placing, speech, clips, _MARK) or none)
        if strategy is not None:
            busy = [wish.told.start_s for wish in wishes]
            wishes += self._chosen(placing, speech, strategy, speaker, busy)
        wishes.sort(key=lambda wish: wish.told.start_s)
        return placing.poses, self._looked_at(wishes, poses, placing.poses)

    def _looked_at(
        self, wishes: Sequence[Wish], before: np.ndarray, after: np.ndarray
    ) -> list[Wish]:
        """The wishes, with what is seen of those that were placed."""
        placed = [
            Insertion(wish.stroke, wish.told.start_s, wish.span)
            for wish in wishes
            if wish.stroke is not None and wish.span is not None
        ]
        found = iter(seen(before, after, placed, self.fastest) if placed else ())
        looked_at = []
        for wish in wishes:
            if wish.span is not None:
                one = next(found)
                told = replace(wish.told, recognised=one.recognised)
                wish = replace(wish, told=told, seen=one)
            looked_at.append(wish)
        return looked_at

    @cached_property
    def fastest(self) -> float:
        """The speed that one in a hundred recorded hands exceeds, m/s."""
        takes = list(self._recorded.by_take)
        some = takes[:: max(1, len(takes) // _SPEED_TAKES)]
        speeds = np.concatenate([hand_speeds(self._recorded.poses(take_id)) for take_id in some])
        return float(np.quantile(speeds, _FASTEST))

    def _chosen(
        self,
        placing: Placing,
        speech: Speech,
        strategy: Strategy,
        speaker: str | None,
        busy: Sequence[float],
    ) -> list[Wish]:
        """Words that a strategy wants gestures for, best first, far enough from each other."""
        by_word: dict[int, list[Candidate]] = {}
        for candidate in strategy.candidates(speech, speaker):
            by_word.setdefault(candidate.word, []).append(candidate)
        taken, found = list(busy), []
        for clips in sorted(by_word.values(), key=lambda clips: -clips[0].score):
            start_s = speech.words[clips[0].word].start_s or 0.0
            if any(abs(start_s - other) < _APART_S for other in taken):
                continue
            wish = self._granted(placing, speech, clips, strategy.name)
            if wish is not None:
                found.append(wish)
                # Where clips show no gesture, a word near by may still get its own.
                taken += [start_s] if wish.stroke is not None else []
        return found

    def _granted(
        self, placing: Placing, speech: Speech, clips: Iterable[Candidate], strategy: str
    ) -> Wish | None:
        """The first clip that shows a gesture for which there is room; else the first that shows
        one, or the first. None without clips."""
        best = None
        for candidate in clips:
            told = _told(speech, candidate.word, strategy, candidate.why, candidate)
            wish, stroke = Wish(told), self._stroke(candidate.clip)
            if stroke is not None:
                outcome, span = placing.put(told.start_s, stroke)
                wish = Wish(replace(told, outcome=outcome), stroke, span)
            if wish.told.outcome == "placed":
                return wish
            if best is None or (best.stroke is None and stroke is not None):
                best = wish
        return best

    def _asked(self, asked: str, said: str) -> list[Hit]:
        """Of an intent, those nearest to what is said; a phrase by its id; or a description's."""
        rows = self._index.rows
        if asked in rows["phrase_id"].to_pylist():
            take_id = rows.filter(_equal(rows["phrase_id"], asked))["take_id"][0].as_py()
            nearest = self._index.search(
                self._embedded([said]), len(rows), Filter(takes=(take_id,))
            )
            return [hit for hit in nearest[0] if hit.phrase_id == asked]
        known = set(rows["intent"].to_pylist()) - {None}
        if asked in load_taxonomy().labels and asked not in known:
            raise UserError(
                f"{self.uri}: found no gesture of intent {asked!r}; it has: "
                f"{', '.join(sorted(known)) or 'none, since it was built without anchors'}"
            )
        if asked in known:
            query = self._embedded([said])
            return self._index.search(query, CANDIDATES, Filter(intents=(asked,)))[0]
        (hits,) = self._index.search(self._embedded([asked]), CANDIDATES, text=asked)
        return hits

    def _embedded(self, texts: Sequence[str]) -> np.ndarray:
        """Texts by the encoder that the index was built with."""
        import torch

        with torch.inference_mode():
            return self._encoder.embed_text(list(texts)).numpy()

    def _plain_embedded(self, texts: Sequence[str]) -> np.ndarray:
        """Texts by the frozen model beneath it, which knows no gestures."""
        import torch

        with torch.inference_mode():
            vectors = self._plain(list(texts), torch.device("cpu"))
        return torch.nn.functional.normalize(vectors, dim=-1).numpy()

    @cached_property
    def _plain(self) -> TextEncoder:
        from gestray.encoders.towers.text import TextEncoder

        return TextEncoder(self._encoder.config.text.model_copy(update={"train": "frozen"}))

    def _find_stroke(self, clip: Clip) -> Stroke | None:
        """The gesture that a clip shows; None where it shows none."""
        from gestray.anchors.verbalize import describe

        poses = self._recorded.poses(clip.take_id)
        first = max(0, round((clip.start_s - _MARGIN_S) * FPS))
        cut = np.array(poses[first : round((clip.end_s + _MARGIN_S) * FPS)])
        found = describe(cut) if len(cut) > 1 else None
        if found is None or found.phases is None:
            return None
        return Stroke(cut, found.phases, found.form)


def _clip_of(hit: Hit) -> Clip:
    return Clip(hit.phrase_id, hit.take_id, hit.start_s, hit.end_s)


def _told(
    speech: Speech, word: int, strategy: str, why: str, found: Candidate | None = None
) -> Inserted:
    """What is reported of a wish before anything came of it."""
    said, clip = speech.words[word], found.clip if found else None
    return Inserted(
        word=said.word,
        start_s=said.start_s or 0.0,
        clip=clip.phrase_id if clip else None,
        clip_start_s=clip.start_s if clip else None,
        clip_end_s=clip.end_s if clip else None,
        score=found.score if found else 0.0,
        strategy=strategy,
        why=why,
        outcome="no gesture",
    )


def _equal(column: object, value: str) -> object:
    import pyarrow.compute as pc

    return pc.equal(column, value)
