"""What an encoder's embeddings are worth on the test phrases: every task, query by query.

Each figure of a leaderboard is the mean of one row of values here, one value a query (or a
spotted word), so that intervals and paired gains of any of them are computed in one way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from gestray.corpora.take import FPS
from gestray.metrics import active_speaker, semantic, spotting
from gestray.metrics.bootstrap import Bootstrap, Interval, PairedGain
from gestray.metrics.protocols import ALL, BATCHES_32, Protocols, Ranks
from gestray.metrics.retrieval import DIRECTIONS, KS, found_within, text_labels
from jobs.meanings import Meanings, targets_of
from jobs.vectors import has, matrix, sequences

Task = Literal["retrieval", "semantic", "spotting", "active_speaker"]
TASKS: tuple[Task, ...] = get_args(Task)
RETRIEVAL, SEMANTIC, SPOTTING, SPEAKER = TASKS

MEANINGFUL = {"meaningful": ALL, "meaningful32": BATCHES_32}
"""Protocols whose only queries are the phrases whose gesture means something, and whose galleries
they ask: what nothing in the words tells apart, beats and idle hands, is no query."""

# Half a frame either side: of a moment of speech, the gesture at that moment.
_SAME_MOMENT_S = 0.5 / FPS


@dataclass(frozen=True)
class Measured:
    """One training run on the test phrases.

    Attributes:
        values: figure → a value a query (Q,), or a word under a gesture (N,) in `spotting`.
        ranks: under each protocol.
        chance: figure → what chance gives, where it is not plain.
        top: (Q,) the first gesture of each query that means something, -1 of others.
        word_takes: (N,) the take of every word under a gesture.
    """

    values: Mapping[str, np.ndarray]
    ranks: Ranks
    chance: Mapping[str, float]
    top: np.ndarray | None = None
    word_takes: np.ndarray | None = None


@dataclass(frozen=True)
class PhraseSet:
    """The phrases that all methods are measured on.

    Attributes:
        rows: their facts, in the order of every method's embeddings.
        meanings: of their gestures.
        texts: (Q, D) of their words by an encoder of its own, for TMR's protocols.
        tasks: which of `TASKS` are measured.
        resamples: of the bootstrap.
    """

    rows: pa.Table
    meanings: Meanings
    texts: np.ndarray | None
    tasks: Sequence[Task] = TASKS
    resamples: int = 2000

    @cached_property
    def labels(self) -> np.ndarray:
        return text_labels(self.rows["text"].to_pylist())

    @cached_property
    def protocols(self) -> Protocols:
        return Protocols(self.labels, self.texts)

    @cached_property
    def takes(self) -> np.ndarray:
        return np.asarray(self.rows["take_id"].to_pylist())

    @cached_property
    def seconds(self) -> np.ndarray:
        return np.asarray(self.rows["end_s"]) - np.asarray(self.rows["start_s"])

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(self.takes, resamples=self.resamples)

    @cached_property
    def others(self) -> np.ndarray:
        """(Q, rounds, others): who stands beside each query, as many as there can be."""
        most = max(active_speaker.CANDIDATES) - 1
        takes, counts = np.unique(self.takes, return_counts=True)
        available = len(self.takes) - int(counts.max()) if len(takes) > 1 else 0
        return active_speaker.draw_others(self.seconds, self.takes, min(most, available))


def query_columns(rows: pa.Table, main: str) -> dict[str, str]:
    """Suffix of a method's name → the column it is queried with; the main one has none."""
    suffixes = {
        "text_embedding": ".text",
        "speech_embedding": ".speech",
        "text_speech_embedding": ".text-speech",
    }
    others = {
        suffix: column
        for column, suffix in suffixes.items()
        if column != main and has(rows, column)
    }
    return {"": main, **others}


def measure(
    phrases: PhraseSet, rows: pa.Table, column: str, is_main: bool, stride: int | None
) -> Measured:
    """All tasks of one training run that its embeddings allow.

    Args:
        rows: embeddings of the phrases.
        column: what they are queried with.
        is_main: words and moments of speech were embedded for this query.
        stride: frames of the recording from one frame embedding to the next.
    """
    query, motion = matrix(rows, column), matrix(rows, "motion_embedding")
    values: dict[str, np.ndarray] = {}
    chance: dict[str, float] = {}
    ranks: Ranks = {}
    top = word_takes = None
    if RETRIEVAL in phrases.tasks:
        ranks = phrases.protocols.ranks(query, motion)
        means = phrases.meanings.carries.any(axis=1)
        if means.any():
            ranks |= {
                name: {
                    direction: np.where(means, found, np.nan)
                    for direction, found in ranks[protocol].items()
                }
                for name, protocol in MEANINGFUL.items()
                if protocol in ranks
            }
        for name, found in _named(ranks).items():
            values |= {f"{name}.r{k}": found_within(found, k) for k in KS}
    if SEMANTIC in phrases.tasks and phrases.meanings.carries.any() and len(rows) > 1:
        result = semantic.semantic_retrieval(query, motion, phrases.meanings.carries)
        values |= {f"semantic.{name}": figure for name, figure in result.figures.items()}
        chance["semantic.precision"] = result.chance
        top = result.top
    if SPEAKER in phrases.tasks:
        values |= _told(active_speaker.by_clips(query, motion, phrases.others), "active_speaker")
    if is_main and stride is not None and has(rows, "frame_embeddings"):
        clips = Clips.of(rows, stride)
        if SPOTTING in phrases.tasks and has(rows, "word_embeddings"):
            spotted, chance["spotting.located"], word_takes = _spotting(phrases, rows, clips)
            values |= spotted
        if SPEAKER in phrases.tasks:
            values |= _speaker_in_time(phrases, rows, clips)
    return Measured(values, ranks, chance, top, word_takes)


def _named(ranks: Ranks) -> dict[str, np.ndarray]:
    """Ranks under the names of their figures: `text_to_gesture`, `threshold.text_to_gesture`."""
    return {
        direction if protocol == ALL else f"{protocol}.{direction}": found
        for protocol, by_direction in ranks.items()
        for direction, found in by_direction.items()
    }


@dataclass(frozen=True)
class Clips:
    """Frame embeddings (K, D) of each phrase, and their middles (K,) in seconds of the take."""

    frames: list[np.ndarray]
    times_s: list[np.ndarray]
    starts_s: np.ndarray
    stride: int

    @classmethod
    def of(cls, rows: pa.Table, stride: int) -> Clips:
        starts = np.asarray(rows["frame_start_s"])
        frames = sequences(rows, "frame_embeddings")
        times = [
            start + (np.arange(len(clip)) + 0.5) * stride / FPS
            for start, clip in zip(starts, frames, strict=True)
        ]
        return cls(frames, times, starts, stride)


def _spotting(
    phrases: PhraseSet, rows: pa.Table, clips: Clips
) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """Figures of every word under a gesture, NaN for those of another kind; chance; their takes."""
    asked, targets, takes = [], [], []
    for number, (embedded, words) in enumerate(
        zip(sequences(rows, "word_embeddings"), rows["words"].to_pylist(), strict=True)
    ):
        words = words[: len(embedded)]
        found = targets_of(words, phrases.meanings.gestures[number])
        if found:
            starts, ends = np.array([(w["start_s"], w["end_s"]) for w in words], float).T
            numbers = [target.word for target in found]
            asked.append(
                spotting.SpottingClip(
                    clips.frames[number], clips.times_s[number], embedded, starts, ends, numbers
                )
            )
            targets += found
            takes += [phrases.takes[number]] * len(found)
    if not asked:
        return {}, float("nan"), np.array([])
    found_of = spotting.spot_words(asked)
    kinds = {
        "accuracy": np.array([not target.is_beat for target in targets]),
        "beats": np.array([target.is_beat for target in targets]),
        "stressed": np.array([target.stressed is True for target in targets]),
        "unstressed": np.array([target.stressed is False for target in targets]),
    }
    values = {
        f"spotting.{name}": np.where(which, found_of["accuracy"], np.nan)
        for name, which in kinds.items()
        if which.any()
    }
    meant = kinds["accuracy"]
    if meant.any():
        values["spotting.located"] = np.where(meant, found_of["located"], np.nan)
    chance = found_of["chance"][meant]
    return values, float(chance.mean()) if len(chance) else float("nan"), np.array(takes)


def _speaker_in_time(phrases: PhraseSet, rows: pa.Table, clips: Clips) -> dict[str, np.ndarray]:
    """The active speaker, moment by moment where speech was embedded so, else word by word."""
    since = [times - start for times, start in zip(clips.times_s, clips.starts_s, strict=True)]
    spans: list[np.ndarray]
    if has(rows, "speech_frame_embeddings"):
        said = sequences(rows, "speech_frame_embeddings")
        spans = [
            np.stack((times, times), axis=1)[: len(moments)]
            for times, moments in zip(since, said, strict=True)
        ]
        margin_s = clips.stride * _SAME_MOMENT_S
    elif has(rows, "word_embeddings"):
        said = sequences(rows, "word_embeddings")
        spans = [
            np.array([(w["start_s"], w["end_s"]) for w in words[: len(embedded)]], float) - start
            for words, embedded, start in zip(
                rows["words"].to_pylist(), said, clips.starts_s, strict=True
            )
        ]
        margin_s = active_speaker.WORD_MARGIN_S
    else:
        return {}
    if not all(
        len(one) and len(span) == len(one) and np.isfinite(span).all()
        for one, span in zip(said, spans, strict=True)
    ):
        return {}  # words without times
    similarities = active_speaker.in_time(
        clips.frames, since, said, spans, phrases.others, margin_s
    )
    return _told(similarities, "active_speaker_in_time")


def _told(similarities: active_speaker.Similarities, name: str) -> dict[str, np.ndarray]:
    """Among as many people as there are clips of other takes for."""
    most = 1 + similarities.others.shape[2]
    return {
        f"{name}.{people}": similarities.told(people)
        for people in active_speaker.CANDIDATES
        if people <= most
    }


class Runs:
    """A method's training runs: its figures over all of them, their intervals, and gains.

    Args:
        name: of the method.
        runs: measured, one a seed.
        phrases: that they were measured on.
    """

    def __init__(self, name: str, runs: Sequence[Measured], phrases: PhraseSet) -> None:
        self.name = name
        self.runs = runs
        self.phrases = phrases
        shared = [name for name in runs[0].values if all(name in run.values for run in runs)]
        self.values = {name: np.stack([run.values[name] for run in runs]) for name in shared}
        named = [_named(run.ranks) for run in runs]
        self.ranks = {f"{name}.medr": np.stack([run[name] for run in named]) for name in named[0]}
        self.chance = {name: value for run in runs for name, value in run.chance.items()}
        words = runs[0].word_takes
        self._words = None
        if words is not None and len(words):
            self._words = Bootstrap(words, resamples=phrases.resamples)

    def figures(self, run: int | None = None) -> dict[str, float]:
        """Every figure, of one run or the mean of all."""
        which = slice(None) if run is None else slice(run, run + 1)
        means = {name: np.nanmean(v[which], axis=1).mean() for name, v in self.values.items()}
        medians = {name: np.nanmedian(r[which], axis=1).mean() for name, r in self.ranks.items()}
        return {name: float(value) for name, value in (means | medians).items()}

    def intervals(self) -> dict[str, Interval]:
        """Of every figure but the median ranks of small galleries."""
        found = {}
        for name, values in self.values.items():
            bootstrap = self._bootstrap(name)
            found[name] = bootstrap.interval(bootstrap.mean(values))
        for direction in DIRECTIONS:
            if (name := f"{direction}.medr") in self.ranks:
                drawn = self.phrases.bootstrap.median(self.ranks[name])
                found[name] = self.phrases.bootstrap.interval(drawn)
        return found

    def gain_over(self, other: Runs, figure: str) -> PairedGain | None:
        """The paired gain in a figure; None where either method lacks it."""
        if figure not in self.values or figure not in other.values:
            return None
        return self._bootstrap(figure).gain(self.values[figure], other.values[figure])

    def _bootstrap(self, figure: str) -> Bootstrap:
        if figure.startswith(f"{SPOTTING}."):
            assert self._words is not None
            return self._words
        return self.phrases.bootstrap
