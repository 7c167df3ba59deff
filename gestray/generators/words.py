"""Words as generators hear them: which one is spoken in each frame, and what it stands for."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.encoders.config import TextTowerConfig
from gestray.encoders.towers.text import TextEncoder
from gestray.speech.features import FRAMES_PER_S
from gestray.speech.words import Word

ABOUT_WORDS = 3
"""Columns of `frames_of_words`."""

VOCABULARY = 1024
"""Words whose vectors a generator keeps."""

# Frames of words: embedding_bag wakes other threads for however few, and they get in the way.
_FEW = 512


def spoken_form(word: str) -> str:
    """The word without case and without the punctuation around it."""
    return word.casefold().strip(" \t\n.,;:!?\"'()[]{}<>…“”‘’«»—–-")


def most_said(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The `VOCABULARY` most frequent words, as `spoken_form` has them, and the others.

    The most frequent first.
    """
    times = Counter(map(spoken_form, words))
    del times[""]
    found = tuple(sorted(times, key=lambda word: (-times[word], word)))
    return found[:VOCABULARY], found[VOCABULARY:]


def frames_of_words(words: Sequence[Word], first: int, last: int) -> np.ndarray:
    """What is spoken in the frames `first` to `last`, exclusive: float32 (frames, 3).

    Columns: number of the word in `words`, −1 where none is spoken; how much of it is over at
    the frame's end, in [0, 1]; and 1 in the frame in which it begins.
    """
    found = np.zeros((last - first, ABOUT_WORDS), np.float32)
    found[:, 0] = -1
    times = np.array([(word.start_s, word.end_s) for word in words], np.float64).reshape(-1, 2)
    start, end = times.T * FRAMES_PER_S
    begins = start.astype(np.int64)
    ends = np.maximum(begins + 1, np.rint(end).astype(np.int64))
    # All frames of all words, word by word: where words overlap, the later one is spoken.
    counts = (np.minimum(ends, last) - np.maximum(begins, first)).clip(min=0)
    number = np.repeat(np.arange(len(words)), counts)
    within = np.arange(len(number)) - np.repeat(counts.cumsum() - counts, counts)
    frame = np.maximum(begins, first)[number] + within
    over = (frame + 1 - start[number]) / np.maximum(end - start, 1e-3)[number]
    found[frame - first] = np.stack([number, over.clip(0, 1), frame == begins[number]], axis=1)
    return found


def word_rows(about: np.ndarray, spoken: Sequence[Mapping[int, str]]) -> tuple[Tensor, list[str]]:
    """Words of windows as rows of a vocabulary.

    Args:
        about: word numbers (B, T), −1 where none is spoken.
        spoken: for each window its words by number.

    Returns:
        Row of each frame's word (B, T), 0 for none; and the words of rows 1, 2, …
    """
    vocabulary = sorted({word for window in spoken for word in window.values()})
    row_of = {word: row for row, word in enumerate(vocabulary, start=1)}
    apart = int(about.max(initial=0)) + 2
    rows = {
        window * apart + number: row_of[word]
        for window, words in enumerate(spoken)
        for number, word in words.items()
    }
    keys = np.array(sorted(rows), dtype=np.int64)
    asked = np.arange(len(about))[:, None] * apart + about.astype(np.int64)
    found = np.zeros(about.shape, np.int64)
    silent = about < 0
    if len(keys):
        place = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
        found = np.array([rows[key] for key in keys.tolist()])[place]
    found[silent] = 0
    return torch.from_numpy(found), vocabulary


@functools.cache
def _encoder(config: str) -> TextEncoder:
    return TextEncoder(TextTowerConfig.model_validate_json(config))


class WordVectors(nn.Module):
    """Vectors of words in a frozen text model, each word by itself, looked up once.

    A word alone, because a stream does not know the sentence that it is in; what words mean
    together is the generator's to learn.

    Attributes:
        learnt: words that need not be looked up (C,) each; no part of the state.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.width: int = self.encoder.width
        self.learnt: Mapping[str, Tensor] = {}

    @property
    def encoder(self) -> TextEncoder:
        """Frozen, and so no part of the state: it is loaded by name, once in a process."""
        return _encoder(self.config.model_dump_json())

    def of(self, words: Sequence[str]) -> Tensor:
        """(V, width), with a mean square of 1, as the features of speech have it."""
        if not words:
            return torch.zeros(0, self.width)
        found: dict[str, Tensor] = {}
        if unknown := [word for word in words if word not in self.learnt]:
            vectors = _scaled(self.encoder(unknown, torch.device("cpu")))
            found = dict(zip(unknown, vectors, strict=True))
        return torch.stack([found[w] if w in found else self.learnt[w] for w in words])

    def together(self, words: Sequence[str]) -> dict[str, Tensor]:
        """Vectors (C,) by word, many times as fast as `of`, and the same but for the last bits."""
        return dict(zip(words, _scaled(self.encoder.at_once(words)), strict=True))

    def forward(self, rows: Tensor, vectors_VC: Tensor) -> Tensor:
        """Means (…, width) over the last dimension of rows (…, T), counted from 1, of `of`.

        A row of 0, where no word is spoken, is a vector of zeros.
        """
        table = functional.pad(vectors_VC.to(rows.device), (0, 0, 1, 0))
        if rows.numel() < _FEW:
            return table.index_select(0, rows.flatten()).view(*rows.shape, -1).mean(-2)
        means = functional.embedding_bag(rows.flatten(0, -2), table, mode="mean")
        return means.unflatten(0, rows.shape[:-1])


def _scaled(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
