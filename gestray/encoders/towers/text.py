"""The text tower: transcripts to one vector each, and one a word.

Shapes: B batch, L tokens, W words, C channels of the text model, D dimensions of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.config import TextTowerConfig
from gestray.encoders.towers.encoded import Encoded, Pooling, attend, masked_mean, transformer
from gestray.errors import UserError

# Texts in a batch.
_AT_ONCE = 256


class Outputs(NamedTuple):
    """Of a frozen model, by what went in."""

    sentences: dict[str, Tensor]
    words: dict[tuple[str, ...], Tensor]


@lru_cache(maxsize=2)
def _outputs_of(source: str, max_tokens: int, dtype: torch.dtype, threads: int) -> Outputs:
    """Kept for all encoders of a process: a study trains dozens on the same texts.

    The number of threads shows in the last bits, so each has its own.
    """
    return Outputs({}, {})


class TextEncoder(nn.Module):
    """A `transformers` model: tokens averaged to words or to a sentence (Reimers & Gurevych 2019).

    Frozen, it is no part of the module's parameters or state (it is loaded by
    name again) and its outputs are kept, so that a text is encoded once in a process.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        from gestray.models import resolve_model

        self.config = config
        source = resolve_model(config.model)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        if not self._tokenizer.is_fast:
            raise UserError(
                f"text.model={config.model} has no fast tokenizer, which tells words apart; "
                "choose a model that has one"
            )
        backbone = quietly(AutoModel.from_pretrained, source, dtype=torch.float32)
        self.width: int = backbone.config.hidden_size
        self._source = source
        if config.train == "frozen":
            backbone.eval().requires_grad_(False)
            # Kept out of nn.Module's registry: neither saved nor synchronised.
            object.__setattr__(self, "backbone", backbone)
            return
        if config.train == "lora":
            add_low_rank(backbone.requires_grad_(False), config.rank)
        # What is never used would keep other ranks waiting for its gradient.
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler.requires_grad_(False)
        self.backbone = backbone

    def forward(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Sentences (B, C) of B texts."""
        return torch.stack(self._remembered(self._known.sentences, texts, self._encode, device))

    def words(
        self, texts: Sequence[Sequence[str]], device: torch.device, count: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors (B, W, C) of each text's words, and which of them are no padding (B, W).

        A word's is the mean over its tokens; zero where it has none, as beyond `max_tokens`.

        Args:
            count: W; that of the longest text otherwise.
        """
        keys = [tuple(words) for words in texts]
        found = self._remembered(self._known.words, keys, self._encode_words, device)
        count = max(map(len, keys)) if count is None else count
        padded = torch.stack([F.pad(vectors, (0, 0, 0, count - len(vectors))) for vectors in found])
        lengths = torch.tensor([len(words) for words in keys], device=device)
        return padded, torch.arange(count, device=device) < lengths[:, None]

    def at_once(self, texts: Sequence[str]) -> Tensor:
        """Sentences (B, C) of short texts that belong together, of a frozen model on the CPU.

        In batches of like length, a dozen times as fast as `forward`; each depends in its last
        bits on the others, and so none is kept for whoever asks for it by itself.
        """
        order = sorted(range(len(texts)), key=lambda n: (len(texts[n]), texts[n]))
        found = torch.empty(len(texts), self.width)
        with torch.no_grad():
            for first in range(0, len(order), _AT_ONCE):
                part = order[first : first + _AT_ONCE]
                vectors = self._encode([texts[n] for n in part], torch.device("cpu"))
                found[part] = torch.stack(vectors)
        return found

    def forget(self) -> None:
        """Let go of the outputs kept of the texts seen so far: a server sees texts without end."""
        self._known.sentences.clear()
        self._known.words.clear()

    @property
    def _known(self) -> Outputs:
        threads = torch.get_num_threads()
        return _outputs_of(self._source, self.config.max_tokens, self.backbone.dtype, threads)

    def _remembered(
        self,
        known: dict[Any, Tensor],
        texts: Sequence[Any],
        encode: Callable[[Sequence[Any], torch.device], list[Tensor]],
        device: torch.device,
    ) -> list[Tensor]:
        """`encode` of each text; of a frozen model, only of those not seen before."""
        if self.config.train != "frozen":
            return encode(texts, device)
        # Another thread may forget meanwhile.
        found = {text: vector for text in texts if (vector := known.get(text)) is not None}
        unknown = sorted(set(texts) - found.keys())
        # On a CPU one by one: in a batch, a text's embedding depends in its last
        # bits on its neighbours, and with it a resumed run on where it resumed.
        at_once = 1 if device.type == "cpu" else _AT_ONCE
        # Whoever asks first may only infer; who asks next may learn from the same.
        with torch.inference_mode(False), torch.no_grad():
            for first in range(0, len(unknown), at_once):
                part = unknown[first : first + at_once]
                vectors = [vector.cpu() for vector in encode(part, device)]
                found |= dict(zip(part, vectors, strict=True))
        known.update((text, found[text]) for text in unknown)
        return [found[text].to(device) for text in texts]

    def _encode(self, texts: Sequence[str], device: torch.device) -> list[Tensor]:
        hidden_BLC, tokens = self._run(list(texts), device)
        return list(masked_mean(hidden_BLC, tokens["attention_mask"].bool()))

    def _encode_words(self, texts: Sequence[Sequence[str]], device: torch.device) -> list[Tensor]:
        hidden_BLC, tokens = self._run([list(words) for words in texts], device)
        found = []
        for number, words in enumerate(texts):
            owners = [-1 if word is None else word for word in tokens.word_ids(number)]
            belongs_WL = torch.tensor(owners) == torch.arange(len(words))[:, None]
            weights_WL = belongs_WL.to(hidden_BLC)
            weights_WL = weights_WL / weights_WL.sum(1, keepdim=True).clamp(min=1)
            found.append(weights_WL @ hidden_BLC[number])
        return found

    def _run(self, texts: list[Any], device: torch.device) -> tuple[Tensor, Any]:
        """Hidden states (B, L, C) of texts, or of lists of words, and their tokens."""
        backbone = self.backbone
        if backbone.device != device:  # to() looks at every layer, which takes as long as one
            backbone.to(device)
        tokens = self._tokenizer(
            texts,
            is_split_into_words=not isinstance(texts[0], str),
            padding=True,
            truncation=True,
            max_length=self.config.max_tokens,
            return_tensors="pt",
        )
        return backbone(**tokens.to(device)).last_hidden_state, tokens


class LowRank(nn.Module):
    """A linear layer W plus a learnt change of low rank, W x + B A x (LoRA, Hu et al. 2022).

    B starts at zero, so that the layer starts as it was; A x is scaled by 2.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + 2.0 * self.up(self.down(x))


# What the projections to queries and values are called in transformers' models.
_ATTENTION = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin")


def add_low_rank(model: nn.Module, rank: int) -> None:
    """Let the queries and values of every attention layer change by `rank`, in place.

    Raises:
        UserError: the model has no projections of these names.
    """
    owners = [
        (owner, name)
        for owner in model.modules()
        for name, child in owner.named_children()
        if name in _ATTENTION and isinstance(child, nn.Linear)
    ]
    if not owners:
        raise UserError(
            f"text.train=lora: found no attention projection named {', '.join(_ATTENTION)} in "
            f"{type(model).__name__}; choose text.train=frozen or full"
        )
    for owner, name in owners:
        setattr(owner, name, LowRank(getattr(owner, name), rank))


def quietly(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Load a model without transformers' own progress bar, which would break ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return load(*args, **kwargs)
    finally:
        if shown:
            logging.enable_progress_bar()


class TextHead(nn.Module):
    """From the text model's width to the shared space; one a kind of text."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * dim), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * dim, dim),
        )  # fmt: skip

    def forward(self, x_BC: Tensor) -> Tensor:
        """(B, D)."""
        return self.layers(x_BC)


class TranscriptTower(nn.Module):
    """What is learnt about transcripts on top of a `TextEncoder`.

    Without layers a sentence is the text model's, seen through a head, and its words go through
    the same head. With layers, a transformer over the words makes both.
    """

    def __init__(
        self, config: TextTowerConfig, width: int, dim: int, variational: bool = False
    ) -> None:
        super().__init__()
        self.has_layers = config.layers > 0
        inner = width
        if self.has_layers:
            inner = dim
            self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
            self.position = nn.Parameter(torch.randn(config.max_tokens, inner) * 0.02)
            self.layers = transformer(inner, config.layers, config.heads, 4 * inner, config.dropout)
            self.pool = Pooling(config.pool, inner)
        self.head = TextHead(inner, dim, config.dropout)
        self.log_variance = nn.Linear(inner, dim) if variational else None

    def forward(
        self,
        encoder: TextEncoder,
        texts: Sequence[str],
        words: Sequence[Sequence[str]] | None,
        count: int | None,
        device: torch.device,
    ) -> Encoded:
        """Of transcripts as sentences and, for layers or where wanted, as words.

        Args:
            words: at least one a text, at most `max_tokens`; None where only sentences are wanted.
            count: W, words of the longest text in the whole batch.
        """
        if words is None and not self.has_layers:
            pooled_BC = encoder(texts, device)
            steps_BWC = pooled_BC[:, None]
            real_BW = torch.ones(steps_BWC.shape[:2], dtype=torch.bool, device=device)
        else:
            assert words is not None
            steps_BWC, real_BW = encoder.words(words, device, count)
            if self.has_layers:
                steps_BWC = self.enter(steps_BWC) + self.position[: steps_BWC.shape[1]]
                steps_BWC = attend(self.layers, steps_BWC, real_BW)
                pooled_BC = self.pool(steps_BWC, real_BW)
            else:
                pooled_BC = encoder(texts, device)
        log_variance = None if self.log_variance is None else self.log_variance(pooled_BC)
        return Encoded(self.head(pooled_BC), self.head(steps_BWC), real_BW, log_variance)
