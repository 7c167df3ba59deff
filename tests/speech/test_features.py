"""Speech features: known sounds, streams that equal recordings, and audio models by name."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.config import make_config
from gestray.errors import UserError
from gestray.speech.audio import SAMPLE_RATE, samples_of_frames
from gestray.speech.features import (
    AudioModelConfig,
    ClassifierConfig,
    JoinedConfig,
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


@pytest.fixture(scope="module")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained classifier of four emotions."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )

    folder = tmp_path_factory.mktemp("emotions")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        classifier_proj_size=8, id2label=dict(enumerate(["neutral", "happy", "angry", "sad"])),
    )  # fmt: skip
    model = Wav2Vec2ForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=5)  # so that what is heard shows
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def test_a_classifier_says_of_each_hop_what_transformers_own_pipeline_says(tiny_classifier):
    from transformers import pipeline

    features = ClassifierConfig(model=str(tiny_classifier), context_s=1.0, hop_s=0.5).build()
    assert features.classes == ("neutral", "happy", "angry", "sad")
    samples = noise(2.2) * np.linspace(0, 1, round(2.2 * SAMPLE_RATE), dtype="f4")
    whole = features_of(Sound(samples), features, frames_in(len(samples)))
    assert whole.shape == (66, 4) and np.allclose(whole.sum(axis=1), 1, atol=1e-5)
    own = pipeline("audio-classification", model=str(tiny_classifier), top_k=None)
    for hop in range(4):
        mine = whole[15 * hop : 15 * hop + 15]
        assert np.ptp(mine, axis=0).max() == 0
        end = end_of_frame(15 * hop + 15)
        heard = Sound(samples).between(end - SAMPLE_RATE, end)
        theirs = {one["label"]: one["score"] for one in own(heard)}
        assert mine[0] == pytest.approx([theirs[name] for name in features.classes], abs=1e-4)
    assert np.ptp(whole, axis=0).max() > 0.01


def test_emotion_beside_log_mel_is_both_in_a_stream_as_in_a_recording(tiny_classifier):
    emotion = {"kind": "classifier", "model": str(tiny_classifier), "context_s": 1.0, "hop_s": 0.5}
    config = JoinedConfig(parts=({"kind": "mel", "bands": 8}, emotion))
    joined, samples = config.build(), noise(2.2)
    assert (joined.width, joined.hop, joined.reach) == (14, 15, SAMPLE_RATE)
    parts = [part.build() for part in config.parts]
    whole = features_of(Sound(samples), joined, 60)
    for part, columns in zip(parts, (whole[:, :10], whole[:, 10:]), strict=True):
        assert np.allclose(features_of(Sound(samples), part, 60), columns, atol=1e-5)
    sound = Sound()
    for first in range(0, 60, 15):
        sound.append(samples[sound.end : end_of_frame(first + 15)])
        assert np.allclose(joined(sound, first, first + 15), whole[first : first + 15], atol=1e-4)
        sound.forget(end_of_frame(first + 15) - joined.reach)


def test_what_is_no_classifier_is_refused(tiny_classifier, tiny_audio_model, tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    with pytest.raises(UserError, match=r"expected an audio classifier of .* feature extractor"):
        ClassifierConfig(model=str(tiny_audio_model)).build()
    Wav2Vec2FeatureExtractor().save_pretrained(tiny_audio_model)
    with pytest.raises(UserError, match=r"no weights for classifier.*kind=transformers"):
        ClassifierConfig(model=str(tiny_audio_model)).build()
    low = tmp_path / "low"
    shutil.copytree(tiny_classifier, low)
    Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(low)
    with pytest.raises(UserError, match="hears 8000 Hz, expected a model of 16000 Hz"):
        ClassifierConfig(model=str(low)).build()
    one = {"kind": "classifier", "model": str(tiny_classifier)}
    with pytest.raises(UserError, match=r"hop_s 0.5 and 1, expected one"):
        make_config(JoinedConfig, {"parts": [{**one, "hop_s": 0.5}, {**one, "hop_s": 1.0}]})


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
