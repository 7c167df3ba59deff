"""What a motion tokenizer is made of, and the papers' presets of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gestray.config import Config
from gestray.corpora.take import FPS
from gestray.errors import UserError
from gestray.tokenizers.parts import PartName, check_parts
from gestray.training.config import LoopConfig
from gestray.views.windows import WindowConfig


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
        quantizer_dropout: share of steps that train with a random number of levels.
        causal: convolutions see the past only, so that a stream of tokens can be
            decoded as it comes.
    """

    parts: tuple[PartName, ...] = ("body", "hands")
    quantizers: int = Field(6, ge=1)
    codebook_size: int = Field(256, ge=2)
    code_dim: int = Field(256, ge=1)
    width: int = Field(256, ge=8)
    depth: int = Field(3, ge=1)
    frames_per_token: int = Field(4, ge=1)
    ema_decay: float = Field(0.99, gt=0, lt=1)
    dead_below: float = Field(1.0, ge=0)
    quantizer_dropout: float = Field(0.2, ge=0, le=1)
    causal: bool = False

    @model_validator(mode="after")
    def _parts_are_apart(self) -> TokenizerConfig:
        check_parts(self.parts)
        return self


class LossWeights(Config):
    """Weights of the losses; one counts only if a part has what it is about.

    Args:
        rotation: mean geodesic distance of joint rotations, radians.
        position: mean distance of joint positions through forward kinematics, metres.
        velocity, acceleration: mean distance of their first and second
            differences, metres a frame (and a frame squared).
        translation: mean distance of the body's place, metres.
        contacts: cross-entropy of the feet's contacts, nats.
        expressions: mean squared error of FLAME coefficients.
        commitment: of encoder outputs to their codes.
    """

    rotation: float = 1.0
    position: float = 30.0
    velocity: float = 20.0
    acceleration: float = 10.0
    translation: float = 10.0
    contacts: float = 0.1
    expressions: float = 1.0
    commitment: float = 0.02


class TokenizerTraining(Config):
    """Everything `gestray tokenizer train` needs."""

    model: TokenizerConfig = TokenizerConfig()
    losses: LossWeights = LossWeights()
    windows: WindowConfig = WindowConfig()
    loop: LoopConfig

    @model_validator(mode="after")
    def _windows_are_whole_tokens(self) -> TokenizerTraining:
        step, frames = self.model.frames_per_token, self.windows.frames
        if frames % step or frames < step:
            whole = max(1, round(frames / step)) * step
            raise UserError(
                f"windows.seconds {self.windows.seconds:g} is {frames} frames, expected a multiple "
                f"of model.frames_per_token {step}; set windows.seconds={whole / FPS:.4f}"
            )
        return self


Size = Literal["small", "paper"]

# What a stream is made of where a preset is small: two CPU cores train it in a minute or two.
# Narrow codes: in few steps, wide ones code noise. With half as many tokens a batch, fewer
# vectors keep a code alive.
_SMALL: dict[str, Any] = {
    "codebook_size": 512,
    "code_dim": 32,
    "width": 160,
    "depth": 1,
    "ema_decay": 0.97,
    "dead_below": 0.2,
}


def _sma(size: Size) -> dict[str, Any]:
    """Semantic Motion Anchors: body and hands, residual.

    The paper leaves the sizes open; `paper` takes those of SemTalk's tokenizer, `small` more
    levels of narrow codes.
    """
    if size == "small":
        return {"parts": ("body", "hands"), "quantizers": 10, **_SMALL}
    return {"parts": ("body", "hands"), "quantizers": 6}


def _semtalk(size: Size) -> dict[str, Any]:
    """SemTalk (Zhang et al. 2025): face, upper body, hands, and legs with path and contacts.

    `paper` has its sizes: six quantizers of 256 × 256, a token every four frames, width
    256, depth 3, dilations by 3, averages of 0.99, codes dead below 1.
    """
    parts = ("face", "upper", "hands", "lower")
    return {"parts": parts, "quantizers": 6, **(_SMALL if size == "small" else {})}


def _semges(size: Size) -> dict[str, Any]:
    """SemGes (Liu et al. 2025): body and hands, one level; `paper` has 256 codes, 512 wide."""
    paper = {"code_dim": 512, "width": 512}
    return {
        "parts": ("body", "hands"),
        "quantizers": 1,
        **(_SMALL if size == "small" else paper),
    }


_PRESETS = {"sma": _sma, "semtalk": _semtalk, "semges": _semges}
# SemGes cuts windows of 34 frames at 15 a second that overlap by 4; the others have the
# field's 64 frames at 30 a second, one every 20.
_WINDOWS = {"semges": WindowConfig(seconds=34 / 15, stride_s=30 / 15)}


def preset(name: str, size: Size = "small") -> TokenizerTraining:
    """The training of a paper's tokenizer: `sma`, `semtalk` or `semges`.

    All of them convolve at the rate of the tokens, where the papers do so at the rate of
    the frames first. Quantizer dropout and the commitment's weight are MoMask's (Guo et
    al. 2024). `small` trains in a minute or two on two CPU cores.
    """
    if name not in _PRESETS:
        raise UserError(f"tokenizer preset {name!r} is unknown; known: {', '.join(_PRESETS)}")
    loop = LoopConfig(steps=1000, batch_size=32, learning_rate=2e-3, warmup_steps=20)
    if size == "paper":
        loop = LoopConfig(
            steps=100_000, batch_size=64, learning_rate=3e-4, warmup_steps=1000, bf16=True,
            validate_every=1000, keep="best", checkpoint_every=1000, log_every=100,
        )  # fmt: skip
    return TokenizerTraining(
        model=TokenizerConfig(**_PRESETS[name](size)),
        windows=_WINDOWS.get(name, WindowConfig()),
        loop=loop,
    )
