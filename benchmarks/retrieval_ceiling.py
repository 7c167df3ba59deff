"""What text and motion tell of a gesture's meaning before any tower learns, and how much could be
found.

    python benchmarks/retrieval_ceiling.py TAKES [--split val]

Of a corpus with gold. Two *probes* (logistic regression on training phrases) read the intent off
the frozen text model's sentences and off pooled motion: mean, extremes, spread and speed of what
the motion tower sees. Their probabilities then take the place of an encoder's embeddings, and so
does what is true: the intent, and with it the length, as far as words and letters tell it. What an
encoder finds less than the probes, its training loses; what the truth finds, no encoder exceeds
that knows no more.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gestray.artifacts import open_artifact
from gestray.encoders.config import TextTowerConfig, preset
from gestray.encoders.task import pad_poses, phrases_for
from gestray.encoders.towers.motion import FeaturePatches
from gestray.encoders.towers.text import TextEncoder
from gestray.metrics.protocols import Protocols
from gestray.metrics.retrieval import TEXT_TO_GESTURE, recall_at, text_labels
from gestray.metrics.semantic import semantic_retrieval
from gestray.store import Folder
from gestray.views.catalog import read_catalog, read_columns
from jobs.meanings import read_meanings

# Of the truth's parts: that the intent is right outweighs any difference in length.
INTENT_WEIGHT = 20.0


@dataclass(frozen=True)
class Side:
    """The phrases of a split.

    Attributes:
        carries: bool (Q, intents).
        sentences: (Q, 384).
        motion: (Q, C), pooled.
        seconds: (Q,).
        said: (Q, 3), one, letters and words.
    """

    carries: np.ndarray
    sentences: np.ndarray
    motion: np.ndarray
    seconds: np.ndarray
    said: np.ndarray
    texts: list[str]

    @property
    def intents(self) -> np.ndarray:
        """(Q,), one past the last where there is none."""
        return np.where(self.carries.any(1), self.carries.argmax(1), self.carries.shape[1])


def read_sides(uri: str, splits: tuple[str, str]) -> list[Side]:
    """Training phrases and those that are asked for."""
    takes = open_artifact(Folder(uri))
    view = phrases_for(preset("sma"), None)
    parts, pooled = [], []
    for ref in read_catalog(takes.folder):
        if view.count(ref):
            take = read_columns(takes.folder, ref, list(view.columns))
            rows = view.cut(ref, take, range(view.count(ref)))
            pooled.append(_pooled(*pad_poses(rows["poses"].to_pylist(), 300)))
            parts.append(rows.drop_columns(["poses"]))
    rows, motion = pa.concat_tables(parts), np.concatenate(pooled)
    carries = read_meanings(rows, takes, None).carries
    texts = rows["text"].to_pylist()
    sentences = TextEncoder(TextTowerConfig())(texts, torch.device("cpu")).numpy()
    seconds = np.asarray(rows["end_s"]) - np.asarray(rows["start_s"])
    said = np.array([[1, len(text), len(text.split())] for text in texts], float)
    found = []
    for split in splits:
        which = np.flatnonzero(np.asarray(rows["split"]) == split)
        own = [texts[number] for number in which]
        found.append(
            Side(carries[which], sentences[which], motion[which], seconds[which], said[which], own)
        )
    return found


def _pooled(poses: torch.Tensor, frames: torch.Tensor) -> np.ndarray:
    """(B, C): mean, extremes and spread of every second frame as the tower sees it, and speeds."""
    patches = FeaturePatches(2, 2)(poses, frames)
    found = []
    for clip, length in zip(patches, frames, strict=True):
        now, change = clip[: -(-int(length) // 2)].chunk(2, dim=-1)
        speed = change[1:].abs()
        parts = (now.mean(0), now.amax(0), now.amin(0), now.std(0), speed.mean(0), speed.amax(0))
        found.append(torch.cat(parts))
    return torch.stack(found).numpy()


def probe(train: Side, asked: Side, of: str, c: float) -> tuple[np.ndarray, float]:
    """Probabilities (Q, intents + 1) off the column `of`, and how often the intent of a phrase that
    has one is right, told among intents alone."""
    scale = StandardScaler().fit(getattr(train, of))
    x, y = (scale.transform(getattr(side, of)) for side in (train, asked))
    probabilities = np.full((len(y), train.carries.shape[1] + 1), 1e-9)
    model = LogisticRegression(C=c, max_iter=200).fit(x, train.intents)
    probabilities[:, model.classes_] += model.predict_proba(y)
    some, asks = train.carries.any(1), asked.carries.any(1)
    told = LogisticRegression(C=c, max_iter=200).fit(x[some], train.intents[some])
    return probabilities, float((told.predict(y[asks]) == asked.intents[asks]).mean())


def truth(train: Side, asked: Side) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Query and gesture embeddings of who knows the intent; and the length as words tell it.

    A length is a point on a quarter of a circle, which cosines compare as a normal distribution of
    the residual's spread would.
    """
    intent = INTENT_WEIGHT * np.eye(train.carries.shape[1] + 1)[asked.intents]
    fit = np.linalg.lstsq(train.said, train.seconds, rcond=None)[0]
    spread = float(np.std(train.seconds - train.said @ fit))
    turn = np.pi / 2 / float(np.ptp(asked.seconds))

    def length(seconds: np.ndarray) -> np.ndarray:
        circle = np.stack([np.cos(turn * seconds), np.sin(turn * seconds)], axis=1)
        return circle / (spread * turn)

    by_text, by_motion = length(asked.said @ fit), length(asked.seconds)
    return {
        "length": (by_text, by_motion),
        "intent": (intent, intent),
        "intent and length": (np.hstack([intent, by_text]), np.hstack([intent, by_motion])),
    }


def figures(query: np.ndarray, motion: np.ndarray, asked: Side) -> dict[str, float]:
    """Text → gesture, in percent."""
    ranks = Protocols(text_labels(asked.texts), asked.sentences).ranks(query, motion)
    found = {
        f"{protocol} R@1": recall_at(by[TEXT_TO_GESTURE][~np.isnan(by[TEXT_TO_GESTURE])], 1)
        for protocol, by in ranks.items()
    }
    meant = semantic_retrieval(query, motion, asked.carries).figures
    found["first hit"] = float(np.nanmean(meant["precision1"]))
    found["mAP"] = float(np.nanmean(meant["map"]))
    return {name: round(100 * value, 1) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("takes")
    parser.add_argument("--split", default="val")
    asked_for = parser.parse_args()
    train, asked = read_sides(asked_for.takes, ("train", asked_for.split))
    said, told_by_text = probe(train, asked, "sentences", 0.1)
    moved, told_by_motion = probe(train, asked, "motion", 0.02)
    known = np.eye(train.carries.shape[1] + 1)[asked.intents]
    result: dict[str, Any] = {
        "split": asked_for.split,
        "phrases": len(asked.texts),
        "with a meaning": int(asked.carries.any(1).sum()),
        "intent told by text": round(100 * told_by_text, 1),
        "intent told by motion": round(100 * told_by_motion, 1),
        "text probe, motion probe": figures(said, moved, asked),
        "text probe, true intent": figures(said, known, asked),
        "true intent, motion probe": figures(known, moved, asked),
    }
    result |= {f"true {name}": figures(*pair, asked) for name, pair in truth(train, asked).items()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
