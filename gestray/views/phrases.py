"""Phrases: utterances with their words and motion, for retrieval and anchors.

A phrase is a run of words without a long pause. Runs that are too long are cut
at their longest inner pauses; the motion reaches a little beyond the words at
either side, because a gesture's preparation comes before its word.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from gestray.config import Config
from gestray.corpora.splits import spans
from gestray.corpora.take import FPS, TAKE_SCHEMA, motion_from_column
from gestray.errors import UserError
from gestray.speech.audio import SAMPLE_RATE
from gestray.views.catalog import TakeRef
from gestray.views.frames import cut_frames

_SAMPLE_BYTES = 2


class PhraseConfig(Config):
    """How takes are cut into phrases; all in seconds.

    Args:
        pause_s: a silence at least this long ends a phrase.
        min_s, max_s: shorter phrases are left out, longer ones are cut up.
        margin_s: motion taken beyond the words at either side, at most up to
            the middle of the pause.
    """

    pause_s: float = Field(0.35, gt=0)
    min_s: float = Field(0.8, gt=0)
    max_s: float = Field(8.0, gt=0)
    margin_s: float = Field(0.4, ge=0)


@dataclass(frozen=True)
class Phrase:
    """One phrase of a take; `first`, `last` are frames, `last` exclusive."""

    phrase_id: str
    split: str
    first: int
    last: int
    text: str
    words: tuple[dict[str, Any], ...]

    @property
    def start_s(self) -> float:
        return self.first / FPS

    @property
    def end_s(self) -> float:
        return self.last / FPS


def phrases_of(ref: TakeRef, config: PhraseConfig) -> list[Phrase]:
    """The phrases of a take that have both words and motion, in time order.

    A phrase belongs to a split if it lies whole inside it. Words without times
    make the whole take one phrase.
    """
    if ref.num_frames is None or not ref.words:
        return []
    motion_s = ref.num_frames / FPS
    timed = has_times(ref.words)
    runs = _runs(ref.words, config) if timed else [list(ref.words)]
    found = []
    for number, run in enumerate(runs):
        start_s, end_s = 0.0, motion_s
        if timed:
            before = runs[number - 1][-1]["end_s"] if number else 0.0
            after = runs[number + 1][0]["start_s"] if number + 1 < len(runs) else motion_s
            start_s = max(run[0]["start_s"] - config.margin_s, (before + run[0]["start_s"]) / 2)
            end_s = min(run[-1]["end_s"] + config.margin_s, (after + run[-1]["end_s"]) / 2)
            if run[-1]["end_s"] - run[0]["start_s"] < config.min_s or start_s >= motion_s:
                continue
        first = max(0, round(start_s * FPS))
        last = min(ref.num_frames, round(end_s * FPS))
        if last - first < config.min_s * FPS:
            continue
        for split, (from_s, to_s) in spans(ref.split, motion_s).items():
            if first / FPS >= from_s - 1e-6 and last / FPS <= to_s + 1e-6:
                text = " ".join(word["word"] for word in run)
                phrase_id = f"{ref.take_id}:{first:06d}-{last:06d}"
                found.append(Phrase(phrase_id, split, first, last, text, tuple(run)))
    return found


def has_times(words: Sequence[dict[str, Any]]) -> bool:
    """Whether all words say when they are spoken."""
    return all(word["start_s"] is not None for word in words)


def _runs(words: Sequence[dict[str, Any]], config: PhraseConfig) -> list[list[dict[str, Any]]]:
    """Words between pauses, each run at most `max_s` long."""
    starts = np.array([word["start_s"] for word in words])
    ends = np.array([word["end_s"] for word in words])
    pauses = starts[1:] - ends[:-1]
    cuts = {int(i) + 1 for i in np.flatnonzero(pauses >= config.pause_s)}

    def split_long(first: int, last: int) -> None:
        if last - first < 2 or ends[last - 1] - starts[first] <= config.max_s:
            return
        # The longest pause that is not at the very edge; ties go to the earlier one.
        cut = first + 1 + int(np.argmax(pauses[first : last - 1]))
        cuts.add(cut)
        split_long(first, cut)
        split_long(cut, last)

    edges = [0, *sorted(cuts), len(words)]
    for first, last in itertools.pairwise(edges):
        split_long(first, last)
    edges = [0, *sorted(cuts), len(words)]
    return [list(words[a:b]) for a, b in itertools.pairwise(edges)]


def phrase_rows(ref: TakeRef, phrases: Sequence[Phrase], poses: np.ndarray) -> pa.Table:
    """Rows of a take's phrases; `poses` float32 (num_frames, 165) is the take's motion.

    The column `poses` holds float32 (frames, 165) as bytes.
    """
    return pa.table(
        {
            "phrase_id": [phrase.phrase_id for phrase in phrases],
            "take_id": [ref.take_id] * len(phrases),
            "speaker": pa.array([ref.speaker] * len(phrases), pa.string()),
            "split": [phrase.split for phrase in phrases],
            "start_s": [phrase.start_s for phrase in phrases],
            "end_s": [phrase.end_s for phrase in phrases],
            "text": [phrase.text for phrase in phrases],
            "poses": cut_frames(
                poses,
                [phrase.first for phrase in phrases],
                [phrase.last - phrase.first for phrase in phrases],
            ),
        }
    )


def words_of(phrases: Sequence[Phrase]) -> pa.Array:
    """Their words, with times in seconds of the take, as a take's column has them."""
    return pa.array([phrase.words for phrase in phrases], TAKE_SCHEMA.field("words").type)


def cut_audio(ref: TakeRef, phrases: Sequence[Phrase], audio: bytes | None) -> pa.Array:
    """PCM of each phrase, as many samples as its frames last; silence where the take's ends.

    Raises:
        UserError: the take has no audio.
    """
    if audio is None:
        raise UserError(
            f"take {ref.take_id!r} has no audio, and this method listens; ingest a corpus whose "
            "takes all have audio, or choose a method that reads (model.query=text)"
        )

    def cut(phrase: Phrase) -> bytes:
        first, last = (
            round(frame / FPS * SAMPLE_RATE) * _SAMPLE_BYTES
            for frame in (phrase.first, phrase.last)
        )
        return audio[first:last].ljust(last - first, b"\0")

    return pa.array([cut(phrase) for phrase in phrases], pa.binary())


@dataclass(frozen=True)
class Phrases:
    """View of the phrases of one split, or of all where `split` is None.

    Args:
        words: rows have their words with times as well.
        audio: and their PCM.
    """

    config: PhraseConfig
    split: str | None
    words: bool = False
    audio: bool = False

    @property
    def columns(self) -> Sequence[str]:
        return ("poses", "audio") if self.audio else ("poses",)

    def count(self, ref: TakeRef) -> int:
        return len(self._phrases(ref))

    def lengths(self, ref: TakeRef) -> list[int]:
        return [phrase.last - phrase.first for phrase in self._phrases(ref)]

    def cut(self, ref: TakeRef, take: pa.Table, samples: Sequence[int]) -> pa.Table:
        phrases = self._phrases(ref)
        chosen = [phrases[sample % len(phrases)] for sample in samples]
        poses = motion_from_column(take["poses"])
        assert poses is not None, "a take without motion has no phrases"
        rows = phrase_rows(ref, chosen, poses)
        if self.words:
            rows = rows.append_column("words", words_of(chosen))
        if self.audio:
            rows = rows.append_column("audio", cut_audio(ref, chosen, take["audio"][0].as_py()))
        return rows

    def _phrases(self, ref: TakeRef) -> list[Phrase]:
        found = phrases_of(ref, self.config)
        return [phrase for phrase in found if self.split in (None, phrase.split)]
