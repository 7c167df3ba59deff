"""SemGes (Liu et al. 2025): fusion of speech, speaker and text, and what it learns from.

Speech, speaker and the past attend to themselves and to the text, and the fused tokens become
codes of body and hands. The three losses of the paper:

- *Coherence*: what is said lies where the frozen motion encoder puts what was done. The published
  loss is their cosine, token by token. As most of the talk goes with no gesture, that teaches the
  mean of all motion: what was said found motion of the same meaning hardly more often than chance.
  So here what is said with a gesture is contrasted with all gestures of the batch.
- *Quantization consistency*: codes of the fused tokens are those of the motion. As a choice among
  codes this is a cross-entropy; the vectors of the codes are compared as well, as in the paper.
- *Relevance*: Huber's loss between motions, each frame weighted by the annotators' score. The
  published code computes it from decoded codes, which have no gradient, so it teaches nothing.
  Here the motion is that of the chosen codes, and its gradient that of their probabilities
  (straight through; Bengio et al. 2013): what is judged is what would be played, and the
  judgement arrives. A soft mixture of codes in its place would be judged for a blur that is
  never played.

What coherence and relevance teach is used as well, which the paper does not do: relevance foretells
*when* something is meant (a gate, as SemTalk has it), and there the motion is looked up that lies
nearest to what is said, among the gestures of training (`gestray.generators.gesture_memory`).
Without either of them there is no telling which or when, and all motion is the network's.

Shapes: see `gestray.generators.heard`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.encoders.objectives.contrastive import cosines, info_nce
from gestray.generators.codebooks import Codebooks
from gestray.generators.config import SemGesConfig, TrainedGenerator
from gestray.generators.dropout import Dropout
from gestray.generators.gate import Gate, gate_accuracy, gate_loss
from gestray.generators.gesture_memory import GESTURING, Cue, GestureMemory, Recall, cue_of
from gestray.generators.graphs import Graphs
from gestray.generators.heard import HeardAndDone, Window
from gestray.generators.layers import Blocks, CodeHeads, with_preparation
from gestray.generators.network import Answer, Lesson, Noise
from gestray.training.distributed import gather

TEMPERATURE = 0.1
"""Of coherence."""

# Of the usual spread, what directions without any are given.
_LEAST = 0.02
_TERMS = ("quantization", "coherence", "relevance")


class Coherence(nn.Module):
    """One space for what is said and what is done: that of motion, with its mean taken off and as
    much spread in every direction.

    Most of what motion varies by says nothing about meaning: how high the arms rest, where the
    trunk leans. A cosine of vectors as they are would hear of little else.
    """

    mean: Tensor
    whiten: Tensor

    def __init__(self, word_width: int, parts: list[int], dim: int, dropout: float) -> None:
        super().__init__()
        self.parts, self.width = parts, len(parts) * dim
        self.of_words = nn.Sequential(Dropout(dropout), nn.Linear(word_width, self.width))
        self.scale = word_width**0.5  # cues are of length 1, words have a mean square of 1
        self.register_buffer("mean", torch.zeros(len(parts), dim))
        self.register_buffer("whiten", torch.eye(dim).repeat(len(parts), 1, 1))

    def said(self, cue: Cue) -> Cue:
        """Where the words of a cue lie (B, K, C)."""
        return cue.by(self.of_words(cue.told * self.scale))

    def done(self, vectors: Tensor) -> Tensor:
        """Where motion lies (..., C), of its vectors (..., P, D) of all parts."""
        apart = vectors[..., self.parts, :] - self.mean
        apart = torch.einsum("...pd,pde->...pe", apart, self.whiten)
        return apart.flatten(-2)

    def loss(self, said_BC: Tensor, done_BC: Tensor, there_B: Tensor) -> Tensor:
        """InfoNCE of what is said and done, of all ranks, where there is a gesture; else 0."""
        said, done = (gather(functional.normalize(x, dim=-1)) for x in (said_BC, done_BC))
        there = gather(there_B.to(said.dtype))
        scale = said.new_tensor(1 / TEMPERATURE)
        return info_nce(cosines(said, done), len(said), scale, weight=there)

    @torch.no_grad()
    def start(self, vectors_NPD: Tensor) -> None:
        """Learn mean and spread of these vectors of all parts, of all ranks."""
        vectors_NPD = vectors_NPD[:, self.parts]
        count = gather(vectors_NPD.new_tensor([len(vectors_NPD)])).sum()
        mean_PD = gather(vectors_NPD.sum(0, keepdim=True)).sum(0) / count
        apart_NPD = (vectors_NPD - mean_PD).double()
        spread_PDD = torch.einsum("npd,npe->pde", apart_NPD, apart_NPD)
        spread_PDD = gather(spread_PDD[None]).sum(0) / count
        usual_P = spread_PDD.diagonal(dim1=1, dim2=2).mean(1)
        spread_PDD += _LEAST * usual_P[:, None, None] * torch.eye(spread_PDD.shape[1]).to(usual_P)
        values_PD, axes_PDD = torch.linalg.eigh(spread_PDD)
        self.mean.copy_(mean_PD)
        self.whiten.copy_(axes_PDD * values_PD.rsqrt()[:, None])


class SemGes(nn.Module):
    """The network: see the module."""

    def __init__(self, config: TrainedGenerator, speech_width: int, tokens: int) -> None:
        super().__init__()
        generator, tokenizer = config.generator, config.tokenizer
        assert isinstance(generator.method, SemGesConfig)
        self.method = generator.method
        width, parts = generator.width, len(tokenizer.parts)
        sizes = (tokens, width, generator.heads, generator.dropout)
        self.heard = HeardAndDone(config, speech_width)
        self.text = Blocks(max(1, self.method.layers // 2), *sizes)
        self.fusion = Blocks(self.method.layers, *sizes, crosses=True)
        self.to_parts = nn.Linear(width, parts * width)
        self.heads = CodeHeads(
            parts, tokenizer.quantizers, tokenizer.codebook_size, tokenizer.code_dim, width
        )
        self.lead, _ = self.method.around(tokenizer.frames_per_token)
        gesturing = [n for n, name in enumerate(tokenizer.parts) if name in GESTURING]
        self.coherence: Coherence | None = None
        if self.method.coherence and gesturing:
            self.coherence = Coherence(
                self.heard.words.width, gesturing, tokenizer.code_dim, generator.dropout
            )
        self.gate = Gate(config, speech_width, tokens) if self.method.relevance else None
        self.memory: GestureMemory | None = None
        if self.coherence is not None and self.gate is not None and self.method.remembers:
            self.memory = GestureMemory(config, self.coherence.width)

    def forward(self, window: Window) -> Tensor:
        """Fused tokens of each part (B, K, P, W)."""
        heard = self.heard
        text_BKW = self.text(heard.text(window))
        fused_BKW = heard.speech(window) + heard.speaker(window) + heard.past(window)
        fused_BKW = self.fusion(fused_BKW, text_BKW)
        return self.to_parts(fused_BKW).unflatten(-1, (len(self.heads.inner), -1))

    def answer(
        self, window: Window, first: int, last: int, books: Codebooks, noise: Noise, run: Graphs
    ) -> Answer:
        hidden_BKPW, meaning_BK, cue = run(self._heard, window, first, last)
        recall = None
        if self.memory is not None and cue is not None:
            recall = Recall(self.memory, cue, books, run)
        before_BPD, moved = window.before(first), []
        for number, chance in enumerate(noise.of_tokens()):
            given = before_BPD, books, *chance
            _, vectors = run(self.heads.draw, hidden_BKPW[:, number], *given)
            if recall is not None:
                vectors = recall(number, before_BPD, chance[0], vectors)
            before_BPD = vectors
            moved.append(vectors)
        return Answer(torch.stack(moved, dim=1), meaning_BK)

    def _heard(
        self, window: Window, first: int, last: int
    ) -> tuple[Tensor, Tensor | None, Cue | None]:
        """Of the tokens `first` to `last`, exclusive: the fused tokens of each part
        (B, asked, P, W), how much each means (B, asked), and what its gesture is looked up by.
        """
        asked, cue, meaning_BK = slice(first, last), None, self.gate_of(window)
        if self.coherence is not None and meaning_BK is not None:
            leads_BK = with_preparation(meaning_BK, self.lead) > self.method.threshold
            words_BKC = self.heard.word_vectors(window)
            cue = self.coherence.said(cue_of(words_BKC, meaning_BK, leads_BK, self.lead)[:, asked])
        of_asked = None if meaning_BK is None else meaning_BK[:, asked]
        return self(window)[:, asked], of_asked, cue

    def losses(self, window: Window, lesson: Lesson) -> dict[str, Tensor]:
        method, hidden_BKPW = self.method, self(window)[:, lesson.asked]
        found = {"codes": self.heads.loss(hidden_BKPW, lesson)}
        chosen_BKPD = self.heads.likeliest(hidden_BKPW, lesson.before, lesson.books)
        wanted_BKPD = lesson.vectors
        error = (chosen_BKPD - wanted_BKPD).square().mean() / wanted_BKPD.var()
        found["quantization"] = found["codes"] + error
        if self.coherence is not None:
            found["coherence"] = self._coherence(self.coherence, window, lesson)
        if method.relevance:
            score_BT = lesson.score
            # Without labels, every frame counts alike.
            weight_BT = torch.where(score_BT < 0, 1.0, score_BT.clamp(min=method.plain_relevance))
            found["relevance"] = (lesson.motion_error(chosen_BKPD) * weight_BT).mean()
        found["loss"] = sum(
            (getattr(method, name) * found[name] for name in _TERMS if name in found),
            start=hidden_BKPW.new_zeros(()),
        )
        if self.gate is not None:
            gate_BK, known_BK = self.gate(window), (lesson.means >= 0).float()
            means_BK = lesson.means.clamp(min=0).float()
            weight_BK = (1 + method.meant_weight * means_BK) * known_BK
            found["gate"] = gate_loss(gate_BK, means_BK, weight_BK)
            found["gate_accuracy"] = gate_accuracy(gate_BK.sigmoid(), means_BK, known_BK)
            found["loss"] = found["loss"] + found["gate"]
        return found

    def gate_of(self, window: Window) -> Tensor | None:
        return None if self.gate is None else self.gate(window).sigmoid()

    def told_of(self, words: Tensor, motion: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        assert self.coherence is not None
        return self.coherence.done(motion), means

    def _coherence(self, coherence: Coherence, window: Window, lesson: Lesson) -> Tensor:
        """Of the latest moment of each window with a gesture."""
        words_BKC = self.heard.word_vectors(window)
        # What no annotator has looked at is told by any words.
        spoken_BK = (words_BKC != 0).any(-1)
        means_BK = torch.where(lesson.means >= 0, lesson.means, spoken_BK.long()).float()
        leads_BK = with_preparation(means_BK, self.lead) > self.method.threshold
        done_BKC = coherence.done(lesson.motion)
        done = cue_of(done_BKC, means_BK, leads_BK, self.lead)[:, lesson.asked]
        words = cue_of(words_BKC, means_BK, leads_BK, self.lead)[:, lesson.asked]
        known_BK = done.meant & (words.told != 0).any(-1) & (done.told != 0).any(-1)
        token = torch.arange(known_BK.shape[1], device=known_BK.device)
        latest_B = (known_BK * (1 + token)).argmax(1)
        window_B = torch.arange(len(latest_B), device=latest_B.device)
        said_BKC = coherence.said(words).told
        return coherence.loss(
            said_BKC[window_B, latest_B], done.told[window_B, latest_B], known_BK.any(1)
        )
