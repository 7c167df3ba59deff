"""What generators are made of, and the papers' presets of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gestray.config import Config
from gestray.corpora.take import FPS
from gestray.encoders.config import TextTowerConfig
from gestray.errors import UserError
from gestray.speech.features import FeatureConfig, MelConfig
from gestray.tokenizers.config import TokenizerConfig
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.views.windows import WindowConfig


class ChunkConfig(Config):
    """How speech is heard in hops; all in seconds.

    Args:
        past_s: what the generator remembers of speech and its own motion.
        hop_s: what it moves for at once.
        ahead_s: what it has heard beyond that. The delay of a stream is `hop_s` + `ahead_s`.
    """

    past_s: float = Field(32 / 30, ge=0)
    hop_s: float = Field(16 / 30, gt=0)
    ahead_s: float = Field(12 / 30, ge=0)

    @property
    def seconds(self) -> float:
        """All that is seen at once."""
        return self.past_s + self.hop_s + self.ahead_s

    def tokens(self, frames_per_token: int) -> tuple[int, int, int]:
        """Past, hop and look-ahead in tokens.

        Raises:
            UserError: one of them is no whole number of tokens.
        """
        found = []
        for name, seconds in self:
            frames = round(seconds * FPS)
            tokens = max(round(frames / frames_per_token), int(name == "hop_s"))
            if tokens * frames_per_token != frames:
                whole = tokens * frames_per_token / FPS
                raise UserError(
                    f"chunk.{name} {seconds:g} is {frames} frames, expected a multiple of the "
                    f"tokenizer's {frames_per_token}; set model.chunk.{name}={whole:.4f}"
                )
            found.append(tokens)
        past, hop, ahead = found
        return past, hop, ahead


class MeaningConfig(Config):
    """Gestures with a meaning: when they are due, and which of training's they are.

    Args:
        meant_weight: how much more a token with a meaning counts in losses.
        threshold: a token that means more than this is one of such a gesture.
        preparation_s: hands set off so long before what they mean, and labels begin with the
            stroke: what leads to it is of the gesture.
        retraction_s: hands are back so long after what they mean: it is of the gesture, too.
        remembers: at most so many of training's gestures are kept, to look up which one words
            mean; 0: all motion is what the network makes of them.
    """

    meant_weight: float = Field(4.0, ge=0)
    threshold: float = Field(0.85, ge=0, le=1)
    preparation_s: float = Field(16 / 30, ge=0)
    retraction_s: float = Field(24 / 30, ge=0)
    remembers: int = Field(2048, ge=0)

    def around(self, frames_per_token: int) -> tuple[int, int]:
        """Tokens of a gesture before it means something, and after."""
        per_s = FPS / frames_per_token
        return round(self.preparation_s * per_s), round(self.retraction_s * per_s)


class SemGesConfig(MeaningConfig):
    """SemGes (Liu et al. 2025): speech and speaker attend to themselves, and to the text.

    Args:
        layers: of the fusion; the text has half as many of its own.
        coherence: weight of the contrast between what is said and what is done.
        quantization: weight of codes (cross-entropy) and of the code vectors they stand for.
        relevance: weight of Huber's loss of the motion, frame by frame weighted by how much the
            annotators say it means. 0: what is meant is not foretold, either.
        plain_relevance: how much a frame counts that means nothing, where 1 means most.
    """

    kind: Literal["semges"] = "semges"
    layers: int = Field(3, ge=1)
    coherence: float = Field(0.3, ge=0)
    quantization: float = Field(1.0, gt=0)
    relevance: float = Field(5.0, ge=0)
    plain_relevance: float = Field(0.1, ge=0, le=1)


class SemTalkConfig(MeaningConfig):
    """SemTalk (Zhang et al. 2025): base motion by rhythm, sparse motion by meaning, and a gate.

    Args:
        layers: of the rhythm's encoder, of each part's turn, and of the meaning's encoder.
        rhythm: weight of rhythm consistency, within clips and between them.
        gate: "learnt" from labels; "random"; or "off", where all motion is the sparse one.
        weighs_features: how much a token means scales what its words add, to the sparse motion
            and to what a gesture is looked up by.
        weighs_losses: tokens that mean something count more in the losses of the sparse motion
            and of the gate.
        gate_loss: weight of the gate's cross-entropy.
    """

    kind: Literal["semtalk"] = "semtalk"
    layers: int = Field(1, ge=1)
    rhythm: float = Field(0.1, ge=0)
    gate: Literal["learnt", "random", "off"] = "learnt"
    weighs_features: bool = True
    weighs_losses: bool = True
    gate_loss: float = Field(1.0, ge=0)


Method = Annotated[SemGesConfig | SemTalkConfig, Field(discriminator="kind")]


class GeneratorConfig(Config):
    """A network over codes, and what it hears.

    Args:
        method: the paper.
        chunk: how speech is heard.
        speech: its features.
        text: the frozen model that words are looked up in, each by itself.
        width, heads, dropout: of the transformers.
        forgets: share of training windows that know less of their past than all of it; half
            that share of the known codes is wrong, since in use they are the generator's own.
        noise: how much is left to chance at temperature 1. What is drawn is heard again as the
            past: with too much the unlikely adds up, with too little who rests goes on resting.
    """

    method: Method
    chunk: ChunkConfig = ChunkConfig()
    speech: FeatureConfig = MelConfig()
    text: TextTowerConfig = TextTowerConfig()
    width: int = Field(128, ge=8)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    forgets: float = Field(0.2, ge=0, le=1)
    noise: float = Field(0.8, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> GeneratorConfig:
        if self.width % self.heads:
            raise UserError(f"width {self.width} is no multiple of heads {self.heads}")
        if self.text.train != "frozen":
            raise UserError(
                "text.train is 'full', expected frozen: words are looked up by themselves"
            )
        return self


class TrainedGenerator(Config):
    """All that a trained generator is built from: the `config.json` of its artifact.

    Args:
        speakers: who moved in training.
        vocabulary: what was said most often, as `spoken_form` has it: words whose vectors the
            artifact keeps, so that a stream need not wait for a text model.
        gestures: of training, that the artifact keeps, as `MeaningConfig.remembers` has it.
        gesture_tokens: of them together.
    """

    generator: GeneratorConfig
    tokenizer: TokenizerConfig
    speakers: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()
    gestures: int = Field(0, ge=0)
    gesture_tokens: int = Field(0, ge=0)


class GeneratorTraining(Config):
    """Everything `gestray generator train` needs.

    Args:
        stride_s: one training window in every so many seconds, drawn anew in each epoch.
    """

    model: GeneratorConfig
    stride_s: float = Field(16 / 30, gt=0)
    loop: LoopConfig

    def windows(self) -> WindowConfig:
        return WindowConfig(
            seconds=self.model.chunk.seconds, stride_s=self.stride_s, random=self.loop.seed
        )


# Chosen on validation takes. SemGes falls asleep with less, SemTalk strays with more.
_NOISE = {"semges": 1.2, "semtalk": 0.8}


def preset(name: str, size: Literal["small", "paper"] = "small") -> GeneratorTraining:
    """The training of a paper's generator: `semges` or `semtalk`.

    `paper` has the papers' sizes and windows: SemGes 12 layers of 768 with 8 heads over 2.267 s
    with 0.267 s of overlap, SemTalk 64 frames with 4 of the past. `small` is for two CPU cores
    and some minutes, and hears 0.4 s ahead.
    """
    methods: dict[str, type[SemGesConfig] | type[SemTalkConfig]] = {
        "semges": SemGesConfig,
        "semtalk": SemTalkConfig,
    }
    if name not in methods:
        raise UserError(f"generator preset {name!r} is unknown; known: {', '.join(methods)}")
    if size == "small":
        # One process uses two cores better than two do, and needs no cluster.
        loop = LoopConfig(
            steps=300, batch_size=64, optimizer="muon", learning_rate=1e-2, weight_decay=1e-2,
            warmup_steps=30, compute=ComputeConfig(workers=1),
        )  # fmt: skip
        model = GeneratorConfig(method=methods[name](), noise=_NOISE[name])
        return GeneratorTraining(model=model, loop=loop)
    sizes: dict[str, dict[str, Any]] = {
        "semges": {
            "method": SemGesConfig(layers=12),
            "chunk": ChunkConfig(past_s=8 / 30, hop_s=60 / 30, ahead_s=0),
            "width": 768,
            "heads": 8,
        },
        "semtalk": {
            "method": SemTalkConfig(layers=2),
            "chunk": ChunkConfig(past_s=4 / 30, hop_s=60 / 30, ahead_s=0),
            "width": 256,
        },
    }
    loop = LoopConfig(
        steps=100_000, batch_size=64, learning_rate=1e-4, warmup_steps=1000, weight_decay=1e-2,
        bf16=True, ema_decay=0.999, validate_every=1000, keep="best", checkpoint_every=1000,
        log_every=100,
    )  # fmt: skip
    model = GeneratorConfig(**sizes[name], noise=_NOISE[name])
    return GeneratorTraining(model=model, loop=loop)
