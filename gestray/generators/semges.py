"""SemGes (Liu et al. 2025): fusion of speech, speaker and text, and what it learns from.

Speech, speaker and the past attend to themselves and to the text, and the fused tokens become
codes of body and hands. The three losses of the paper:

- *Coherence*: the text's tokens lie where the frozen motion encoder puts what was done.
- *Quantization consistency*: codes of the fused tokens are those of the motion. As a choice among
  codes this is a cross-entropy; the vectors of the codes are compared as well, as in the paper.
- *Relevance*: Huber's loss between motions, each frame weighted by the annotators' score. The
  published code computes it from decoded codes, which have no gradient, so it teaches nothing.
  Here the motion is that of the chosen codes, and its gradient that of their probabilities
  (straight through; Bengio et al. 2013): what is judged is what would be played, and the
  judgement arrives. A soft mixture of codes in its place would be judged for a blur that is
  never played.

Shapes: see `gestray.generators.heard`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.config import SemGesConfig, TrainedGenerator
from gestray.generators.heard import Heard, Window
from gestray.generators.layers import Blocks, CodeHeads
from gestray.generators.network import Answer, Lesson, Noise


class SemGes(nn.Module):
    """The network: see the module."""

    def __init__(self, config: TrainedGenerator, speech_width: int, tokens: int) -> None:
        super().__init__()
        generator, tokenizer = config.generator, config.tokenizer
        assert isinstance(generator.method, SemGesConfig)
        self.method = generator.method
        width, parts = generator.width, len(tokenizer.parts)
        sizes = (tokens, width, generator.heads, generator.dropout)
        self.heard = Heard(config, speech_width)
        self.text = Blocks(max(1, self.method.layers // 2), *sizes)
        self.fusion = Blocks(self.method.layers, *sizes, crosses=True)
        self.to_parts = nn.Linear(width, parts * width)
        self.heads = CodeHeads(
            parts, tokenizer.quantizers, tokenizer.codebook_size, tokenizer.code_dim, width
        )
        self.to_motion = nn.Linear(width, parts * tokenizer.code_dim)

    def forward(self, window: Window) -> tuple[Tensor, Tensor]:
        """Fused tokens of each part (B, K, P, W), and the text's (B, K, W)."""
        heard = self.heard
        text_BKW = self.text(heard.text(window))
        fused_BKW = heard.speech(window) + heard.speaker(window) + heard.past(window)
        fused_BKW = self.fusion(fused_BKW, text_BKW)
        parts = len(self.heads.inner)
        return self.to_parts(fused_BKW).unflatten(-1, (parts, -1)), text_BKW

    def answer(self, window: Window, first: int, last: int, books: Tensor, noise: Noise) -> Answer:
        hidden_BKPW, _ = self(window)
        before_BPD, codes = window.before(first), []
        for token, chance in zip(range(first, last), noise.of_tokens(), strict=True):
            drawn, before_BPD = self.heads.draw(hidden_BKPW[:, token], before_BPD, books, *chance)
            codes.append(drawn)
        return Answer(torch.stack(codes, dim=1))

    def losses(self, window: Window, lesson: Lesson) -> dict[str, Tensor]:
        hidden_BKPW, text_BKW = (x[:, lesson.asked] for x in self(window))
        found = {"codes": self.heads.loss(hidden_BKPW, lesson)}
        chosen_BKPD = self.heads.likeliest(hidden_BKPW, lesson.before, lesson.books)
        wanted_BKPD = lesson.vectors
        error = (chosen_BKPD - wanted_BKPD).square().mean() / wanted_BKPD.var()
        found["quantization"] = found["codes"] + error
        if self.method.coherence:
            said = self.to_motion(text_BKW).unflatten(-1, wanted_BKPD.shape[2:])
            apart_BK = (1 - functional.cosine_similarity(said, wanted_BKPD, dim=-1)).sum(-1)
            found["coherence"] = apart_BK.mean()
        if self.method.relevance:
            score_BT = lesson.score
            # Without labels, every frame counts alike.
            weight_BT = torch.where(
                score_BT < 0, 1.0, score_BT.clamp(min=self.method.plain_relevance)
            )
            found["relevance"] = (lesson.motion_error(chosen_BKPD) * weight_BT).mean()
        found["loss"] = sum(
            (getattr(self.method, name) * found[name] for name in _TERMS if name in found),
            start=hidden_BKPW.new_zeros(()),
        )
        return found


_TERMS = ("quantization", "coherence", "relevance")
