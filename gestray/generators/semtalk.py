"""SemTalk (Zhang et al. 2025): motion that follows rhythm, motion that means something, a gate.

*Base motion* hears rhythm: speech, speaker and past. Its parts take turns, coarse to fine: the
face first, and each part attends to the one before it (face → hands → upper → lower). Its tokens
are contrasted with the rhythm's, in their own clip (local) and as clips (global).

*The gate* says of each token how much it means, from speech and words alone, so that it can be
carried to a corpus without labels, or to other parts. *Sparse motion* hears words too; where the
gate is sure, its codes take the place of the base's. Hands set off before what they mean, and which
gesture it will be shows there: tokens that lead to a meaning are the sparse motion's as well. Which
one it is, is looked up among those of training (`gestray.generators.gesture_memory`).

The paper leaves open what "without a gate" does: here, all motion is then the sparse one.

Shapes: see `gestray.generators.heard`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.codebooks import Codebooks
from gestray.generators.config import SemTalkConfig, TrainedGenerator
from gestray.generators.gate import Gate, gate_accuracy, gate_loss
from gestray.generators.gesture_memory import GESTURING, Cue, GestureMemory, Recall, cue_of
from gestray.generators.graphs import Graphs
from gestray.generators.heard import HeardAndDone, Window
from gestray.generators.layers import Blocks, CodeHeads, with_preparation
from gestray.generators.network import Answer, Lesson, Noise
from gestray.training.distributed import gather

TEMPERATURE = 0.1
"""Of rhythm consistency."""

# Which part takes its turn after which; parts that are not listed come last, in their order.
_TURNS = ("face", "hands", "upper", "lower")


@dataclass(frozen=True)
class Moves:
    """What is made of a window.

    Args:
        body: what is heard of rhythm, of whom, and what was done (B, K, W).
        base: motion that follows rhythm (B, K, P, W).
        gate: logits of how much each token means (B, K).
        meaning: how much each means (B, K).
        leads: how much each means or leads to (B, K): see `SemTalkConfig.preparation_s`.
        rhythm: of speech (B, K, W).
    """

    body: Tensor
    base: Tensor
    gate: Tensor
    meaning: Tensor
    leads: Tensor
    rhythm: Tensor


class SemTalk(nn.Module):
    """The network: see the module."""

    def __init__(self, config: TrainedGenerator, speech_width: int, tokens: int) -> None:
        super().__init__()
        generator, tokenizer = config.generator, config.tokenizer
        assert isinstance(generator.method, SemTalkConfig)
        self.method = generator.method
        width, layers, parts = generator.width, self.method.layers, tokenizer.parts
        self.lead, _ = self.method.around(tokenizer.frames_per_token)
        sizes = (tokens, width, generator.heads, generator.dropout)
        self.turns = sorted(
            range(len(parts)),
            key=lambda p: _TURNS.index(parts[p]) if parts[p] in _TURNS else len(_TURNS),
        )
        self.heard = HeardAndDone(config, speech_width)
        self.rhythm = Blocks(layers, *sizes)
        self.base = nn.ModuleList(
            Blocks(layers, *sizes, crosses=turn > 0) for turn in range(len(parts))
        )
        # Ranks wait for the gradient of every parameter there is.
        contrasted = 2 if self.method.rhythm else 0
        self.contrast = nn.ModuleList(nn.Linear(width, width) for _ in range(contrasted))
        self.gate = Gate(config, speech_width, tokens)
        self.meaning = Blocks(layers + 1, *sizes)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        codes = (tokenizer.quantizers, tokenizer.codebook_size, tokenizer.code_dim, width)
        self.base_heads = CodeHeads(len(parts), *codes)
        self.sparse_heads = CodeHeads(len(parts), *codes)
        self.memory: GestureMemory | None = None
        if self.method.remembers and any(name in GESTURING for name in parts):
            self.memory = GestureMemory(config, self.heard.words.width)

    def forward(self, window: Window, random_BK: Tensor) -> Moves:
        heard = self.heard
        rhythm_BKW = self.rhythm(heard.speech(window))
        body_BKW = rhythm_BKW + heard.speaker(window) + heard.past(window)
        found: dict[int, Tensor] = {}
        before: Tensor | None = None
        for part, blocks in zip(self.turns, self.base, strict=True):
            before = found[part] = blocks(body_BKW, before)
        base_BKPW = torch.stack([found[part] for part in range(len(found))], dim=2)

        gate_BK = self.gate(window)
        # The gate learns from labels alone: motion must not talk it into anything.
        if self.method.gate == "learnt":
            meaning_BK = gate_BK.detach().sigmoid()
            leads_BK = with_preparation(meaning_BK, self.lead)
        elif self.method.gate == "random":
            meaning_BK = leads_BK = random_BK
        else:
            meaning_BK = leads_BK = torch.ones_like(gate_BK)
        return Moves(body_BKW, base_BKPW, gate_BK, meaning_BK, leads_BK, rhythm_BKW)

    def sparse(self, window: Window, moves: Moves, first: int, last: int) -> Tensor:
        """Base motion of the tokens `first` to `last`, exclusive, with what is meant
        (B, asked, P, W).
        """
        asked = slice(first, last)
        base_BKPW = moves.base[:, asked]
        share = moves.leads[:, asked, None, None] if self.method.weighs_features else 0.5
        words_BKW = self.meaning(moves.body + self.heard.text(window))[:, asked]
        return base_BKPW + self.mix(share * words_BKW[:, :, None] + (1 - share) * base_BKPW)

    def answer(
        self, window: Window, first: int, last: int, books: Codebooks, noise: Noise, run: Graphs
    ) -> Answer:
        moves, cue = run(self._heard, window, noise.gate, first, last)
        recall = None if self.memory is None else Recall(self.memory, cue, books, run)
        # Base and sparse motion are drawn where some row takes them.
        takes_BK = cue.meant
        base = (~takes_BK).any(0).tolist() if not run.traces else [True] * (last - first)
        sparse = takes_BK.any(0).tolist() if not run.traces else base
        if any(sparse):
            sparse_BKPW = run(self.sparse, window, moves, first, last)
        before_BPD, moved = window.before(first), []
        for number, chance in enumerate(noise.of_tokens()):
            given, found = (before_BPD, books, *chance), []
            if sparse[number]:
                found.append(run(self.sparse_heads.draw, sparse_BKPW[:, number], *given))
            if base[number]:
                found.append(run(self.base_heads.draw, moves.base[:, first + number], *given))
            vectors = found[0][1]
            if len(found) == 2:
                vectors = torch.where(takes_BK[:, number, None, None], vectors, found[1][1])
            if recall is not None:
                vectors = recall(number, before_BPD, chance[0], vectors)
            before_BPD = vectors
            moved.append(vectors)
        return Answer(torch.stack(moved, dim=1), moves.meaning[:, first:last])

    def _heard(self, window: Window, random: Tensor, first: int, last: int) -> tuple[Moves, Cue]:
        """What is made of a window, and what gestures of the tokens `first` to `last`, exclusive,
        are looked up by; `random` is of these (B, asked).
        """
        moves = self(window, functional.pad(random, (first, window.known.shape[1] - last)))
        words_BKC, takes_BK = self.heard.word_vectors(window), moves.leads > self.method.threshold
        cue = cue_of(words_BKC, self._counts(moves.meaning), takes_BK, self.lead)
        return moves, cue[:, first:last]

    def losses(self, window: Window, lesson: Lesson) -> dict[str, Tensor]:
        method, asked = self.method, lesson.asked
        random_BK = torch.rand(window.known.shape, device=window.known.device)
        moves = self(window, random_BK)
        known_BK = (lesson.means >= 0).float()
        # What no annotator has looked at means as much as the gate says.
        means_BK = torch.where(lesson.means >= 0, lesson.means.float(), moves.meaning)
        found = {"base": self.base_heads.loss(moves.base[:, asked], lesson)}
        sparse_BK = None
        if method.weighs_losses:
            sparse_BK = 1 + method.meant_weight * with_preparation(means_BK, self.lead)[:, asked]
        meant_BKPW = self.sparse(window, moves, asked.start, asked.stop)
        found["sparse"] = self.sparse_heads.loss(meant_BKPW, lesson, sparse_BK)
        weight_BK = known_BK
        if method.weighs_losses:
            weight_BK = (1 + method.meant_weight * means_BK) * known_BK
        found["gate"] = gate_loss(moves.gate, means_BK, weight_BK)
        if method.rhythm:
            found["rhythm"] = self._rhythm(moves.base, moves.rhythm)
        found["loss"] = found["base"] + found["sparse"] + method.gate_loss * found["gate"]
        if "rhythm" in found:
            found["loss"] = found["loss"] + method.rhythm * found["rhythm"]
        found["gate_accuracy"] = gate_accuracy(moves.meaning, means_BK, known_BK)
        return found

    def gate_of(self, window: Window) -> Tensor | None:
        return self.gate(window).sigmoid() if self.method.gate == "learnt" else None

    def told_of(self, words: Tensor, motion: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        return words, self._counts(means)

    def _counts(self, meaning: Tensor) -> Tensor:
        """How much the words of each token count where gestures are looked up."""
        return meaning if self.method.weighs_features else torch.ones_like(meaning)

    def _rhythm(self, base_BKPW: Tensor, rhythm_BKW: Tensor) -> Tensor:
        """InfoNCE of motion against rhythm: tokens within their clip, and clips in the batch."""
        moves, sounds = (
            functional.normalize(to(x), dim=-1)
            for to, x in zip(self.contrast, (base_BKPW.mean(2), rhythm_BKW), strict=True)
        )
        near_BKK = moves @ sounds.transpose(1, 2) / TEMPERATURE
        tokens = torch.arange(near_BKK.shape[1], device=moves.device)
        local = functional.cross_entropy(near_BKK.flatten(0, 1), tokens.repeat(len(moves)))
        clips = [functional.normalize(gather(x.mean(1)), dim=-1) for x in (moves, sounds)]
        near_BB = clips[0] @ clips[1].T / TEMPERATURE
        whole = functional.cross_entropy(near_BB, torch.arange(len(near_BB), device=moves.device))
        return local + whole
