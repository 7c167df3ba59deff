"""A stream of tokens: one part of the body to codes and back.

Patches of frames, convolutions over them, residual vector quantization (Lee et al. 2022; MoMask,
Guo et al. 2024), and back.

Shapes: B batch, T frames, K tokens (T / frames_per_token), N patches, Q quantizer levels,
J joints of the part, C channels, D width of a code, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.parts import Frames, Part, PartFrames
from gestray.tokenizers.quantizer import BEAM, Quantizer
from gestray.training.distributed import from_rank_zero, gather


class Stream(nn.Module):
    """Encoder, quantizer and decoder of one part.

    A token's frames are folded into one patch; the convolutions run at the rate
    of the tokens. The encoder starts as the principal components of the patches and
    the decoder as their inverse (residual blocks start at zero), the codebooks with
    k-means, so training refines a good linear code instead of finding one.
    """

    def __init__(self, part: Part, config: TokenizerConfig) -> None:
        super().__init__()
        self.part = part
        self.frames_per_token = config.frames_per_token
        patch, width = part.channels * config.frames_per_token, config.width
        self.weights: Tensor  # of the features (C,): kept with the model, whose scale they are
        self.register_buffer("weights", part.weights())

        self.from_patch = nn.Linear(patch, width)
        self.encoder = Blocks(width, config.depth, config.causal)
        self.to_code = nn.Linear(width, config.code_dim)
        self.quantizer = Quantizer(
            dim=config.code_dim,
            levels=config.quantizers,
            size=config.codebook_size,
            decay=config.ema_decay,
            dead_below=config.dead_below,
            dropout=config.quantizer_dropout,
        )
        self.from_code = nn.Linear(config.code_dim, width)
        self.decoder = Blocks(width, config.depth, config.causal)
        self.to_patch = nn.Linear(width, patch)

    def forward(self, recorded: Frames, step: int) -> tuple[PartFrames, Tensor, Tensor]:
        """The part rebuilt, codes (B, K, Q), commitment loss."""
        latent_BKD = self._latent(self._patches(recorded))
        quantized_BKD, codes, commitment = self.quantizer(latent_BKD, step)
        return self.frames(quantized_BKD), codes, commitment

    @torch.no_grad()
    def start(self, recorded: Sequence[Frames]) -> None:
        """Set the layers and the codebooks from batches of all ranks."""
        # Batch by batch, so that their order is the same for any number of ranks.
        patches_NC = torch.cat(
            [gather(self._patches(frames).flatten(0, 1).contiguous()) for frames in recorded]
        )
        mean_C = patches_NC.mean(0)
        components_RC = torch.linalg.svd(patches_NC - mean_C, full_matrices=False).Vh
        mean_C, components_RC = from_rank_zero(mean_C), from_rank_zero(components_RC)
        rank = min(len(components_RC), self.from_patch.out_features)
        self.from_patch.weight[:rank] = components_RC[:rank]
        self.from_patch.bias.copy_(-self.from_patch.weight @ mean_C)
        self.to_patch.weight[:, :rank] = components_RC[:rank].T
        self.to_patch.bias.copy_(mean_C)
        for layer in (self.to_code, self.from_code):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.quantizer.start(self._latent(patches_NC[None])[0], len(recorded))

    def features(self, recorded: Frames) -> Tensor:
        """The part's features (B, T, C), weighted: distances are about those between postures."""
        return self.part.features(recorded) * self.weights

    def encode(self, features_BTC: Tensor, beam: int = BEAM) -> Tensor:
        """Codes (B, K, Q) of weighted features."""
        return self.quantizer.encode(self._latent(self._folded(features_BTC)), beam)

    def _patches(self, recorded: Frames) -> Tensor:
        return self._folded(self.features(recorded))

    def _folded(self, features_BTC: Tensor) -> Tensor:
        return features_BTC.unflatten(1, (-1, self.frames_per_token)).flatten(-2)

    def _latent(self, patches_BKC: Tensor) -> Tensor:
        return self.to_code(self.encoder(self.from_patch(patches_BKC)))

    def frames(self, quantized_BKD: Tensor, asked: slice = slice(None)) -> PartFrames:
        """The part of codebook vectors (B, K, D), of the tokens asked for."""
        patches_BKC = self.to_patch(self.decoder(self.from_code(quantized_BKD))[:, asked])
        features_BTC = patches_BKC.unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2)
        return self.part.frames(features_BTC.float() / self.weights)


class Blocks(nn.Sequential):
    """Residual blocks of dilated convolutions over tokens (B, K, C), dilations 1, 3, 9, …"""

    def __init__(self, width: int, depth: int, causal: bool) -> None:
        super().__init__(*[_Block(width, 3**level, causal) for level in range(depth)])

    @staticmethod
    def reach(depth: int) -> int:
        """Tokens that causal blocks look back on."""
        return sum(2 * 3**level for level in range(depth))


class _Block(nn.Module):
    """A dilated and a pointwise convolution around which its input goes on unchanged.

    Where causal, the padding is all on the left: a token sees itself and the past.
    """

    def __init__(self, width: int, dilation: int, causal: bool) -> None:
        super().__init__()
        self.padding = (2 * dilation, 0) if causal else (dilation, dilation)
        self.dilated = nn.Conv1d(width, width, 3, dilation=dilation)
        self.last = nn.Conv1d(width, width, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x_BKC: Tensor) -> Tensor:
        x_BCK = functional.pad(functional.silu(x_BKC.transpose(1, 2)), self.padding)
        return x_BKC + self.last(functional.silu(self.dilated(x_BCK))).transpose(1, 2)
