"""How a dual encoder learns."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from gestray.encoders.config import EncoderTraining
from gestray.encoders.model import DualEncoder
from gestray.encoders.objectives import info_nce
from gestray.training.distributed import gather
from gestray.training.task import Batch
from gestray.views.phrases import Phrases


@dataclass(frozen=True)
class AnchorTexts:
    """The two sentences of an anchor; None where it has none (ungrounded, failed)."""

    form: str | None
    intent: str | None


@dataclass(frozen=True)
class EncoderTask:
    """`gestray.training.task.Task` of a dual encoder.

    `anchors` by phrase id; empty for presets without anchor supervision.
    """

    config: EncoderTraining
    anchors: Mapping[str, AnchorTexts] = field(default_factory=dict)

    def view(self, split: str = "train") -> Phrases:
        return Phrases(self.config.phrases, split)

    def build(self) -> nn.Module:
        return DualEncoder(self.config.model)

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """Nothing: the weights start at random."""

    def compiled(self, model: nn.Module) -> Iterator[nn.Module]:
        """All but the text model, which looks strings up."""
        assert isinstance(model, DualEncoder)
        yield model.motion
        yield from model.heads.values()

    def collate(self, rows: pa.Table) -> Batch:
        poses, frames = pad_poses(rows["poses"].to_pylist(), self.config.model.motion.max_frames)
        batch: Batch = {"poses": poses, "frames": frames, "text": rows["text"].to_pylist()}
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
        objectives = self.config.model.objectives
        motion = gather(model.embed_motion(batch["poses"], batch["frames"]))
        transcript = gather(model.embed_text(batch["text"]))
        same = _same(gather(batch["text_key"]))
        parts = {"transcript": info_nce(motion, transcript, model.scale, same)}
        total = objectives.transcript * parts["transcript"]
        for name, anchored in (("form", motion), ("intent", transcript)):
            weight = getattr(objectives, name)
            if weight:
                supervision = gather(model.embed_text(batch[name], name))
                parts[name] = info_nce(
                    anchored,
                    supervision,
                    model.scale,
                    _same(gather(batch[f"{name}_key"])),
                    gather(batch[f"{name}_weight"]),
                )
                total = total + weight * parts[name]
        return total, parts


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


def _add_texts(batch: Batch, name: str, texts: Sequence[str | None]) -> None:
    batch[name] = [text or "" for text in texts]
    batch[f"{name}_key"] = _keys(batch[name])
    batch[f"{name}_weight"] = torch.tensor([float(bool(text)) for text in texts])


def _keys(texts: Sequence[str]) -> Tensor:
    """One number a text (B,), equal for equal texts: what ranks exchange in place of strings."""
    return torch.tensor([zlib.crc32(text.casefold().encode()) for text in texts])


def _same(keys: Tensor) -> Tensor:
    return keys[:, None] == keys[None, :]
