"""What strategies search in: the phrases of an index, and what their takes say besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gestray.corpora.take import motion_from_column
from gestray.errors import UserError
from gestray.generators.strategies.contract import Clip
from gestray.retrieval.words import WordIndex
from gestray.speech.audio import pcm16_to_float
from gestray.speech.prominence import prominence_of
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog, read_columns

if TYPE_CHECKING:
    import pyarrow as pa

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to float32 (N, D), each of length 1."""

# Words to either side that are compared with a recorded phrase.
_CONTEXT = 8
# Candidates that are compared by sense, the best by points and by words in common.
_SHORTLIST = 32


class Recorded:
    """Recorded phrases.

    Args:
        phrases: rows of an index, those that can be found.
        takes: where their motion is.
        embed: of a text model that was trained on no gestures.
        uri: of the index, for errors.
    """

    def __init__(self, phrases: pa.Table, takes: Folder, embed: Embed, uri: str) -> None:
        self.phrases, self.takes, self.embed, self.uri = phrases, takes, embed, uri
        self.refs: dict[str, TakeRef] = {
            ref.take_id: ref for ref in read_catalog(takes) if ref.num_frames
        }
        names = ("phrase_id", "take_id", "speaker", "split", "start_s", "end_s", "text")
        self._columns = {name: phrases[name].to_pylist() for name in names}
        self.poses = lru_cache(maxsize=32)(self._read_poses)
        self.prominence = lru_cache(maxsize=256)(self._read_prominence)

    def __len__(self) -> int:
        return len(self.phrases)

    def __getitem__(self, name: str) -> list[Any]:
        """A column of the phrases."""
        return self._columns[name]

    def clip(self, row: int, start_s: float, end_s: float) -> Clip:
        """A stretch of the take of a phrase."""
        return Clip(self["phrase_id"][row], self["take_id"][row], start_s, end_s)

    @cached_property
    def by_take(self) -> dict[str, list[int]]:
        """Rows of each take's phrases."""
        found: dict[str, list[int]] = {}
        for row, take_id in enumerate(self["take_id"]):
            found.setdefault(take_id, []).append(row)
        return found

    def phrase_at(self, take_id: str, second: float) -> int | None:
        """Row of the phrase that lies there; None where there is none."""
        for row in self.by_take.get(take_id, ()):
            if self["start_s"][row] <= second < self["end_s"][row]:
                return row
        return None

    def words(self, take_id: str) -> tuple[Word, ...]:
        """All words of a take; none where they have no times."""
        words = tuple(Word(**word) for word in self._ref(take_id).words or ())
        return words if all(word.start_s is not None for word in words) else ()

    def semantics(self, take_id: str) -> list[dict[str, Any]]:
        """The corpus's own labels of a take; none where it has none."""
        row = read_columns(self.takes, self._ref(take_id), ["semantics"])
        return row["semantics"][0].as_py() or []

    def shortlist(
        self, text: str, rows: np.ndarray, points: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best by points, and of equal ones those that say most nearly the same.

        Args:
            text: what is said.
            rows: phrases (N,), possibly several times.
            points: of each (N,).

        Returns:
            Numbers of at most 32 of them, and the cosine of each one's text with `text`.
        """
        spoken = self._by_words.scores(text)[rows]
        chosen = np.lexsort((-spoken, -points))[:_SHORTLIST]
        vectors = self.embed([text, *(self["text"][row] for row in rows[chosen])])
        return chosen, vectors[1:] @ vectors[0]

    @cached_property
    def _by_words(self) -> WordIndex:
        return WordIndex(self.phrases)

    def _ref(self, take_id: str) -> TakeRef:
        if take_id not in self.refs:
            raise UserError(f"{self.takes.uri}: found no motion of take {take_id!r}")
        return self.refs[take_id]

    def _read_poses(self, take_id: str) -> np.ndarray:
        """Axis-angle (T, 165) of a take."""
        row = read_columns(self.takes, self._ref(take_id), ["poses"])
        poses = motion_from_column(row["poses"])
        assert poses is not None
        return poses

    def _read_prominence(self, take_id: str) -> np.ndarray | None:
        """Of each word of a take (W,); None where it has no sound."""
        words = self.words(take_id)
        audio = read_columns(self.takes, self._ref(take_id), ["audio"])["audio"][0].as_buffer()
        if audio is None or not words:
            return None
        return prominence_of(words, pcm16_to_float(memoryview(audio)))


def around(words: Sequence[Word], first: int, last: int, context: int = _CONTEXT) -> str:
    """The words `first` to `last`, exclusive, with some to either side."""
    return " ".join(word.word for word in words[max(0, first - context) : last + context])
