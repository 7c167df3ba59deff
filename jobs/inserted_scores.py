"""Figures of retrieved gestures in generated motion, for `gestray evaluate generation`."""

from __future__ import annotations

from collections.abc import Sequence

from gestray.corpora.take import FPS
from gestray.generators.contract import Gesturing
from gestray.generators.strategies.contract import Strategy
from gestray.metrics.generation.figures import Part
from gestray.metrics.generation.measure import Moved
from jobs.generation_metrics import Corpus
from jobs.retrieved import RecordedGestures, Wish


def with_gestures(
    gestures: RecordedGestures,
    strategy: Strategy,
    run: Sequence[Gesturing],
    corpus: Corpus,
) -> tuple[list[Moved], list[dict[str, Part]]]:
    """A run's motions with gestures under words, and what is seen of them, take by take."""
    moved, parts = [], []
    for motion, speech, ref in zip(run, corpus.speech, corpus.tested, strict=True):
        poses, wishes = gestures.put_into(motion.poses, speech, ref.speaker, (), strategy)
        moved.append(Moved(poses, motion.trans, motion.expressions))
        found = [wish.seen for wish in wishes if wish.seen is not None]
        minutes = len(poses) / FPS / 60
        parts.append(
            {
                "inserted.a_minute": (float(len(found)), minutes),
                "inserted.placed": (float(len(found)), float(len(_shown(wishes)))),
                "inserted.recognised": _share([one.recognised for one in found]),
                "inserted.alike": _share([one.alike for one in found]),
                "inserted.at_word": _share([one.at_word for one in found]),
                "inserted.fields": _share([one.fields for one in found]),
                "inserted.peaks": _share([one.peaks for one in found]),
            }
        )
    return moved, parts


def _shown(wishes: Sequence[Wish]) -> list[Wish]:
    """Those whose clip shows a gesture."""
    return [wish for wish in wishes if wish.stroke is not None]


def _share(values: Sequence[float]) -> Part:
    return float(sum(values)), float(len(values))
