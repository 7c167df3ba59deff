"""Windows of speech and motion that belong together: what generators learn from.

A row holds a window's motion, and frame by frame the features of its speech, which word is
spoken, and how much is meant. Features of speech are made here, while windows are cut: log-mel
of a take of 45 s takes some 20 ms, about as long as reading its motion, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gestray.errors import UserError
from gestray.generators.feature_rows import read_features
from gestray.generators.words import frames_of_words, spoken_form
from gestray.speech.audio import pcm16_to_float
from gestray.speech.features import FeatureConfig, Sound, SpeechFeatures, features_of
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.views.catalog import TakeRef
from gestray.views.frames import cut_frames
from gestray.views.windows import WindowConfig, Windows

# Labels of BEAT and BEAT2 for gestures that mean nothing: none, and beats.
_MEANINGLESS = ("00_", "01_")


@dataclass(frozen=True)
class SpeechWindows:
    """View of the windows that lie whole inside one split, with their speech.

    Args:
        config: how takes are cut.
        split: whose windows.
        motion: columns of motion.
        speech: features of speech.
        features: of a `features` artifact, where they were computed once; None: they are made
            while windows are cut.
    """

    config: WindowConfig
    split: str
    motion: tuple[str, ...]
    speech: FeatureConfig
    features: Folder | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        heard = () if self.features is not None else ("audio",)
        return (*self.motion, *heard, "semantics")

    @property
    def _windows(self) -> Windows:
        return Windows(self.config, self.split, self.motion)

    def count(self, ref: TakeRef) -> int:
        return self._windows.count(ref)

    def lengths(self, ref: TakeRef) -> list[int]:
        return self._windows.lengths(ref)

    def cut(self, ref: TakeRef, take: pa.Table, samples: Sequence[int]) -> pa.Table:
        assert ref.num_frames is not None, "a take without motion has no windows"
        frames = self.config.frames
        starts = self._windows.starts(ref, np.asarray(samples, dtype=np.int64))
        of_frames, forms = words_of(ref)
        spoken = [
            sorted({int(i) for i in of_frames[start : start + frames, 0] if i >= 0})
            for start in starts
        ]
        rows = self._windows.cut(ref, take, samples)
        columns = {
            "speech": cut_frames(self._features(ref, take), starts, frames),
            "words": cut_frames(of_frames, starts, frames),
            "meaning": cut_frames(meaning_of(take, ref.num_frames), starts, frames),
            "spoken": pa.array(
                [[(i, forms[i]) for i in found] for found in spoken],
                pa.map_(pa.int32(), pa.string()),
            ),
            "speaker": pa.array([ref.speaker] * len(starts), pa.string()),
        }
        for name, column in columns.items():
            rows = rows.append_column(name, column)
        return rows

    def _features(self, ref: TakeRef, take: pa.Table) -> np.ndarray:
        if self.features is None:
            return features_of_take(ref, take, self.speech)
        assert ref.num_frames is not None
        return read_features(self.features, ref.take_id, ref.num_frames)


def features_of_take(ref: TakeRef, take: pa.Table, config: FeatureConfig) -> np.ndarray:
    """Features of a take's speech, one row a frame of its motion: float32 (frames, C).

    Raises:
        UserError: the take has no audio.
    """
    assert ref.num_frames is not None, "a take without motion has no frames"
    audio = take["audio"][0].as_buffer()
    if audio is None:
        raise UserError(
            f"take {ref.take_id!r} has no audio, and a generator learns from speech; ingest a "
            "corpus in which every take has it"
        )
    return features_of(Sound(pcm16_to_float(memoryview(audio))), built(config), ref.num_frames)


def words_of(ref: TakeRef) -> tuple[np.ndarray, dict[int, str]]:
    """The words of a take: its `frames_of_words`, and by number what is said.

    Raises:
        UserError: a word has no times.
    """
    assert ref.num_frames is not None, "a take without motion has no frames"
    words = [Word(**word) for word in ref.words or ()]
    check_times(words, f"take {ref.take_id!r}")
    forms = {number: spoken_form(word.word) for number, word in enumerate(words)}
    return frames_of_words(words, 0, ref.num_frames), forms


_BUILT: dict[str, SpeechFeatures] = {}


def built(config: FeatureConfig) -> SpeechFeatures:
    """The features of a config; a model is loaded once in a process."""
    key = config.model_dump_json()
    if key not in _BUILT:
        _BUILT[key] = config.build()
    return _BUILT[key]


def check_times(words: Sequence[Word], whose: str) -> None:
    """Refuse words whose times are unknown.

    Raises:
        UserError: names the first one and what to do.
    """
    for word in words:
        if word.start_s is None or word.end_s is None:
            raise UserError(
                f"{whose}: the word {word.word!r} has no times, which generators need; make them "
                "with `gestray speech align`"
            )


def meaning_of(take: Mapping[str, Any] | pa.Table, frames: int) -> np.ndarray:
    """How much each frame is meant by the labels of a take: float32 (frames, 2).

    The first column is the annotators' score, the second 1 where the gesture means something
    and 0 where it is a beat or none. Both are −1 in a take without labels.
    """
    labels = take["semantics"][0].as_py()
    if labels is None:
        return np.full((frames, 2), -1, np.float32)
    found = np.zeros((frames, 2), np.float32)
    for label in labels:
        first, last = round(label["start_s"] * 30), round(label["end_s"] * 30)
        means = not label["label"].startswith(_MEANINGLESS)
        score = label["score"] if label["score"] is not None else float(means)
        found[max(0, first) : last] = score, means
    return found
