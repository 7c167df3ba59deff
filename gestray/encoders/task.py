"""How a dual encoder learns."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.chunks import Embeddings, in_chunks
from gestray.encoders.config import EncoderConfig, EncoderTraining
from gestray.encoders.model import DualEncoder
from gestray.encoders.objectives.contrastive import (
    Matches,
    Similarity,
    cosines,
    info_nce,
    siglip,
)
from gestray.encoders.objectives.coupling import Overlaps, coupling
from gestray.encoders.towers.motion import TokenPatches
from gestray.store import Folder
from gestray.training.distributed import gather, least_of_ranks
from gestray.training.task import Batch
from gestray.views.phrases import Phrases

# Batches that mean and spread of motion are measured on.
STARTS_FROM = 8


@dataclass(frozen=True)
class AnchorTexts:
    """The two sentences of an anchor; None where it has none (ungrounded, failed)."""

    form: str | None
    intent: str | None


@dataclass(frozen=True)
class EncoderTask:
    """`gestray.training.task.Task` of a dual encoder.

    Args:
        anchors: by phrase id; empty for methods without anchor supervision.
        tokenizer: of motion, for methods that see its tokens.
    """

    config: EncoderTraining
    anchors: Mapping[str, AnchorTexts] = field(default_factory=dict)
    tokenizer: Folder | None = None

    def view(self, split: str = "train") -> Phrases:
        return phrases_for(self.config, split)

    def build(self) -> nn.Module:
        model = DualEncoder(self.config.model)
        if isinstance(model.motion.source, TokenPatches) and self.tokenizer is not None:
            model.motion.source.load(self.tokenizer)
        return model

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """The weights start at random; what motion looks like is measured."""
        assert isinstance(model, DualEncoder)
        first = itertools.islice(batches, STARTS_FROM)
        model.motion.start([(batch["poses"], batch["frames"]) for batch in first])

    def compiled(self, model: nn.Module) -> Iterator[nn.Module]:
        """All but the models that look strings up."""
        assert isinstance(model, DualEncoder)
        yield model.motion.layers
        if model.transcript is not None:
            yield model.transcript.head

    def collate(self, rows: pa.Table) -> Batch:
        batch = inputs_of(rows, self.config.model)
        batch["text_key"] = _keys(batch["text"])
        objectives = self.config.model.objectives
        anchors = [
            self.anchors.get(phrase_id, AnchorTexts(None, None))
            for phrase_id in rows["phrase_id"].to_pylist()
        ]
        if objectives.form:
            _add_texts(batch, "form", [anchor.form for anchor in anchors])
        if objectives.intent:
            _add_texts(batch, "intent", [anchor.intent for anchor in anchors])
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, DualEncoder)
        asked = self.config.model.objectives
        embedded = in_chunks(model, batch, len(batch["text"]), asked.chunk)
        if asked.false_negatives is not None:
            embedded["sentence"] = model.sentences(batch["text"])
        everything = {name: gather(_evened(name, part)) for name, part in embedded.items()}
        parts = _Objectives(model, everything, batch).parts()
        total = torch.stack([getattr(asked, name) * part for name, part in parts.items()]).sum()
        return total, parts


class _Objectives:
    """The losses of one global batch, by the names of their weights."""

    def __init__(self, model: DualEncoder, embedded: Embeddings, batch: Batch) -> None:
        self.model, self.embedded, self.batch = model, embedded, batch
        self.asked = model.config.objectives

    def parts(self) -> dict[str, Tensor]:
        asked, embedded = self.asked, self.embedded
        found: dict[str, Tensor] = {}
        numbers = [name.removeprefix("query.") for name in embedded if name.startswith("query.")]
        if asked.transcript:
            found["transcript"] = self._mean(
                self._contrast(cosines(embedded["motion"], embedded[f"query.{n}"]), "text")
                for n in numbers
            )
        for kind, anchored in (("form", "motion"), ("intent", "query.0")):
            if getattr(asked, kind):
                found[kind] = self._contrast(
                    cosines(embedded[anchored], embedded[kind]),
                    kind,
                    gather(self.batch[f"{kind}_weight"]),
                )
        if asked.coupling:
            found["coupling"] = self._mean(
                self._contrast(self._coupling(embedded[f"words.{n}"]), "text") for n in numbers
            )
        if asked.sync:
            found["sync"] = self._in_time()
        for name in ("reconstruction", "latent", "kl"):
            if getattr(asked, name):
                found[name] = embedded[name].mean()
        return found

    def _contrast(self, similarity: Similarity, kind: str, weight: Tensor | None = None) -> Tensor:
        model, keys = self.model, gather(self.batch[f"{kind}_key"])
        matches = Matches(keys)
        if kind == "text" and self.asked.false_negatives is not None:
            matches = Matches(keys, self.embedded["sentence"], self.asked.false_negatives)
        block = self.asked.chunk
        if model.bias is not None:
            return siglip(similarity, len(keys), model.scale, model.bias, matches, weight, block)
        return info_nce(similarity, len(keys), model.scale, matches, weight, block)

    def _coupling(self, words: Tensor) -> Similarity:
        embedded, model = self.embedded, self.model
        return coupling(
            embedded["steps"], embedded["step_real"] > 0, words, embedded["word_real"] > 0,
            embedded["word_spans"], model.motion.rate, self.asked.reach_s, model.scale,
        )  # fmt: skip

    def _in_time(self) -> Tensor:
        """Windows of motion against those of speech: of other times, and of other phrases."""
        moments, sounds = (self.embedded[name].flatten(0, 1) for name in ("moments", "sounds"))
        width = self.model.window_positions
        overlaps = Overlaps(self.embedded["starts"], width)
        block = self.asked.chunk
        return info_nce(
            cosines(moments, sounds), len(moments), self.model.scale, overlaps, None, block
        )

    @staticmethod
    def _mean(losses: Iterator[Tensor]) -> Tensor:
        return torch.stack(list(losses)).mean()


def phrases_for(config: EncoderTraining, split: str | None, words: bool = False) -> Phrases:
    """The view of phrases with all that the model of a training takes in.

    Args:
        words: with words in any case.
    """
    model = config.model
    return Phrases(config.phrases, split, words or needs_words(model), model.hears)


def needs_words(config: EncoderConfig) -> bool:
    """Whether transcripts go in word by word."""
    by_text = config.reads and config.text.layers > 0
    return by_text or config.query == "text+speech" or config.objectives.coupling > 0


def inputs_of(rows: pa.Table, config: EncoderConfig) -> Batch:
    """Rows of a view of phrases as what a `DualEncoder` takes in, on the CPU.

    `poses` (B, T, 165) and `frames` (B,); `text`; where rows have words `words`, `word_count` (B,)
    and `spans` (B, W, 2), their times in seconds from the phrase's start, NaN where unknown; where
    they have audio `waveform` (B, S) and `samples` (B,). Of both what lies beyond the bounds of the
    towers is left out.
    """
    poses, frames = pad_poses(rows["poses"].to_pylist(), config.motion.max_frames)
    batch: Batch = {"poses": poses, "frames": frames, "text": rows["text"].to_pylist()}
    names = rows.column_names
    if "words" in names:
        found = [words[: config.text.max_tokens] for words in rows["words"].to_pylist()]
        batch["words"] = [[word["word"] for word in words] for words in found]
        batch["word_count"] = torch.tensor([len(words) for words in found])
        starts = rows["start_s"].to_pylist()
        batch["spans"] = _spans(found, starts)
    if "audio" in names:
        batch["waveform"], batch["samples"] = pad_audio(rows["audio"].to_pylist())
    return batch


def _spans(words: Sequence[Sequence[Mapping[str, Any]]], starts: Sequence[float]) -> Tensor:
    spans = torch.full((len(words), max(map(len, words)), 2), float("nan"))
    for row, phrase, start_s in zip(spans, words, starts, strict=True):
        for number, word in enumerate(phrase):
            if word["start_s"] is not None:
                row[number, 0] = word["start_s"] - start_s
                row[number, 1] = word["end_s"] - start_s
    return spans


def pad_poses(poses: Sequence[bytes], max_frames: int) -> tuple[Tensor, Tensor]:
    """float32 (frames, 165) byte strings to (B, T, 165) and the real lengths (B,).

    Motion longer than `max_frames` keeps its middle.
    """
    arrays = []
    for buffer in poses:
        motion = np.frombuffer(buffer, np.float32).reshape(-1, 165)
        excess = max(0, len(motion) - max_frames)
        arrays.append(motion[excess // 2 : excess // 2 + max_frames])
    frames = torch.tensor([len(motion) for motion in arrays])
    padded = torch.zeros(len(arrays), int(frames.max()), 165)
    for row, motion in zip(padded, arrays, strict=True):
        row[: len(motion)] = torch.from_numpy(motion.copy())
    return padded, frames


def pad_audio(sounds: Sequence[bytes]) -> tuple[Tensor, Tensor]:
    """PCM16 byte strings to float32 (B, S) in [-1, 1] and the real lengths (B,)."""
    arrays = [np.frombuffer(buffer, np.int16) for buffer in sounds]
    samples = torch.tensor([len(sound) for sound in arrays])
    padded = torch.zeros(len(arrays), int(samples.max()))
    for row, sound in zip(padded, arrays, strict=True):
        row[: len(sound)] = torch.from_numpy(sound.astype(np.float32) / 2**15)
    return padded, samples


def _evened(name: str, part: Tensor) -> Tensor:
    """What is by word or position with as many places as on the rank with most of them."""
    if not name.startswith(("word", "step")):
        return part
    most = -int(least_of_ranks(torch.tensor(-part.shape[1], device=part.device)))
    missing = most - part.shape[1]
    return F.pad(part, (0, 0) * (part.ndim - 2) + (0, missing))


def _add_texts(batch: Batch, name: str, texts: Sequence[str | None]) -> None:
    batch[name] = [text or "" for text in texts]
    batch[f"{name}_key"] = _keys(batch[name])
    batch[f"{name}_weight"] = torch.tensor([float(bool(text)) for text in texts])


def _keys(texts: Sequence[str]) -> Tensor:
    """One number a text (B,), equal for equal texts: what ranks exchange in place of strings."""
    return torch.tensor([zlib.crc32(text.casefold().encode()) for text in texts])
