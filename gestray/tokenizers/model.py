"""The motion tokenizer: motion to discrete tokens and back, one stream a part.

Patches of frames, convolutions over them, residual vector quantization (Lee et
al. 2022; MoMask, Guo et al. 2024), and back. The quantizer is
`vector-quantize-pytorch`'s; only its random draws are replaced, so that they
are the same for any number of workers and after a resume.

Shapes: B batch, T frames, K tokens (T / frames_per_token), Q quantizer levels,
J joints of a part, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from gestray.errors import UserError
from gestray.motion.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_sixd,
    sixd_to_matrix,
)
from gestray.store import Folder
from gestray.tokenizers.config import PART_JOINTS, TokenizerConfig
from gestray.training.checkpoint import load_pretrained
from gestray.training.distributed import from_rank_zero, gather

NUM_JOINTS = 55


@dataclass(frozen=True)
class Reconstruction:
    """What the tokenizer gives back of a motion.

    Args:
        rotations: (B, T, 55, 3, 3); joints of no part are at rest.
        codes: per part (B, K, Q), −1 where a level was dropped.
        commitment: scalar loss.
    """

    rotations: Tensor
    codes: dict[str, Tensor]
    commitment: Tensor


class MotionTokenizer(nn.Module):
    """Streams of tokens for parts of the body; a paper is a `TokenizerConfig`."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.streams = nn.ModuleDict({part: _Stream(part, config) for part in config.parts})

    def forward(self, poses: Tensor, seed: int | None = None) -> Reconstruction:
        """Encode, quantize and decode.

        Args:
            poses: axis-angle (B, T, 165), T a multiple of `frames_per_token`.
            seed: of the quantizer's random draws in training; the same on every rank.
        """
        self._check(poses)
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (NUM_JOINTS, 3)))
        rebuilt = torch.eye(3, device=poses.device, dtype=poses.dtype).expand_as(rotations).clone()
        codes, commitment = {}, poses.new_zeros(())
        for part, stream in self.streams.items():
            joints = list(PART_JOINTS[part])
            sixd, codes[part], stream_commitment = stream(rotations[:, :, joints], seed)
            rebuilt[:, :, joints] = sixd_to_matrix(sixd).to(rebuilt.dtype)
            commitment = commitment + stream_commitment
        return Reconstruction(rebuilt, codes, commitment / len(self.streams))

    @torch.no_grad()
    def encode(self, poses: Tensor) -> dict[str, Tensor]:
        """Codes per part, int64 (B, K, Q), of motion (B, T, 165) of any length.

        A length that is no multiple of `frames_per_token` is filled up by
        holding the last frame.
        """
        self._check(poses, whole_tokens=False)
        missing = -poses.shape[1] % self.config.frames_per_token
        if missing:
            poses = torch.cat([poses, poses[:, -1:].expand(-1, missing, -1)], dim=1)
        was_training = self.training
        codes = self.eval()(poses).codes
        self.train(was_training)
        return codes

    @torch.no_grad()
    def decode(self, codes: dict[str, Tensor]) -> Tensor:
        """Poses, axis-angle (B, T, 165), of codes per part (B, K, Q)."""
        if set(codes) != set(self.streams):
            raise UserError(
                f"codes are for parts {sorted(codes)}, but the tokenizer has {sorted(self.streams)}"
            )
        first = next(iter(codes.values()))
        frames = first.shape[1] * self.config.frames_per_token
        poses = torch.zeros(first.shape[0], frames, NUM_JOINTS, 3, device=first.device)
        for part, stream in self.streams.items():
            assert isinstance(stream, _Stream)
            rotations = sixd_to_matrix(stream.decode(codes[part]))
            poses[:, :, list(PART_JOINTS[part])] = matrix_to_axis_angle(rotations)
        return poses.flatten(-2)

    @classmethod
    def from_folder(cls, folder: Folder) -> MotionTokenizer:
        """Load a trained tokenizer, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, TokenizerConfig)

    def _check(self, poses: Tensor, whole_tokens: bool = True) -> None:
        if poses.ndim != 3 or poses.shape[-1] != NUM_JOINTS * 3:
            raise UserError(f"poses have shape {tuple(poses.shape)}, expected (B, T, 165)")
        step = self.config.frames_per_token
        if poses.shape[1] < step or (whole_tokens and poses.shape[1] % step):
            raise UserError(
                f"poses have {poses.shape[1]} frames, expected "
                f"{'a multiple of' if whole_tokens else 'at least'} {step} (one token)"
            )


class _Stream(nn.Module):
    """Encoder, quantizer and decoder of one part.

    A token's frames are folded into one patch; the convolutions run at the rate
    of the tokens. The encoder starts as the principal components of the first
    global batch and the decoder as their inverse (residual blocks start at
    zero), so training refines a good linear code instead of finding one.
    """

    def __init__(self, part: str, config: TokenizerConfig) -> None:
        super().__init__()
        self.num_joints = len(PART_JOINTS[part])
        self.frames_per_token = config.frames_per_token
        patch, width = self.num_joints * 6 * config.frames_per_token, config.width
        # 6D of the identity: the network sees and predicts deviations from rest.
        rest = matrix_to_sixd(torch.eye(3)).repeat(self.num_joints)
        self.rest: Tensor
        self.register_buffer("rest", rest, persistent=False)
        self.started: Tensor
        self.register_buffer("started", torch.tensor(False))

        self.from_patch = nn.Linear(patch, width)
        self.encoder = _Blocks(width, config.depth)
        self.to_code = nn.Linear(width, config.code_dim)
        self.quantizer = ResidualVQ(
            dim=config.code_dim,
            num_quantizers=config.quantizers,
            codebook_size=config.codebook_size,
            decay=config.ema_decay,
            kmeans_init=True,
            threshold_ema_dead_code=config.dead_below,
            quantize_dropout=config.quantizer_dropout,
            commitment_weight=1.0,
            rotation_trick=False,
        )
        self._draws = _SeededDraws()
        for layer in self.quantizer.layers:
            layer._codebook.sample_fn = self._draws
            layer._codebook.replace_sample_fn = self._draws
        self.from_code = nn.Linear(config.code_dim, width)
        self.decoder = _Blocks(width, config.depth)
        self.to_patch = nn.Linear(width, patch)

    def forward(self, rotations: Tensor, seed: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations (B, T, J, 3, 3) to 6D (B, T, J, 6), codes (B, K, Q), commitment."""
        sixd_BTC = matrix_to_sixd(rotations).flatten(-2) - self.rest
        patches_BKC = sixd_BTC.unflatten(1, (-1, self.frames_per_token)).flatten(-2)
        if self.training and not self.started:
            self._start(patches_BKC.flatten(0, 1))
        latent_BKD = self.to_code(self.encoder(self.from_patch(patches_BKC)))
        self._draws.seed = seed or 0
        quantized_BKD, codes, losses = self.quantizer(
            latent_BKD, rand_quantize_dropout_fixed_seed=seed
        )
        return self._decode(quantized_BKD), codes, losses.sum()

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, Q) to 6D (B, T, J, 6)."""
        return self._decode(self.quantizer.get_output_from_indices(codes))

    def _decode(self, quantized_BKD: Tensor) -> Tensor:
        patches_BKC = self.to_patch(self.decoder(self.from_code(quantized_BKD)))
        sixd_BTC = patches_BKC.unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2)
        return (sixd_BTC + self.rest).unflatten(-1, (self.num_joints, 6))

    @torch.no_grad()
    def _start(self, patches_NC: Tensor) -> None:
        """Set the linear layers to the principal components of all ranks' patches."""
        patches_NC = gather(patches_NC.contiguous())
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
        self.started.fill_(True)


class _Blocks(nn.Sequential):
    """Residual blocks of dilated convolutions over tokens (B, K, C), dilations 1, 3, 9, …"""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(*[_Block(width, 3**level) for level in range(depth)])


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        last = nn.Conv1d(width, width, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(nn.SiLU(), dilated, nn.SiLU(), last)

    def forward(self, x_BKC: Tensor) -> Tensor:
        return x_BKC + self.layers(x_BKC.transpose(1, 2)).transpose(1, 2)


class _SeededDraws:
    """The quantizer's way to draw vectors (k-means start, dead codes), made reproducible.

    Draws from the vectors of the global batch in rank order with a generator
    seeded by the step: the same vectors for any number of workers.
    """

    def __init__(self) -> None:
        self.seed = 0

    def __call__(self, samples: Tensor, num: int) -> Tensor:
        """From vectors (1, N, D) of this rank to (1, num, D) of all ranks."""
        with torch.no_grad():
            pool = gather(samples[0].contiguous())
        generator = torch.Generator().manual_seed(self.seed)
        if len(pool) >= num:
            chosen = torch.randperm(len(pool), generator=generator)[:num]
        else:
            chosen = torch.randint(len(pool), (num,), generator=generator)
        return pool[chosen.to(pool.device)][None]
