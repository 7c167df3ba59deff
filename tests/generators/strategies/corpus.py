"""Tiny recordings of known words and labels, for strategies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from gestray.corpora.shards import ShardWriter
from gestray.corpora.take import SemanticLabel, Take
from gestray.generators.strategies.recorded import Recorded
from gestray.retrieval.words import words_of
from gestray.speech.words import Word
from gestray.store import Folder

_WORD_S, _GAP_S = 0.3, 0.05


def said(text: str, start_s: float = 0.5) -> list[Word]:
    """The words of a text one after the other, without a pause."""
    step = _WORD_S + _GAP_S
    return [
        Word(word, start_s + n * step, start_s + n * step + _WORD_S)
        for n, word in enumerate(text.split())
    ]


def sentences(*texts: str) -> list[list[Word]]:
    return [said(text) for text in texts]


def embed(texts: Sequence[str]) -> np.ndarray:
    """Texts as the words in them, by their first four letters: alike where these are the same."""
    found = np.zeros((len(texts), 997), np.float32)
    for row, text in enumerate(texts):
        for word in words_of(text):
            found[row, sum(ord(c) * 31**n for n, c in enumerate(word[:4])) % 997] += 1
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def recorded(
    folder: Path,
    labels: Sequence[tuple[str, str]] = (),
    audio: dict[str, bytes] | None = None,
    **takes: Sequence[Sequence[Word]],
) -> Recorded:
    """Recordings of speakers; each sentence is a take of one phrase.

    Args:
        labels: a label and its keywords, of whichever take says them.
        audio: of takes by their number, where they have any.
        takes: sentences of each speaker.
    """
    rows: dict[str, list] = {
        name: []
        for name in ("phrase_id", "take_id", "speaker", "split", "start_s", "end_s", "text")
    }
    store = Folder(str(folder / "takes"))
    with store.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for speaker, phrases in takes.items():
            for words in phrases:
                take_id, text = f"take{len(rows['text'])}", " ".join(w.word for w in words)
                frames = round(30 * ((words[-1].end_s or 3.0) + 1.0))
                take = Take(
                    take_id=take_id,
                    split="train",
                    speaker=speaker,
                    poses=np.zeros((frames, 165), np.float32),
                    joint_mask=np.ones(55, bool),
                    words=list(words),
                    semantics=_labels(labels, words) if labels else None,
                    audio=(audio or {}).get(take_id),
                )
                writer.write(take)
                values = (f"{take_id}:0", take_id, speaker, "train", 0.0, frames / 30, text)
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    anchor = {name: pa.nulls(len(rows["text"]), pa.string()) for name in
              ("form_text", "intent", "intent_text", "handedness")}  # fmt: skip
    return Recorded(pa.table({**rows, **anchor}), store, embed, "store/index/tiny")


def _labels(labels: Sequence[tuple[str, str]], words: Sequence[Word]) -> list[SemanticLabel]:
    """Those labels whose keywords are said, where they are said."""
    spoken = [word.word for word in words]
    found = []
    for label, keywords in labels:
        wanted = keywords.split()
        for n in range(len(spoken) - len(wanted) + 1):
            if spoken[n : n + len(wanted)] == wanted:
                first, last = words[n].start_s, words[n + len(wanted) - 1].end_s
                assert first is not None and last is not None
                found.append(SemanticLabel(label, first, last, 0.5, keywords))
    return found
