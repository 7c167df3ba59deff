"""The semantic gate: how much each moment means, from speech and words alone.

It learns from the labels of takes, and sees neither motion nor speaker, so that it can be carried
to a corpus without labels (SemTalk; Zhang et al. 2025).

Shapes: B batch, K tokens; others see `gestray.generators.heard`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.config import TrainedGenerator
from gestray.generators.heard import Heard, Window
from gestray.generators.layers import Blocks

# Without it the gate learns training's words by heart, and most meanings are said with others:
# of validation's moments with a meaning it found 66 % in place of 73 (docs/generators.md).
_BLURS = 1.0


class Gate(nn.Module):
    """How much each token means, from speech and words: logits (B, K)."""

    def __init__(self, config: TrainedGenerator, speech_width: int, tokens: int) -> None:
        super().__init__()
        generator = config.generator
        width = generator.width
        self.heard = Heard(config, speech_width, blurs=_BLURS)
        self.blocks = Blocks(1, tokens, width, generator.heads, generator.dropout)
        self.score = nn.Linear(width, 1)

    def forward(self, window: Window) -> Tensor:
        tokens_BKW = self.heard.speech(window) + self.heard.text(window)
        return self.score(self.blocks(tokens_BKW))[..., 0]


def gate_loss(gate_BK: Tensor, means_BK: Tensor, weight_BK: Tensor) -> Tensor:
    """Cross-entropy of logits against how much tokens mean; 0 where none has a weight."""
    lost = functional.binary_cross_entropy_with_logits(
        gate_BK, means_BK, weight_BK, reduction="sum"
    )
    return lost / weight_BK.sum().clamp(min=1e-6)


def gate_accuracy(meaning_BK: Tensor, means_BK: Tensor, known_BK: Tensor) -> Tensor:
    """Share of the tokens known of which the gate, as a share, is right."""
    right_BK = ((meaning_BK > 0.5) == (means_BK > 0.5)).float() * known_BK
    return right_BK.sum() / known_BK.sum().clamp(min=1)
