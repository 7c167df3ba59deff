"""What a dual encoder is made of, and the presets that are the papers' methods."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gestray.config import Config
from gestray.errors import UserError
from gestray.training.config import LoopConfig
from gestray.views.phrases import PhraseConfig


class MotionTowerConfig(Config):
    """Transformer over continuous motion features (ACTOR's encoder, as in TMR).

    Args:
        width, layers, heads, feedforward: of the transformer.
        dropout: in the transformer.
        stride: frames a transformer position covers.
        max_frames: longer phrases are cropped around their middle.
    """

    width: int = Field(256, ge=8)
    layers: int = Field(6, ge=1)
    heads: int = Field(4, ge=1)
    feedforward: int = Field(1024, ge=8)
    dropout: float = Field(0.1, ge=0, lt=1)
    stride: int = Field(4, ge=1)
    max_frames: int = Field(300, ge=4)


class TextTowerConfig(Config):
    """Any `transformers` text model.

    Args:
        model: a name of `gestray models`, a folder, or a name on the model hub.
        train: "frozen" learns a head on top; "full" trains the model as well.
        max_tokens: longer texts are cut.
        dropout: in the head.
    """

    model: str = "minilm"
    train: Literal["frozen", "full"] = "frozen"
    max_tokens: int = Field(128, ge=4, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)


class ObjectiveConfig(Config):
    """Weights of the objectives; each is a symmetric InfoNCE between two embeddings.

    Args:
        transcript: motion ↔ transcript; what retrieval uses.
        form: motion ↔ physical form of the anchor (motion branch).
        intent: transcript ↔ intent of the anchor (transcript branch).
        temperature: initial; learnt.
    """

    transcript: float = Field(1.0, gt=0)
    form: float = Field(0.0, ge=0)
    intent: float = Field(0.0, ge=0)
    temperature: float = Field(0.07, gt=0)

    @property
    def needs_anchors(self) -> bool:
        return self.form > 0 or self.intent > 0


class EncoderConfig(Config):
    """Motion tower and text tower into one space of `dim` dimensions."""

    motion: MotionTowerConfig = MotionTowerConfig()
    text: TextTowerConfig = TextTowerConfig()
    objectives: ObjectiveConfig = ObjectiveConfig()
    dim: int = Field(256, ge=8)


class EncoderTraining(Config):
    """Everything `gestray encoder train` needs."""

    model: EncoderConfig = EncoderConfig()
    phrases: PhraseConfig = PhraseConfig()
    loop: LoopConfig


PRESETS = ("direct", "sma")


def preset(name: str, size: Literal["small", "paper"] = "small") -> EncoderTraining:
    """The training of a method.

    `direct`: transcript and motion contrasted directly, the baseline of
    Semantic Motion Anchors. `sma`: the same with anchor supervision, the
    physical form for the motion branch and the intent for the transcript
    branch; both are absent at inference. The paper leaves sizes and weights
    open: `paper` takes TMR's encoder, `small` trains in a minute on two cores.
    """
    objectives = {
        "direct": ObjectiveConfig(),
        "sma": ObjectiveConfig(form=0.5, intent=0.5),
    }
    if name not in objectives:
        raise UserError(f"encoder preset {name!r} is unknown; known: {', '.join(PRESETS)}")
    if size == "paper":
        model = EncoderConfig(objectives=objectives[name])
        loop = LoopConfig(
            steps=50_000, batch_size=256, learning_rate=1e-4, warmup_steps=1000,
            weight_decay=1e-4, bf16=True, ema_decay=0.999, validate_every=1000, keep="best",
            checkpoint_every=1000, log_every=100,
        )  # fmt: skip
        return EncoderTraining(model=model, loop=loop)
    model = EncoderConfig(
        motion=MotionTowerConfig(width=128, layers=2, heads=4, feedforward=256),
        objectives=objectives[name],
        dim=128,
    )
    loop = LoopConfig(
        steps=200, batch_size=64, learning_rate=1e-3, weight_decay=1e-2, warmup_steps=20
    )
    return EncoderTraining(model=model, loop=loop)
