"""What speech sounds like, frame by frame: the one interface of everything that listens.

Features of a frame come from what was heard until the frame's end and never from later: the
same function gives them for a recording and for a stream. The default (`MelFeatures`) needs no
weights; any audio model of `transformers` (HuBERT, wav2vec 2.0, WavLM, …) takes its place by name,
a classifier (of emotions, say) tells what it hears, and several can be joined.

Shapes: N windows, F frames at 30 a second, M mel bands, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from gestray.config import Config
from gestray.errors import UserError
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.mel import oshaughnessy_filters

FRAMES_PER_S = 30

# Windows of the short-time spectrum: 64 ms, two a frame.
_WINDOW = 1024
_PER_FRAME = 2
# Windows transformed at once: a megabyte, which stays in the cache.
_AT_ONCE = 256
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7600.0
# Power that counts as silence (−70 dB of full scale), and what brings the logarithm of speech
# to about ±1.
_SILENCE = 1e-7
_MIDDLE, _SPREAD = -9.0, 4.0
# A frame this loud (on the scale of `energy`) is spoken in: −45 dB of full scale.
_SPOKEN_FROM = (math.log(10**-4.5) - _MIDDLE) / _SPREAD


class MelConfig(Config):
    """Log-mel bands, energy and onset strength; needs no weights.

    Args:
        bands: M, from 60 to 7600 Hz.
    """

    kind: Literal["mel"] = "mel"
    bands: int = Field(40, ge=4, le=128)

    def build(self) -> MelFeatures:
        return MelFeatures(self.bands)


class AudioModelConfig(Config):
    """The hidden states of an audio model of `transformers`.

    Such a model looks both ways. It hears the `context_s` before the end of the frames that are
    asked for, so that a stream, which asks hop by hop, hears what training heard.

    Args:
        model: a folder, or a name on the model hub, such as facebook/hubert-base-ls960.
        layer: whose hidden states; −1 is the last.
        context_s: what it hears at once, seconds.
        hop_s: frames that are asked for at once, seconds.
    """

    kind: Literal["transformers"] = "transformers"
    model: str
    layer: int = -1
    context_s: float = Field(4.0, gt=0)
    hop_s: float = Field(16 / 30, gt=0)

    def build(self) -> AudioModelFeatures:
        return AudioModelFeatures(self)


class ClassifierConfig(Config):
    """How likely each class of an audio classifier of `transformers` is, such as an emotion.

    What it tells of is longer than a frame: it hears the `context_s` before the end of each hop,
    and its answer stands for all frames of that.

    Args:
        model: a folder, or a name on the model hub, such as superb/wav2vec2-base-superb-er.
        context_s, hop_s: as in `AudioModelConfig`.
    """

    kind: Literal["classifier"] = "classifier"
    model: str
    context_s: float = Field(4.0, gt=0)
    hop_s: float = Field(16 / 30, gt=0)

    def build(self) -> ClassifierFeatures:
        return ClassifierFeatures(self)


OneFeatureConfig = Annotated[
    MelConfig | AudioModelConfig | ClassifierConfig, Field(discriminator="kind")
]


class JoinedConfig(Config):
    """Several features side by side, as log-mel and emotion.

    Args:
        parts: whose columns come one after the other; their hops are the same where they have one.
    """

    kind: Literal["joined"] = "joined"
    parts: tuple[OneFeatureConfig, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _hop_together(self) -> JoinedConfig:
        hops = {part.hop_s for part in self.parts if not isinstance(part, MelConfig)}
        if len(hops) > 1:
            found = " and ".join(f"{hop:g}" for hop in sorted(hops))
            raise UserError(f"speech.parts: found hop_s {found}, expected one for all of them")
        return self

    def build(self) -> JoinedFeatures:
        return JoinedFeatures([part.build() for part in self.parts])


FeatureConfig = Annotated[
    MelConfig | AudioModelConfig | ClassifierConfig | JoinedConfig, Field(discriminator="kind")
]


class Sound:
    """Samples of a recording or a stream, by their number since its start.

    Args:
        samples: float32 (N,) at 16 kHz, in [-1, 1).
        first: number of the first of them; what lies before it is silence.
    """

    def __init__(self, samples: np.ndarray | None = None, first: int = 0) -> None:
        self.samples = np.zeros(0, np.float32) if samples is None else samples
        self.first = first

    @property
    def end(self) -> int:
        """One past the last sample."""
        return self.first + len(self.samples)

    def append(self, samples: np.ndarray) -> None:
        """What is heard next."""
        self.samples = np.concatenate([self.samples, samples.astype(np.float32, copy=False)])

    def forget(self, before: int) -> None:
        """Let go of samples that nobody will ask for."""
        gone = min(before - self.first, len(self.samples))
        # Only when it is at least half, so that letting go costs no more than hearing.
        if 2 * gone > len(self.samples):
            self.samples = self.samples[gone:].copy()
            self.first += gone

    def between(self, first: int, last: int) -> np.ndarray:
        """Samples `first` to `last`, exclusive; silence beyond either end."""
        found = np.zeros(last - first, np.float32)
        start, stop = max(first, self.first), min(last, self.end)
        if stop > start:
            found[start - first : stop - first] = self.samples[
                start - self.first : stop - self.first
            ]
        return found


class SpeechFeatures(Protocol):
    """Features of frames from what was heard until their end."""

    width: int
    """C."""

    reach: int
    """Samples before the first frame's start that are looked at."""

    hop: int | None
    """Frames that must be asked for at once, from a multiple of it on; None: as one likes."""

    def __call__(self, sound: Sound, first: int, last: int) -> np.ndarray:
        """float32 (last − first, C) of the frames `first` to `last`, exclusive."""


def end_of_frame(frame: int, parts: int = 1) -> int:
    """The sample with which a frame (or one of `parts` of it) ends, counted from 0."""
    return (2 * frame * SAMPLE_RATE + FRAMES_PER_S * parts) // (2 * FRAMES_PER_S * parts)


def frames_in(samples: int) -> int:
    """Whole frames in so many samples."""
    frames = samples * FRAMES_PER_S // SAMPLE_RATE + 1
    return frames if end_of_frame(frames) <= samples else frames - 1


def features_of(sound: Sound, features: SpeechFeatures, frames: int) -> np.ndarray:
    """float32 (frames, C) of a recording, asked for as a stream would ask."""
    hop = features.hop
    if hop is None:
        return features(sound, 0, frames)
    parts = [features(sound, first, first + hop) for first in range(0, frames, hop)]
    return np.concatenate(parts)[:frames]


class MelFeatures:
    """Log-mel bands, log energy and onset strength of each frame: C = M + 2.

    A frame is the mean of two windows of 64 ms, which end with its first half and with its
    second. Onset strength is spectral flux (Dixon 2006): by how much the bands rise from one
    window to the next, falls left out; of a frame the greater.
    """

    hop: int | None = None

    def __init__(self, bands: int = 40) -> None:
        from scipy.fft import rfft
        from scipy.sparse import csr_array

        self._rfft = rfft  # of many windows at once four times as fast as numpy's
        self.width = bands + 2
        self.reach = _WINDOW + end_of_frame(1)
        filters = oshaughnessy_filters(_WINDOW, SAMPLE_RATE, bands, _LOWEST_HZ, _HIGHEST_HZ)
        # Two bands look at each frequency: as a sparse product they are summed in no time, in one
        # thread. That of the whole matrix wakes those of BLAS, beside those of torch.
        self._from_power = csr_array(filters.T.astype(np.float32))
        self._window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
        self._scale = np.float32(1 / np.square(self._window).sum())

    def __call__(self, sound: Sound, first: int, last: int) -> np.ndarray:
        # The window before the first one is what its rise is measured from.
        numbers = range(_PER_FRAME * first, _PER_FRAME * last + 1)
        ends = np.array([end_of_frame(number, _PER_FRAME) for number in numbers])
        start = int(ends[0]) - _WINDOW
        heard = sound.between(start, int(ends[-1]))
        windows = np.lib.stride_tricks.sliding_window_view(heard, _WINDOW)
        begins = np.split(ends - _WINDOW - start, range(_AT_ONCE, len(ends), _AT_ONCE))
        powers = [self._powers(windows[some]) for some in begins]
        bands_NM, energy_N1 = (_level(np.concatenate(each)) for each in zip(*powers, strict=True))
        onset_N = np.maximum(np.diff(bands_NM, axis=0), 0).mean(axis=1)
        levels_NC = np.concatenate([bands_NM, energy_N1], axis=1)[1:]
        levels_FC = levels_NC.reshape(-1, _PER_FRAME, levels_NC.shape[1]).mean(axis=1)
        onset_F = onset_N.reshape(-1, _PER_FRAME).max(axis=1)
        return np.concatenate([levels_FC, onset_F[:, None]], axis=1).astype(np.float32)

    def _powers(self, windows_NS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each window: its bands' (N, M) and its own (N, 1)."""
        spectrum = self._rfft(windows_NS * self._window, axis=1)
        power_NK = (np.square(spectrum.real) + np.square(spectrum.imag)) * self._scale
        whole_N1 = np.square(windows_NS).mean(axis=1, keepdims=True)
        return (self._from_power @ power_NK.T).T, whole_N1

    def spoken(self, features: np.ndarray) -> np.ndarray:
        """In which frames of features (F, C) somebody speaks, by loudness alone: bool (F,)."""
        return features[:, -2] > _SPOKEN_FROM


def _level(power: np.ndarray) -> np.ndarray:
    return (np.log(power + _SILENCE) - _MIDDLE) / _SPREAD


class AudioModelFeatures:
    """The hidden states of an audio model, at the middle of each frame; see `AudioModelConfig`."""

    def __init__(self, config: AudioModelConfig) -> None:
        import torch
        from transformers import AutoModel

        from gestray.models import resolve_model

        self.config = config
        self.hop: int | None = max(1, round(config.hop_s * FRAMES_PER_S))
        self._model: Any = AutoModel.from_pretrained(
            resolve_model(config.model), dtype=torch.float32
        ).eval()
        self.width: int = self._model.config.hidden_size
        self._context = round(config.context_s * SAMPLE_RATE)
        self.reach = self._context

    def __call__(self, sound: Sound, first: int, last: int) -> np.ndarray:
        import torch

        end = end_of_frame(last)
        start = min(end - self._context, end_of_frame(first) - SAMPLE_RATE // 10)
        heard = sound.between(start, end)
        # Zero mean and unit variance, as the feature extractors of these models have it.
        heard = (heard - heard.mean()) / math.sqrt(heard.var() + 1e-7)
        with torch.inference_mode():
            found = self._model(torch.from_numpy(heard)[None], output_hidden_states=True)
            hidden_TC = found.hidden_states[self.config.layer][0].numpy()
        # Of T states over the stretch, each stands for the middle of its share.
        middles = start + (np.arange(len(hidden_TC)) + 0.5) * (end - start) / len(hidden_TC)
        wanted = [(end_of_frame(f) + end_of_frame(f + 1)) / 2 for f in range(first, last)]
        place = np.interp(wanted, middles, np.arange(len(hidden_TC)))
        lower = np.floor(place).astype(int)
        upper = np.minimum(lower + 1, len(hidden_TC) - 1)
        share = (place - lower)[:, None].astype(np.float32)
        return (1 - share) * hidden_TC[lower] + share * hidden_TC[upper]


class ClassifierFeatures:
    """Probabilities of the classes of an audio classifier; see `ClassifierConfig`.

    Attributes:
        classes: their names, one a column.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        import torch
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        from gestray.models import resolve_model

        source, model = resolve_model(config.model), AutoModelForAudioClassification
        try:
            self._listen: Any = AutoFeatureExtractor.from_pretrained(source)
            loaded, about = model.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            first = (str(error).splitlines() or ["unknown"])[0]
            raise UserError(
                f"speech.model: found {config.model!r}, expected an audio classifier of "
                f"transformers with its feature extractor: {first}"
            ) from None
        within = f"{loaded.base_model_prefix}."
        if head := [key for key in about["missing_keys"] if not key.startswith(within)]:
            raise UserError(
                f"speech.model: {config.model!r} has no weights for {', '.join(sorted(head)[:3])}, "
                "so it is no classifier; its hidden states are speech.kind=transformers"
            )
        if self._listen.sampling_rate != SAMPLE_RATE:
            raise UserError(
                f"speech.model: {config.model!r} hears {self._listen.sampling_rate} Hz, expected "
                f"a model of {SAMPLE_RATE} Hz"
            )
        self.hop: int | None = max(1, round(config.hop_s * FRAMES_PER_S))
        self._model: Any = loaded.eval()
        self._several = loaded.config.problem_type == "multi_label_classification"
        self.classes = tuple(loaded.config.id2label[n] for n in range(loaded.config.num_labels))
        self.width = len(self.classes)
        self.reach = round(config.context_s * SAMPLE_RATE)

    def __call__(self, sound: Sound, first: int, last: int) -> np.ndarray:
        import torch

        end = end_of_frame(last)
        heard = sound.between(end - self.reach, end)
        given = self._listen(heard, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**given).logits[0]
        likely = logits.sigmoid() if self._several else logits.softmax(-1)
        return np.tile(likely.numpy(), (last - first, 1))


class JoinedFeatures:
    """Columns of several features, one after the other; see `JoinedConfig`."""

    def __init__(self, parts: Sequence[SpeechFeatures]) -> None:
        self._parts = parts
        self.width = sum(part.width for part in parts)
        self.reach = max(part.reach for part in parts)
        self.hop = next((part.hop for part in parts if part.hop is not None), None)

    def __call__(self, sound: Sound, first: int, last: int) -> np.ndarray:
        return np.concatenate([part(sound, first, last) for part in self._parts], axis=1)
