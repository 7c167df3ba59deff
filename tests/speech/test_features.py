"""Speech features: known sounds, streams that equal recordings, and audio models by name."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.speech.audio import SAMPLE_RATE, samples_of_frames
from gestray.speech.features import (
    AudioModelConfig,
    MelFeatures,
    Sound,
    end_of_frame,
    features_of,
    frames_in,
)
from gestray.speech.spread import spread_words
from gestray.speech.words import words_of_text


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype("f4")


def test_frames_end_where_samples_of_frames_has_them():
    for frame in (1, 2, 3, 100, 108_000):
        assert end_of_frame(frame) == samples_of_frames(0, frame).stop
    assert [frames_in(n) for n in (0, 532, 533, 1066, 1067, 16_000)] == [0, 0, 1, 1, 2, 30]


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(hertz):
    mel = MelFeatures(40)
    tone = np.sin(2 * np.pi * hertz * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype("f4") / 2
    bands = mel(Sound(tone), 10, 20)[:, :40]
    edges = 700 * (
        10 ** (np.linspace(*2595 * np.log10(1 + np.array([60, 7600]) / 700), 42) / 2595) - 1
    )
    loudest = bands.argmax(axis=1)
    assert (edges[loudest] < hertz).all() and (hertz < edges[loudest + 2]).all()


def test_silence_is_flat_and_a_click_is_one_onset():
    mel = MelFeatures()
    samples = np.zeros(SAMPLE_RATE, "f4")
    silent = mel(Sound(samples), 0, 30)
    assert np.ptp(silent, axis=0).max() == 0 and not mel.spoken(silent).any()
    samples[end_of_frame(15) + 50] = 0.9
    clicked = mel(Sound(samples), 0, 30)
    assert clicked[:, -1].argmax() == 15 and (clicked[:, -1] > 0.05).sum() == 1
    assert np.array_equal(clicked[:15], silent[:15])  # nothing is heard before it sounds


def test_ten_decibels_more_shift_levels_and_leave_onsets():
    mel = MelFeatures()
    soft, loud = (mel(Sound(gain * noise(1)), 0, 30) for gain in (0.1, 10**0.5 * 0.1))
    shift = np.log(10) / 4
    assert np.allclose(loud[:, :-1] - soft[:, :-1], shift, atol=0.02)
    # The first windows rise from silence, and further if they are louder.
    assert np.allclose(loud[2:, -1], soft[2:, -1], atol=0.01)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12), st.integers(1, 40))
def test_a_stream_hears_what_a_recording_has(pieces, hop):
    """Whatever pieces sound arrives in, and with what is no longer needed forgotten."""
    mel, samples = MelFeatures(), noise(sum(pieces) / SAMPLE_RATE)
    whole = mel(Sound(samples), 0, frames_in(len(samples)))
    sound, done, found = Sound(), 0, []
    for end in np.cumsum(pieces):
        sound.append(samples[sound.end : end])
        while end_of_frame(done + hop) <= sound.end:
            found.append(mel(sound, done, done + hop))
            done += hop
            sound.forget(end_of_frame(done) - mel.reach)
            assert len(sound.samples) <= 2 * (mel.reach + end_of_frame(hop) + 5000)
    if found:
        assert np.allclose(np.concatenate(found), whole[:done], atol=1e-5)


@pytest.fixture(scope="module")
def tiny_audio_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import HubertConfig, HubertModel

    folder = tmp_path_factory.mktemp("hubert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    convolutions = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}
    config = HubertConfig(
        **sizes, **convolutions, intermediate_size=32, num_conv_pos_embedding_groups=2
    )
    HubertModel(config).save_pretrained(folder)
    return folder


def test_an_audio_model_by_name_gives_a_stream_what_it_gave_in_training(tiny_audio_model):
    features = AudioModelConfig(model=str(tiny_audio_model), context_s=1.0, hop_s=0.5).build()
    samples = noise(2.2)
    whole = features_of(Sound(samples), features, frames_in(len(samples)))
    assert whole.shape == (66, 16) and np.ptp(whole, axis=0).min() > 0
    sound = Sound()
    for first in range(0, 60, 15):
        sound.append(samples[sound.end : end_of_frame(first + 15)])
        assert np.allclose(features(sound, first, first + 15), whole[first : first + 15], atol=1e-5)
        sound.forget(end_of_frame(first + 15) - features.reach)


def test_words_without_times_are_laid_over_what_is_spoken():
    samples = np.concatenate(
        [np.zeros(SAMPLE_RATE, "f4"), noise(1), np.zeros(SAMPLE_RATE, "f4"), noise(1)]
    )
    words = spread_words(words_of_text("one two six ten"), samples)
    assert [word.word for word in words] == ["one", "two", "six", "ten"]
    starts, ends = ([getattr(word, name) for word in words] for name in ("start_s", "end_s"))
    assert np.allclose(starts, [1.0, 1.5, 3.0, 3.5], atol=0.1)
    assert np.allclose(ends, [1.5, 2.05, 3.5, 4.0], atol=0.1)


def test_words_over_silence_share_all_of_it():
    words = spread_words(words_of_text("so it goes"), np.zeros(2 * SAMPLE_RATE, "f4"))
    assert words[0].start_s == 0 and words[-1].end_s == pytest.approx(2, abs=0.04)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(words))
