"""What a motion tokenizer is made of, and the papers' presets of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gestray.config import Config
from gestray.errors import UserError
from gestray.motion.skeleton import BODY, HANDS
from gestray.training.loop import LoopConfig
from gestray.views.windows import WindowConfig

# Joints of each part a stream can cover.
PART_JOINTS: dict[str, tuple[int, ...]] = {"body": tuple(BODY), "hands": tuple(HANDS)}

Part = Literal["body", "hands"]


class TokenizerConfig(Config):
    """A residual-VQ autoencoder with one stream a part.

    Args:
        parts: the streams; each has its own encoder, codebooks and decoder.
        quantizers: residual levels.
        codebook_size, code_dim: codes a level, and their width.
        frames_per_token: frames a token stands for.
        width, depth: channels, and residual blocks before and after the quantizer.
        ema_decay: of the codebooks.
        dead_below: a code used by fewer vectors than this (moving average) is
            replaced by a random one of the batch.
        quantizer_dropout: train with a random number of levels.
    """

    parts: tuple[Part, ...] = ("body", "hands")
    quantizers: int = Field(6, ge=1)
    codebook_size: int = Field(256, ge=2)
    code_dim: int = Field(256, ge=1)
    width: int = Field(256, ge=8)
    depth: int = Field(3, ge=1)
    frames_per_token: int = Field(4, ge=1)
    ema_decay: float = Field(0.99, gt=0, lt=1)
    dead_below: float = Field(1.0, ge=0)
    quantizer_dropout: bool = True


class LossWeights(Config):
    """Weights of the reconstruction losses.

    Args:
        rotation: mean geodesic distance of joint rotations, radians.
        position: mean distance of joint positions through forward kinematics, metres.
        velocity, acceleration: mean distance of their first and second
            differences, metres a frame (and a frame squared).
        commitment: of encoder outputs to their codes.
    """

    rotation: float = 1.0
    position: float = 10.0
    velocity: float = 20.0
    acceleration: float = 10.0
    commitment: float = 0.02


class TokenizerTraining(Config):
    """Everything `gestray tokenizer train` needs."""

    model: TokenizerConfig = TokenizerConfig()
    losses: LossWeights = LossWeights()
    windows: WindowConfig = WindowConfig()
    loop: LoopConfig


def preset(name: str, size: Literal["small", "paper"] = "small") -> TokenizerTraining:
    """The training of a paper's tokenizer.

    `sma` (Semantic Motion Anchors): two streams, body and hands, residual. The
    paper leaves the sizes open; `paper` takes those of SemTalk's tokenizer (six
    quantizers of 256 × 256, a token every four frames, width 256, depth 3, EMA
    0.99, batch 64, 3e-4), with its convolutions at the rate of the tokens.
    `small` trains in about a minute on two CPU cores.
    """
    if name != "sma":
        raise UserError(f"tokenizer preset {name!r} is unknown; known: sma")
    if size == "paper":
        loop = LoopConfig(
            steps=100_000, batch_size=64, learning_rate=3e-4, warmup_steps=1000, bf16=True,
            checkpoint_every=1000, log_every=100,
        )  # fmt: skip
        return TokenizerTraining(loop=loop)
    model = TokenizerConfig(
        quantizers=6, codebook_size=256, code_dim=64, width=160, depth=1, ema_decay=0.97
    )
    loop = LoopConfig(steps=400, batch_size=32, learning_rate=1e-3, warmup_steps=20)
    return TokenizerTraining(model=model, loop=loop)
