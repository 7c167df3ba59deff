"""What a network over codes is given: speech, words, speaker and past, token by token.

Shapes: B batch, T frames of a window, K tokens, P parts, L levels, D width of a code, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gestray.generators.config import TrainedGenerator
from gestray.generators.dropout import Dropout
from gestray.generators.words import ABOUT_WORDS, WordVectors


@dataclass(frozen=True)
class Words:
    """Words that are said in a window.

    Args:
        row: in `vocabulary`, of each frame's word (B, T), 0 for none.
        vocabulary: words of the rows 1, 2, …
        vectors: of the vocabulary (V, C), where somebody has looked them up.
    """

    row: Tensor
    vocabulary: list[str]
    vectors: Tensor | None = None


@dataclass(frozen=True)
class Window:
    """What is heard and remembered of a window.

    Args:
        speech: features (B, T, C).
        about: of words, as `frames_of_words` has it without the number (B, T, 2).
        words: which are said, or of each token what `Heard.word_vectors` makes of them (B, K, C).
        speaker: number of the speaker (B,), 0 for nobody in particular.
        past: code vectors (B, K, P, D) where the motion is known.
        known: where it is (B, K).
    """

    speech: Tensor
    about: Tensor
    words: Words | Tensor
    speaker: Tensor
    past: Tensor
    known: Tensor

    def before(self, token: int) -> Tensor:
        """Vectors (B, P, D) of the token before; zeros where nothing is known of it."""
        if not token:
            return torch.zeros_like(self.past[:, 0])
        return self.past[:, token - 1] * self.known[:, token - 1, None, None]


class Heard(nn.Module):
    """Tokens of width W of what is said in a window: `speech`, `text`.

    Args:
        blurs: how far words are moved in training, each batch anew, of their own spread: a word
            that is like one heard in training is then understood rather than not known.
    """

    def __init__(self, config: TrainedGenerator, speech_width: int, blurs: float = 0.0) -> None:
        super().__init__()
        self.blurs = blurs
        generator, tokenizer = config.generator, config.tokenizer
        width, self.frames_per_token = generator.width, tokenizer.frames_per_token
        patch = speech_width * self.frames_per_token
        self.from_speech = nn.Sequential(
            nn.Linear(patch, width), nn.GELU(), nn.Linear(width, width)
        )
        self.words = WordVectors(generator.text)
        self.from_words = nn.Sequential(
            Dropout(generator.dropout),
            nn.Linear(self.words.width + ABOUT_WORDS - 1, width),
            nn.GELU(),
            nn.Linear(width, width),
        )

    def speech(self, window: Window) -> Tensor:
        """(B, K, W)."""
        return self.from_speech(window.speech.unflatten(1, (-1, self.frames_per_token)).flatten(2))

    def word_vectors(self, window: Window) -> Tensor:
        """(B, K, C): means over the frames of each token."""
        if isinstance(window.words, Tensor):
            return window.words
        return self.tokens_of_words(window.words)

    def tokens_of_words(self, words: Words) -> Tensor:
        """(B, K, C): means over the frames of each token."""
        vectors_VC = words.vectors
        if vectors_VC is None:
            vectors_VC = self.words.of(words.vocabulary)
        if self.training and self.blurs:
            vectors_VC = vectors_VC + self.blurs * torch.randn_like(vectors_VC)
        return self.words(words.row.unflatten(1, (-1, self.frames_per_token)), vectors_VC)

    def text(self, window: Window, words_BKC: Tensor | None = None) -> Tensor:
        """(B, K, W); `words_BKC` are `word_vectors`, where they are there already."""
        if words_BKC is None:
            words_BKC = self.word_vectors(window)
        about_BKC = window.about.unflatten(1, (-1, self.frames_per_token)).mean(2)
        return self.from_words(torch.cat([words_BKC, about_BKC], dim=-1))


class HeardAndDone(Heard):
    """Tokens of all that a window holds: those of `Heard`, `speaker`, `past`."""

    def __init__(self, config: TrainedGenerator, speech_width: int) -> None:
        super().__init__(config, speech_width)
        width, tokenizer = config.generator.width, config.tokenizer
        self.from_speaker = nn.Embedding(len(config.speakers) + 1, width)
        self.from_past = nn.Linear(len(tokenizer.parts) * tokenizer.code_dim, width)
        self.unknown = nn.Parameter(torch.zeros(width))

    def speaker(self, window: Window) -> Tensor:
        """(B, 1, W)."""
        return self.from_speaker(window.speaker)[:, None]

    def past(self, window: Window) -> Tensor:
        """(B, K, W): what was done where it is known, and elsewhere that it is not."""
        return torch.where(
            window.known[..., None], self.from_past(window.past.flatten(2)), self.unknown
        )
