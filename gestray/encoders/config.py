"""What a dual encoder is made of, and the presets that are the papers' methods.

A method is towers times objectives. Everything below may be changed on the command line, so
an ablation is a line: `model.query=speech`, `model.objectives.coupling=0`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gestray.config import Config
from gestray.errors import UserError
from gestray.tokenizers.config import TokenizerConfig
from gestray.training.config import LoopConfig
from gestray.views.phrases import PhraseConfig

Pool = Literal["mean", "max", "attention"]


class MotionTowerConfig(Config):
    """Transformer over motion (ACTOR's encoder, as in TMR).

    Args:
        input: "features" are rotations of upper body and hands, places of the wrists, and how
            both change; "tokens" the codebook vectors of a frozen tokenizer.
        width, layers, heads, feedforward: of the transformer; with no layer every position
            stands for itself.
        dropout: in the transformer.
        stride: frames a transformer position covers; with tokens, those of a token.
        every: of these frames each so many-th is looked at, from the first on.
        max_frames: longer phrases are cropped around their middle.
        pool: how positions become one vector; "attention" weighs them by a learnt query.
        tokenizer: of the tokens; training fills it in from the artifact it is given.
    """

    input: Literal["features", "tokens"] = "features"
    width: int = Field(256, ge=8)
    layers: int = Field(6, ge=0)
    heads: int = Field(4, ge=1)
    feedforward: int = Field(1024, ge=8)
    dropout: float = Field(0.1, ge=0, lt=1)
    stride: int = Field(4, ge=1)
    every: int = Field(1, ge=1)
    max_frames: int = Field(300, ge=4)
    pool: Pool = "mean"
    tokenizer: TokenizerConfig | None = None


class TextTowerConfig(Config):
    """Any `transformers` text model with a fast tokenizer, and what is learnt on top of it.

    Args:
        model: a name of `gestray models`, a folder, or a name on the model hub.
        train: "frozen" learns what is on top, "lora" low-rank changes of the model's attention
            as well (Hu et al. 2022), "full" all of it.
        rank: of the low-rank changes.
        layers, heads: of a transformer over words; without one, sentences are the model's mean.
        pool: how words become a sentence, where there are layers.
        max_tokens: longer texts are cut.
        dropout: in the layers and in the head.
    """

    model: str = "minilm"
    train: Literal["frozen", "lora", "full"] = "frozen"
    rank: int = Field(8, ge=1)
    layers: int = Field(0, ge=0)
    heads: int = Field(4, ge=1)
    pool: Pool = "mean"
    max_tokens: int = Field(128, ge=4, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)


class SpeechTowerConfig(Config):
    """A convolutional network over log-mel frames, or any `transformers` audio model.

    Args:
        model: "mel", or HuBERT, wav2vec 2.0 and their kin by name or folder.
        train: of a named model: "frozen", or "full".
        channels: of the convolutions over mel frames; each halves the frequencies, the first
            two time as well: 25 positions a second.
        dropout: before the head.
    """

    model: str = "mel"
    train: Literal["frozen", "full"] = "frozen"
    channels: tuple[int, ...] = Field((32, 64, 128, 256), min_length=2)
    dropout: float = Field(0.1, ge=0, lt=1)


class ObjectiveConfig(Config):
    """Weights of the objectives; those of weight 0 are not computed.

    Args:
        transcript: motion ↔ query (text, speech or both), by phrase: what retrieval uses.
        form: motion ↔ physical form of the anchor (Semantic Motion Anchors' motion branch).
        intent: transcript ↔ intent of the anchor (its transcript branch).
        coupling: gestures of words ↔ words (JEGAL); needs the times of words.
        reach_s: how far around its word a gesture is looked for.
        sync: motion ↔ speech of short windows, in time or not (GestSync).
        window_s, windows: length of these, and how many of each phrase a step takes.
        reconstruction, latent, kl: of a variational encoder (TEMOS, TMR).
        contrast: how `transcript`, `form` and `intent` contrast a batch.
        temperature: initial; learnt, unless `fixed_temperature`.
        false_negatives: transcripts of at least this cosine are no negatives of each other
            (TMR); None: only the same words are not.
        chunk: samples that are embedded and compared at a time. Their activations are computed
            twice, so that memory does not grow with the batch; gradients are the same.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"chunk"})

    transcript: float = Field(1.0, ge=0)
    form: float = Field(0.0, ge=0)
    intent: float = Field(0.0, ge=0)
    coupling: float = Field(0.0, ge=0)
    reach_s: float = Field(0.4, ge=0)
    sync: float = Field(0.0, ge=0)
    window_s: float = Field(1.0, gt=0)
    windows: int = Field(4, ge=1)
    reconstruction: float = Field(0.0, ge=0)
    latent: float = Field(0.0, ge=0)
    kl: float = Field(0.0, ge=0)
    contrast: Literal["infonce", "siglip"] = "infonce"
    temperature: float = Field(0.07, gt=0)
    fixed_temperature: bool = False
    false_negatives: float | None = Field(None, gt=-1, le=1)
    chunk: int | None = Field(None, ge=1)

    @property
    def needs_anchors(self) -> bool:
        return self.form > 0 or self.intent > 0

    @property
    def is_fine(self) -> bool:
        """Whether frames and words have embeddings that are trained as such."""
        return self.coupling > 0 or self.sync > 0

    @property
    def is_variational(self) -> bool:
        return self.reconstruction > 0 or self.kl > 0 or self.latent > 0


Query = Literal["text", "speech", "text+speech"]


class EncoderConfig(Config):
    """Motion on one side, what is said on the other, in one space of `dim` dimensions.

    Args:
        query: what motion is compared with, and so which towers there are.
        fusion: of text and speech, word by word: "concatenation" of halves, "average", or
            "pairs", which compares motion with each by itself and averages only when asked.
        modality_dropout: share of samples that train with one of text and speech, at random.
    """

    motion: MotionTowerConfig = MotionTowerConfig()
    text: TextTowerConfig = TextTowerConfig()
    speech: SpeechTowerConfig = SpeechTowerConfig()
    query: Query = "text"
    fusion: Literal["concatenation", "average", "pairs"] = "concatenation"
    modality_dropout: float = Field(0.5, ge=0, le=1)
    objectives: ObjectiveConfig = ObjectiveConfig()
    dim: int = Field(256, ge=8)

    @property
    def hears(self) -> bool:
        """Whether there is a speech tower."""
        return self.query != "text" or self.objectives.sync > 0

    @property
    def reads(self) -> bool:
        """Whether transcripts have embeddings."""
        return self.query != "speech"

    @model_validator(mode="after")
    def _fits_together(self) -> EncoderConfig:
        asked = self.objectives
        if asked.is_variational and self.query != "text":
            raise UserError(
                f"objectives.reconstruction, latent and kl are of motion and text; query is "
                f"{self.query!r}, set model.query=text or these weights to 0"
            )
        if asked.intent and not self.reads:
            raise UserError("objectives.intent is about transcripts; query=speech has none")
        if self.query == "text+speech" and self.fusion == "concatenation" and self.dim % 2:
            raise UserError(f"dim is {self.dim}, expected an even one: text and speech get half")
        return self


class EncoderTraining(Config):
    """Everything `gestray encoder train` needs."""

    model: EncoderConfig = EncoderConfig()
    phrases: PhraseConfig = PhraseConfig()
    loop: LoopConfig


def _direct() -> dict[str, Any]:
    """Transcript and motion contrasted directly: the baseline of Semantic Motion Anchors.

    The paper leaves its towers open. A gesture is a second of a phrase of five, and few of its
    words are about it: a layer over words reads them, and a maximum keeps what a mean dilutes.
    """
    return {"motion": {"pool": "max"}, "text": {"layers": 2}}


def _sma() -> dict[str, Any]:
    """Semantic Motion Anchors (Suresh et al. 2026): `direct` and supervision by anchors.

    The physical form supervises the motion branch and the intent the transcript branch; both
    are absent when searching. The paper leaves sizes and weights open.
    """
    return {**_direct(), "objectives": {"form": 1.0, "intent": 1.0}}


def _tmr() -> dict[str, Any]:
    """TMR (Petrovich et al. 2023): a variational pair of encoders with a motion decoder.

    Its threshold of 0.8 is of (1 + cosine) / 2, and so one of 0.6 here.
    """
    objectives = {
        "transcript": 0.1, "reconstruction": 1.0, "latent": 1e-5, "kl": 1e-5,
        "temperature": 0.1, "fixed_temperature": True, "false_negatives": 0.6,
    }  # fmt: skip
    return {"objectives": objectives, "text": {"layers": 6}}


def _gesturediffuclip() -> dict[str, Any]:
    """GestureDiffuCLIP (Ao et al. 2023): text against motion tokens, both pooled by maximum."""
    return {"motion": {"input": "tokens", "pool": "max"}, "text": {"layers": 2, "pool": "max"}}


def _gestsync() -> dict[str, Any]:
    """GestSync (Hegde and Zisserman 2023): motion and speech of the same moment."""
    return {"query": "speech", "objectives": {"transcript": 0.0, "sync": 1.0}}


def _clip4clip() -> dict[str, Any]:
    """CLIP4Clip (Luo et al. 2022), parameter-free: frames one by one, their mean against text."""
    return {"motion": {"layers": 0}, "text": {"train": "full"}}


def _jegal() -> dict[str, Any]:
    """JEGAL (Hegde et al. 2025): phrases and words, text and speech, in one space.

    `model.query` chooses T, A or T+A and `model.fusion` the way the two come together.
    """
    return {
        "motion": {"layers": 6, "heads": 8, "feedforward": 2048, "stride": 2},
        "text": {"layers": 3, "heads": 8},
        "query": "text+speech",
        "objectives": {"transcript": 0.5, "coupling": 0.5},
    }


_METHODS = {
    "direct": _direct,
    "tmr": _tmr,
    "gesturediffuclip": _gesturediffuclip,
    "gestsync": _gestsync,
    "clip4clip": _clip4clip,
    "jegal": _jegal,
    "sma": _sma,
}
PRESETS = tuple(_METHODS)

# What all methods share where they are small: a minute or two on a CPU core. The text model stays
# frozen, so that a text is encoded once; the temperature, which sharpens what is known by heart,
# is fixed. These come from some ten trials of `direct` and `sma` on training and validation takes.
_SMALL: dict[str, Any] = {
    "motion": {
        "width": 128,
        "layers": 2,
        "heads": 4,
        "feedforward": 256,
        "dropout": 0.1,
        "every": 4,
    },
    "text": {"train": "frozen", "layers": 1, "dropout": 0.1},
    "speech": {"channels": (16, 32, 64), "dropout": 0.3},
    "objectives": {"temperature": 0.1, "fixed_temperature": True},
    "dim": 128,
}
# Methods that hear every phrase would take several times as long.
_SMALL_OF: dict[str, dict[str, Any]] = {
    name: {"speech": {"channels": (8, 16, 32)}} for name in ("gestsync", "jegal")
}
_SMALL_LOOP: dict[str, Any] = {
    "steps": 200, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 1e-2,
    "warmup_steps": 20,
}  # fmt: skip
_PAPER_LOOP: dict[str, Any] = {
    "steps": 50_000, "batch_size": 256, "learning_rate": 1e-4, "warmup_steps": 1000,
    "weight_decay": 1e-4, "bf16": True, "ema_decay": 0.999, "validate_every": 1000,
    "keep": "best", "checkpoint_every": 1000, "log_every": 100,
}  # fmt: skip
# Where a paper says otherwise.
_PAPER: dict[str, dict[str, Any]] = {
    "tmr": {"loop": {"batch_size": 32}},
    "jegal": {"model": {"dim": 512}, "loop": {"learning_rate": 5e-5, "betas": (0.9, 0.98)}},
    "gesturediffuclip": {"model": {"dim": 512}},
}


def preset(name: str, size: Literal["small", "paper"] = "small") -> EncoderTraining:
    """The training of a method, one of `PRESETS`.

    `paper` has the paper's sizes, `small` trains in about a minute on two cores. docs/encoders.md
    says what each follows, and what it cannot follow here.
    """
    if name not in _METHODS:
        raise UserError(f"encoder preset {name!r} is unknown; known: {', '.join(PRESETS)}")
    model, loop = _METHODS[name](), _SMALL_LOOP
    if size == "paper":
        changes = _PAPER.get(name, {})
        model = _merged(model, changes.get("model", {}))
        loop = {**_PAPER_LOOP, **changes.get("loop", {})}
    else:
        model = _merged(_merged(model, _small(model)), _SMALL_OF.get(name, {}))
    return EncoderTraining.model_validate({"model": model, "loop": loop})


def _small(model: dict[str, Any]) -> dict[str, Any]:
    """The small sizes of a method, without layers where the method has none."""
    small = {name: dict(part) if isinstance(part, dict) else part for name, part in _SMALL.items()}
    for tower in ("motion", "text"):
        asked = model.get(tower, {}).get("layers", 0 if tower == "text" else 1)
        if not asked:
            small[tower]["layers"] = 0
    return small


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
