"""The motion tower: poses to one vector a phrase, and one every few frames.

Shapes: B batch, T frames, K positions (T / stride), C channels, D dimensions of the shared space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.corpora.take import FPS
from gestray.encoders.config import MotionTowerConfig
from gestray.encoders.towers.encoded import Encoded, Pooling, attend, transformer
from gestray.errors import UserError
from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_sixd
from gestray.motion.skeleton import HANDS, REST_OFFSETS, UPPER, joint
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.model import MotionTokenizer
from gestray.tokenizers.parts import columns_of
from gestray.training.distributed import mean_and_spread

# Gestures live in the upper body and the hands; where the speaker stands or
# faces, and the face, are not part of them.
GESTURE_JOINTS = (*UPPER, *HANDS)

# Where a hand is depends on every joint up to it, which a network would have to multiply out.
_WRISTS = ("left_wrist", "right_wrist")
_ARMS = [(f"left_{part}", f"right_{part}") for part in ("elbow", "shoulder", "collar")]
_SPINE = ("spine3", "spine2", "spine1")

# Rotations, places, and their changes, which are small from frame to frame.
_CHANNELS = 2 * (6 * len(GESTURE_JOINTS) + 3 * len(_WRISTS))
_CHANGE_SCALE = 10.0
# Metres spread less than entries of rotations do.
_PLACE_SCALE = 4.0


class MotionTower(nn.Module):
    """Transformer over patches of motion, or over the tokens of it.

    Padding is zero in what goes in and masked after: how far others in the batch reach does not
    show in an embedding.
    """

    def __init__(self, config: MotionTowerConfig, dim: int, variational: bool = False) -> None:
        super().__init__()
        self.config = config
        tokens = config.input == "tokens"
        self.source = (
            TokenPatches(config) if tokens else FeaturePatches(config.stride, config.every)
        )
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(self.source.width))
        self.register_buffer("spread", torch.ones(self.source.width))
        self.patch = nn.Linear(self.source.width, config.width)
        positions = config.max_frames // self.stride + 1
        self.position = nn.Parameter(torch.randn(positions, config.width) * 0.02)
        self.layers = transformer(
            config.width, config.layers, config.heads, config.feedforward, config.dropout
        )
        self.norm = nn.LayerNorm(config.width)
        self.pool = Pooling(config.pool, config.width)
        self.head = nn.Linear(config.width, dim)
        self.log_variance = nn.Linear(config.width, dim) if variational else None

    @property
    def stride(self) -> int:
        """Frames a position covers."""
        return self.source.stride

    @property
    def rate(self) -> float:
        """Positions a second."""
        return FPS / self.stride

    def forward(self, poses: Tensor, frames: Tensor) -> Encoded:
        """Of axis-angle poses (B, T, 165), `frames` (B,) of them real."""
        return self.encode(self.patches(poses, frames), self.real(poses, frames))

    @torch.no_grad()
    def start(self, motions: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Measure mean and spread of what patches hold, which is then taken off them.

        Joints hardly turn from their mean: left as it is, that mean would be most of what the
        transformer sees.

        Args:
            motions: batches of poses and frames, this rank's; at least one.
        """
        mean, spread = mean_and_spread(
            self.source(poses, frames)[self.real(poses, frames)] for poses, frames in motions
        )
        self.mean.copy_(mean)
        self.spread.copy_(spread)

    def patches(self, poses: Tensor, frames: Tensor) -> Tensor:
        """Patches (B, K, C) less their mean and over their spread, zero beyond what is real."""
        patches_BKC = (self.source(poses, frames) - self.mean) / self.spread
        return patches_BKC * self.real(poses, frames)[..., None]

    def encode(self, patches_BKC: Tensor, real_BK: Tensor) -> Encoded:
        """Of patches, as `patches` makes them."""
        hidden_BKC = self.patch(patches_BKC) + self.position[: patches_BKC.shape[1]]
        if len(self.layers.layers):
            hidden_BKC = attend(self.layers, hidden_BKC, real_BK)
        hidden_BKC = self.norm(hidden_BKC)
        pooled_BC = self.pool(hidden_BKC, real_BK)
        log_variance = None if self.log_variance is None else self.log_variance(pooled_BC)
        return Encoded(self.head(pooled_BC), self.head(hidden_BKC), real_BK, log_variance)

    def real(self, poses: Tensor, frames: Tensor) -> Tensor:
        """Which positions have a frame that is real, bool (B, K)."""
        count = -(-poses.shape[1] // self.stride)
        return torch.arange(count, device=poses.device) * self.stride < frames[:, None]


class FeaturePatches(nn.Module):
    """6D rotations of the gesture's joints (Zhou et al. 2019), where the wrists are, and the
    changes of both, patch by patch.

    Wrists are seen from the chest, by a speaker who faces ahead: where speakers stand and face does
    not show.

    Args:
        stride: frames of a patch.
        every: of them each so many-th is looked at, from the first on.
    """

    def __init__(self, stride: int, every: int) -> None:
        super().__init__()
        self.stride = stride
        self.looked_at = range(0, stride, every)
        self.width = _CHANNELS * len(self.looked_at)

    def forward(self, poses: Tensor, frames: Tensor) -> Tensor:
        """(B, K, width), zero beyond what is real."""
        poses = F.pad(poses, (0, 0, 0, -poses.shape[1] % self.stride))
        at_S = torch.arange(poses.shape[1], device=poses.device)
        at_S = at_S.unflatten(0, (-1, self.stride))[:, list(self.looked_at)].flatten()
        real_BS = at_S < frames[:, None]
        # Of real frames alone: half of a batch may be padding.
        turns_NJ3 = poses[:, at_S][real_BS].unflatten(-1, (-1, 3))[:, list(GESTURE_JOINTS)]
        rotations = axis_angle_to_matrix(turns_NJ3)
        now_NC = torch.cat(
            [
                matrix_to_sixd(rotations).flatten(-2),
                _PLACE_SCALE * wrist_places(rotations).flatten(-2),
            ],
            dim=-1,
        )
        now_BSC = now_NC.new_zeros((*real_BS.shape, now_NC.shape[-1]))
        now_BSC[real_BS] = now_NC
        change_BSC = F.pad(now_BSC.diff(dim=1), (0, 0, 1, 0))
        features_BSC = torch.cat([now_BSC, _CHANGE_SCALE * change_BSC], dim=-1)
        features_BSC = features_BSC * real_BS[..., None]
        return features_BSC.unflatten(1, (-1, len(self.looked_at))).flatten(-2)


def wrist_places(rotations: Tensor) -> Tensor:
    """Of rotations (..., 43, 3, 3) of `GESTURE_JOINTS` the left and right wrist (..., 2, 3).

    In metres from the chest, of gestray's skeleton with its pelvis upright: forward kinematics
    from the wrists inwards, so that each joint turns a vector and not a matrix.
    """

    def turned(names: Sequence[str], vectors: Tensor) -> Tensor:
        columns = [GESTURE_JOINTS.index(joint(name)) for name in names]
        # Many small products: as sums over entries several times faster than as matrices.
        return (rotations[..., columns, :, :] * vectors[..., None, :]).sum(-1)

    def offset(names: Sequence[str]) -> Tensor:
        return torch.from_numpy(REST_OFFSETS[[joint(name) for name in names]]).to(rotations)

    places = offset(_WRISTS)
    for names in _ARMS:
        places = turned(names, places) + offset(names)
    for name in _SPINE:
        places = turned([name], places)
    return places


class TokenPatches(nn.Module):
    """Codebook vectors of a frozen tokenizer, its streams side by side.

    The tokenizer is part of the tower and saved with it, so that an encoder needs no other
    artifact.
    """

    def __init__(self, config: MotionTowerConfig) -> None:
        super().__init__()
        if config.tokenizer is None:
            raise UserError(
                "motion.input=tokens needs a tokenizer; make one with `gestray tokenizer train`, "
                "and give it with `--input tokenizer=URI`"
            )
        check_tokenizer(config.tokenizer)
        self.tokenizer = MotionTokenizer(config.tokenizer).eval().requires_grad_(False)
        self.tokenizer.beam = 1  # training encodes every batch anew
        self.stride = config.tokenizer.frames_per_token
        self.width = len(config.tokenizer.parts) * config.tokenizer.code_dim
        # Tokens on which one depends, to either side.
        self.reach = sum(3**level for level in range(config.tokenizer.depth))

    def load(self, tokenizer: Folder) -> None:
        """Take over the weights of a trained tokenizer."""
        weights = MotionTokenizer.from_folder(tokenizer).state_dict()
        self.tokenizer.load_state_dict(weights)

    def train(self, mode: bool = True) -> TokenPatches:
        """Never: frozen codebooks do not move."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, poses: Tensor, frames: Tensor) -> Tensor:
        """(B, K, width), zero beyond what is real."""
        count = -(-poses.shape[1] // self.stride)
        # Every motion holds its last frame beyond where any real token looks.
        length = (count + self.reach) * self.stride
        held = torch.arange(length, device=poses.device).minimum(frames[:, None] - 1)
        poses = poses.gather(1, held[..., None].expand(-1, -1, poses.shape[-1]))
        vectors_BKC = torch.cat(
            [
                vectors[:, :count]
                for vectors in self.tokenizer.vectors(self.tokenizer.encode(poses)).values()
            ],
            dim=-1,
        )
        real_BK = torch.arange(count, device=poses.device) * self.stride < frames[:, None]
        return vectors_BKC * real_BK[..., None]


def check_tokenizer(config: TokenizerConfig) -> None:
    """Refuse a tokenizer that is made of more than poses, or looks ahead without an end.

    Raises:
        UserError: names its parts.
    """
    if columns_of(config.parts) != ("poses",):
        raise UserError(
            f"motion.input=tokens takes a tokenizer of poses alone (presets sma, semges); this one "
            f"has {', '.join(config.parts)}"
        )
