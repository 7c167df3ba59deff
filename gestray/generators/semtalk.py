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
from gestray.generators.gesture_memory import GESTURING, GestureMemory, Recall, cue_of
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
        base: motion that follows rhythm (B, K, P, W).
        sparse: the same with what is meant, of the tokens asked for alone (B, asked, P, W).
        gate: logits of how much each token means (B, K).
        meaning: how much each means (B, K).
        leads: how much each means or leads to (B, K): see `SemTalkConfig.preparation_s`.
        rhythm: of speech (B, K, W).
        words: vectors of the words said (B, K, C).
    """

    base: Tensor
    sparse: Tensor
    gate: Tensor
    meaning: Tensor
    leads: Tensor
    rhythm: Tensor
    words: Tensor


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

    def forward(self, window: Window, random_BK: Tensor, asked: slice) -> Moves:
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
        share = leads_BK[:, asked, None, None] if self.method.weighs_features else 0.5
        words_BKC = heard.word_vectors(window)
        words_BKW = self.meaning(body_BKW + heard.text(window, words_BKC))[:, asked]
        asked_BKPW = base_BKPW[:, asked]
        sparse_BKPW = asked_BKPW + self.mix(
            share * words_BKW[:, :, None] + (1 - share) * asked_BKPW
        )
        return Moves(base_BKPW, sparse_BKPW, gate_BK, meaning_BK, leads_BK, rhythm_BKW, words_BKC)

    def answer(
        self, window: Window, first: int, last: int, books: Codebooks, noise: Noise
    ) -> Answer:
        random_BK = functional.pad(noise.gate, (first, len(window.known[0]) - last))
        asked = slice(first, last)
        moves = self(window, random_BK, asked)
        takes_BK = moves.leads > self.method.threshold
        recall = None
        if self.memory is not None:
            counts_BK = self._counts(moves.meaning)
            cue = cue_of(moves.words, counts_BK, takes_BK, self.lead)
            recall = Recall(self.memory, cue[:, asked])
        before_BPD, moved = window.before(first), []
        for number, chance in enumerate(noise.of_tokens()):
            token, given = first + number, (before_BPD, books, *chance)
            codes, vectors = self.base_heads.draw(moves.base[:, token], *given)
            takes_B11 = takes_BK[:, token, None, None]
            if takes_B11.any():
                meant, meant_vectors = self.sparse_heads.draw(moves.sparse[:, number], *given)
                codes = torch.where(takes_B11, meant, codes)
                vectors = torch.where(takes_B11, meant_vectors, vectors)
            if recall is not None:
                recalled = recall(number, before_BPD, chance[0], codes)
                if recalled is not codes:
                    vectors = books.sums(recalled)
            before_BPD = vectors
            moved.append(vectors)
        return Answer(torch.stack(moved, dim=1), moves.meaning[:, asked])

    def losses(self, window: Window, lesson: Lesson) -> dict[str, Tensor]:
        method, asked = self.method, lesson.asked
        random_BK = torch.rand(window.known.shape, device=window.known.device)
        moves = self(window, random_BK, asked)
        known_BK = (lesson.means >= 0).float()
        # What no annotator has looked at means as much as the gate says.
        means_BK = torch.where(lesson.means >= 0, lesson.means.float(), moves.meaning)
        found = {"base": self.base_heads.loss(moves.base[:, asked], lesson)}
        sparse_BK = None
        if method.weighs_losses:
            sparse_BK = 1 + method.meant_weight * with_preparation(means_BK, self.lead)[:, asked]
        found["sparse"] = self.sparse_heads.loss(moves.sparse, lesson, sparse_BK)
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
