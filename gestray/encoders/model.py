"""The dual encoder: gestures and what is said with them in one space.

`DualEncoder.forward` makes of a batch all that the objectives of its config compare; `embed_*`
make what retrieval uses. Shapes: B batch, T frames, K positions of motion, W words, S samples of
sound, D dimensions of the space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.chunks import Embeddings
from gestray.encoders.config import EncoderConfig, Query
from gestray.encoders.objectives.coupling import window_starts, windows_of
from gestray.encoders.objectives.variational import (
    MotionDecoder,
    divergence,
    draw,
    reconstruction,
)
from gestray.encoders.towers.encoded import Encoded, masked_mean, pool_spans
from gestray.encoders.towers.motion import MotionTower
from gestray.encoders.towers.speech import SpeechTower
from gestray.encoders.towers.text import TextEncoder, TranscriptTower
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, load_pretrained, model_bytes, save_config
from gestray.training.task import Batch


class DualEncoder(nn.Module):
    """The towers and heads that a config asks for."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        asked = config.objectives
        variational = asked.is_variational
        # Where text and speech are concatenated, each has half of a word.
        self.halves = config.query == "text+speech" and config.fusion == "concatenation"
        dim = config.dim // 2 if self.halves else config.dim
        self.motion = MotionTower(config.motion, config.dim, variational)
        kinds = ["form"] * (asked.form > 0) + ["intent"] * (asked.intent > 0)
        self.text = TextEncoder(config.text) if config.reads or kinds else None
        self.kinds = tuple(kinds)
        self.transcript = None
        self.speech = SpeechTower(config.speech, dim) if config.hears else None
        if self.text is not None:
            self.transcript = TranscriptTower(config.text, self.text.width, dim, variational)
        # Says which texts are alike, and so must not learn.
        self.judge = None
        if asked.false_negatives is not None:
            frozen = config.text.model_copy(update={"train": "frozen"})
            same = self.text is not None and config.text.train == "frozen"
            self.judge = self.text if same else TextEncoder(frozen)
        self.decoder = None
        if asked.reconstruction:
            motion = config.motion
            self.decoder = MotionDecoder(
                config.dim, motion.width, motion.layers, motion.heads, motion.feedforward,
                motion.dropout, len(self.motion.position), self.motion.source.width,
            )  # fmt: skip
        log_scale = torch.tensor(-math.log(asked.temperature))
        self.log_scale = nn.Parameter(log_scale, requires_grad=not asked.fixed_temperature)
        self.bias = nn.Parameter(torch.tensor(-10.0)) if asked.contrast == "siglip" else None

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, at most 100 (CLIP's bound)."""
        return self.log_scale.clamp(max=math.log(100)).exp()

    @property
    def device(self) -> torch.device:
        return self.log_scale.device

    def embed_motion(self, poses: Tensor, frames: Tensor) -> Tensor:
        """L2-normalised (B, D) of poses (B, T, 165), axis-angle, `frames` (B,) of them real."""
        return F.normalize(self.motion(poses, frames).pooled, dim=-1)

    def gestures(self, poses: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `embed_motion`; and of the positions (B, K, D), with which of them are real (B, K)."""
        motion = self.motion(poses, frames)
        return _unit(motion.pooled), _unit(motion.steps), motion.real

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised (B, D) of texts: transcripts, and what anchors say, in one way.

        Raises:
            UserError: the method does not read.
        """
        words = [text.split()[: self.config.text.max_tokens] or [""] for text in texts]
        spans = torch.full((len(texts), max(map(len, words)), 2), math.nan, device=self.device)
        counts = torch.tensor([len(found) for found in words], device=self.device)
        batch = {"text": texts, "words": words, "spans": spans, "word_count": counts}
        return self.query(batch, "text").pooled

    def query(self, batch: Mapping[str, Any], query: Query | None = None) -> Encoded:
        """What is said, L2-normalised: phrases and, where the method has them, words.

        Args:
            batch: as `EncoderTask.collate` makes it; of its entries, those about the query.
            query: what to use of it; all that the config's query has, if None.

        Raises:
            UserError: the method lacks a tower that `query` asks for.
        """
        query = query or self.config.query
        text = self._read(batch) if "text" in query else None
        speech = self._hear(batch) if "speech" in query else None
        one = text or speech
        assert one is not None
        if not self.is_by_word:
            return Encoded(_unit(one.pooled), _unit(one.steps), one.real)
        words = _unit(
            self._fused(*(None if found is None else found.steps for found in (text, speech)))
        )
        return Encoded(_unit(masked_mean(words, one.real)), words, one.real)

    def words(self, batch: Mapping[str, Any]) -> Encoded:
        """Of the config's query as `query`, word by word also where it is trained on sentences."""
        if self.is_by_word or self.transcript is None:
            return self.query(batch)
        text = self._read(batch, by_word=True)
        return Encoded(_unit(text.pooled), _unit(text.steps), text.real)

    @property
    def queries(self) -> tuple[Query, ...]:
        """The ways in which the encoder may be asked."""
        query = self.config.query
        return ("text", "speech", "text+speech") if query == "text+speech" else (query,)

    def moments(self, batch: Mapping[str, Any]) -> Tensor:
        """Speech at each position of the motion, L2-normalised (B, K, D)."""
        real = self.motion.real(batch["poses"], batch["frames"])
        return _unit(self._fused(None, self._heard_at(batch, real)))

    def forward(self, batch: Batch) -> Embeddings:
        """All that the objectives compare, one row a sample; embeddings are L2-normalised.

        `motion` is of phrases; `query.0` and, where text and speech are compared by themselves,
        `query.1` of what is said. `words.0` are its words, `word_real` says which of them are no
        padding and `word_spans` when they are said; `steps` are positions of the motion, of which
        `step_real` says the same. `moments`, `sounds` and `starts` are of windows. `form` and
        `intent` are anchors. `reconstruction`, `latent` and `kl` are losses.
        """
        asked = self.config.objectives
        patches = self.motion.patches(batch["poses"], batch["frames"])
        real = self.motion.real(batch["poses"], batch["frames"])
        motion = self.motion.encode(patches, real)
        found: Embeddings = {"motion": _unit(motion.pooled)}
        if asked.is_variational:
            found |= self._variational(batch, motion, patches)
        elif asked.transcript or asked.coupling or asked.intent:
            found |= self._queries(batch, motion)
        if asked.sync:
            found |= self._windows(batch, motion)
        for kind in self.kinds:
            found[kind] = self.embed_text(batch[kind])
        return found

    @property
    def is_by_word(self) -> bool:
        """Whether phrases are made of words one by one, and not of sentences."""
        return self.config.query == "text+speech" or self.config.objectives.coupling > 0

    @property
    def window_positions(self) -> int:
        """Positions of motion that a window of `objectives.sync` has."""
        return max(1, round(self.config.objectives.window_s * self.motion.rate))

    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Sentence embeddings of an untrained text model, L2-normalised (B, E)."""
        assert self.judge is not None
        with torch.no_grad():
            return _unit(self.judge(texts, self.device))

    def _read(self, batch: Mapping[str, Any], by_word: bool = False) -> Encoded:
        if self.transcript is None or self.text is None:
            raise UserError(
                "this encoder does not read: it was trained with model.query=speech; search with "
                "sound, or with an encoder of another method"
            )
        by_word = by_word or self.is_by_word or self.transcript.has_layers
        words, count = (batch["words"], batch["spans"].shape[1]) if by_word else (None, None)
        return self.transcript(self.text, batch["text"], words, count, self.device)

    def _hear(self, batch: Mapping[str, Any]) -> Encoded:
        """Speech, where words are needed averaged over the time of each."""
        if self.speech is None:
            raise UserError(
                "this encoder does not listen: it was trained with model.query=text; search with "
                "words, or train one with model.query=speech or text+speech"
            )
        heard = self.speech(batch["waveform"], batch["samples"])
        if not self.is_by_word:
            return heard
        steps = pool_spans(heard.steps, heard.real, batch["spans"], self.speech.rate)
        real = torch.arange(steps.shape[1], device=steps.device) < batch["word_count"][:, None]
        return Encoded(masked_mean(steps, real), steps, real)

    def _heard_at(self, batch: Mapping[str, Any], real_BK: Tensor) -> Tensor:
        """Speech at each position of motion (B, K, ·)."""
        assert self.speech is not None
        heard = self.speech(batch["waveform"], batch["samples"])
        edges = torch.arange(real_BK.shape[1] + 1, device=real_BK.device) / self.motion.rate
        spans = torch.stack([edges[:-1], edges[1:]], dim=-1).expand(len(real_BK), -1, -1)
        return pool_spans(heard.steps, heard.real, spans, self.speech.rate)

    def _fused(
        self, text: Tensor | None, speech: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """Of each position's text and speech (B, N, ·) one (B, N, D); what is None is not there.

        Args:
            kept: which of the two a sample keeps, 0 or 1 (B, 2).
        """
        if not self.halves:
            found = [_unit(part) for part in (text, speech) if part is not None]
        else:
            some = text if text is not None else speech
            assert some is not None
            found = [torch.zeros_like(some) if part is None else part for part in (text, speech)]
        if kept is not None:
            found = [part * keep[:, None, None] for part, keep in zip(found, kept.T, strict=True)]
        return torch.cat(found, dim=-1) if self.halves else torch.stack(found).sum(0)

    def _queries(self, batch: Batch, motion: Encoded) -> Embeddings:
        """`query`, `words` and `gestures` of each thing that motion is compared with."""
        config, asked = self.config, self.config.objectives
        if not self.is_by_word:
            return {"query.0": self.query(batch).pooled}
        text = self._read(batch) if "text" in config.query else None
        speech = self._hear(batch) if "speech" in config.query else None
        said = [part for part in (text, speech) if part is not None]
        real = said[0].real
        if len(said) == 2 and config.fusion != "pairs":
            kept = self._kept(real) if self.training else None
            words = [self._fused(said[0].steps, said[1].steps, kept)]
        else:
            words = [part.steps for part in said]
        found: Embeddings = {}
        if asked.coupling:
            found = {
                "steps": _unit(motion.steps),
                "step_real": motion.real.float(),
                "word_real": real.float(),
                "word_spans": batch["spans"],
            }
        for number, steps in enumerate(map(_unit, words)):
            found[f"query.{number}"] = _unit(masked_mean(steps, real))
            if asked.coupling:
                found[f"words.{number}"] = steps
        return found

    def _kept(self, real: Tensor) -> Tensor:
        """Modality dropout: which of text and speech each sample trains with (B, 2)."""
        dropped = torch.rand(len(real), device=real.device) < self.config.modality_dropout
        first = torch.rand(len(real), device=real.device) < 0.5
        return 1 - torch.stack([dropped & first, dropped & ~first], dim=1).float()

    def _variational(self, batch: Batch, motion: Encoded, patches: Tensor) -> Embeddings:
        """Latent vectors drawn for both sides, and the losses of TEMOS."""
        text = self._read(batch)
        moved, said = (draw(side) if self.training else side.pooled for side in (motion, text))
        found = {"motion": _unit(moved), "query.0": _unit(said)}
        if self.decoder is not None:
            rebuilt = (self.decoder(latent, motion.real) for latent in (moved, said))
            errors = [reconstruction(one, patches, motion.real) for one in rebuilt]
            found["reconstruction"] = errors[0] + errors[1]
        found["latent"] = F.smooth_l1_loss(moved, said, reduction="none").mean(-1)
        found["kl"] = (
            divergence(text, motion) + divergence(motion, text) + divergence(motion)
        ) + divergence(text)
        return found

    def _windows(self, batch: Batch, motion: Encoded) -> Embeddings:
        """Windows of motion and of speech at the same times."""
        asked = self.config.objectives
        width = self.window_positions
        starts = window_starts(motion.real, width, asked.windows, drawn=self.training)
        heard = self._fused(None, self._heard_at(batch, motion.real))
        return {
            "moments": windows_of(motion.steps, motion.real, starts, width),
            "sounds": windows_of(heard, motion.real, starts, width),
            "starts": starts,
        }

    @classmethod
    def from_folder(cls, folder: Folder) -> DualEncoder:
        """Load a trained encoder, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, EncoderConfig)

    @classmethod
    def from_pretrained(cls, uri: str) -> DualEncoder:
        """Load a trained encoder from a folder or `s3://`: an artifact's, or a saved one."""
        return cls.from_folder(Folder(uri))

    def save_pretrained(self, uri: str, card: str | None = None) -> None:
        """Write weights, config and model card to a folder or `s3://`.

        Args:
            card: Markdown, see `gestray.encoders.card`; one without figures otherwise.
        """
        from gestray.encoders.card import CARD, model_card

        folder = Folder(uri)
        save_config(self.config, folder)
        folder.write_bytes((card or model_card(self.config)).encode(), CARD)
        folder.write_bytes(model_bytes(self), MODEL)


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)
