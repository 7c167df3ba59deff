"""Speech of the synthetic corpus: true word times, stress, and the same bytes again."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.synthetic import voice as voices
from gestray.corpora.synthetic import write_corpus
from gestray.corpora.synthetic.grammar import Sentence, make_sentence
from gestray.corpora.synthetic.lexicon import NEUTRAL
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.voice import SAMPLE_RATE, EspeakVoice, LettersVoice, find_espeak
from gestray.errors import UserError

try:
    find_espeak()
    HAS_ESPEAK = True
except UserError:
    HAS_ESPEAK = False
needs_espeak = pytest.mark.skipif(not HAS_ESPEAK, reason="espeak-ng is not at hand: [speech]")

TEXT = "out of the blue i have no idea what to do with the budget for the meeting"
SENTENCE = Sentence(tuple(TEXT.split()), (6, 8), "the budget")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A corpus with speech, made by one process, and again by two."""
    one, two = (tmp_path_factory.mktemp("spoken") for _ in range(2))
    summaries = [
        write_corpus(folder, 2, seed=2, seconds=15.0, speech=True, workers=workers)
        for folder, workers in ((one, 1), (two, 2))
    ]
    return one, two, summaries


@needs_espeak
def test_speech_is_the_same_bytes_from_any_number_of_processes(spoken):
    one, two, summaries = spoken
    assert summaries[0] == summaries[1]
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert sum(path.suffix == ".wav" for path in files) == 2
    assert files == [path.relative_to(two) for path in sorted(two.rglob("*")) if path.is_file()]
    for path in files:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


@needs_espeak
def test_energy_of_the_audio_is_where_the_words_are(spoken):
    root = spoken[0]
    pauses = []
    for take_id in list_takes(root).take_ids:
        wav = root / "wave16k" / f"{take_id}.wav"
        info = soundfile.info(wav)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        samples, _ = soundfile.read(wav)
        assert len(samples) == 15 * SAMPLE_RATE
        words = read_take(root, take_id).words
        assert len(words) >= 10
        power = samples**2
        inside = np.zeros(len(samples), dtype=bool)
        loudness = []
        for word in words:
            span = slice(round(word.start_s * SAMPLE_RATE), round(word.end_s * SAMPLE_RATE))
            inside[span] = True
            loudness.append(power[span].mean())
        assert power[inside].sum() / power.sum() > 0.97
        assert min(loudness) > 5 * power[~inside].mean()
        # Times that were off by a fifth of a second would leave the energy elsewhere.
        late = np.roll(inside, SAMPLE_RATE // 5)
        assert power[late].sum() < 0.95 * power[inside].sum()
        pauses += [
            power[round(a.end_s * SAMPLE_RATE) + 800 : round(b.start_s * SAMPLE_RATE) - 160]
            for a, b in itertools.pairwise(words)
            if b.start_s - a.end_s > 0.4
        ]
    assert pauses and max(pause.max() for pause in pauses) < 1e-4


@needs_espeak
def test_words_spoken_as_one_are_told_apart():
    with EspeakVoice(SPEAKERS[0]) as voice:
        speech = voice.say(SENTENCE, 2.5, np.random.default_rng(0))
    assert tuple(word.text for word in speech.words) == SENTENCE.words
    starts = [word.start_s for word in speech.words]
    assert starts == sorted(starts)
    assert all(0.01 < word.end_s - word.start_s < 1.0 for word in speech.words)
    # "out of the" is one word to the synthesizer; its parts have their own sounds.
    labels = {
        word.text: [
            phone.label
            for phone in speech.phones
            if word.start_s <= phone.start_s and phone.end_s <= word.end_s
        ]
        for word in speech.words[:3]
    }
    assert labels["of"][-1] == "V" and labels["the"][0] == "D"
    stress = {word.text: word.stressed for word in speech.words}
    assert stress["blue"] and stress["budget"] and not stress["the"] and not stress["for"]


@needs_espeak
def test_speakers_speak_at_their_own_rate_and_pitch():
    rng = np.random.default_rng(0)
    sentences = [make_sentence(NEUTRAL.train, rng) for _ in range(12)]
    rates, pitches = [], []
    for speaker in SPEAKERS:
        with EspeakVoice(speaker) as voice:
            speeches = [voice.say(said, speaker.words_per_s, rng) for said in sentences]
        spoken = sum(speech.words[-1].end_s for speech in speeches)
        rates.append(sum(len(speech.words) for speech in speeches) / spoken / speaker.words_per_s)
        speech = speeches[0]
        x = speech.samples.astype(np.float64)
        spectrum = np.abs(np.fft.rfft(x, 1 << 17)) ** 2
        own = np.fft.irfft(spectrum)
        lags = np.arange(SAMPLE_RATE // 350, SAMPLE_RATE // 60)
        pitches.append(SAMPLE_RATE / lags[own[lags].argmax()])
    assert all(0.8 < rate < 1.25 for rate in rates), rates
    women = [p for s, p in zip(SPEAKERS, pitches, strict=True) if "+f" in s.voice]
    men = [p for s, p in zip(SPEAKERS, pitches, strict=True) if "+m" in s.voice]
    assert np.mean(women) > 1.2 * np.mean(men)


def test_letters_give_times_and_stress_without_sound():
    speech = LettersVoice().say(SENTENCE, 2.5, np.random.default_rng(0))
    assert len(speech.samples) == 0
    assert all(re.fullmatch(r"[AEIOU][01]", phone.label) for phone in speech.phones)
    for word in speech.words:
        inside = [
            p
            for p in speech.phones
            if p.start_s >= word.start_s - 1e-6 and p.end_s <= word.end_s + 1e-6
        ]
        assert inside and any(p.label.endswith("1") for p in inside) == word.stressed
    later = speech.later(1.25)
    assert later.words[3].start_s == pytest.approx(speech.words[3].start_s + 1.25, abs=1e-4)
    assert later.start_s == 1.25


def test_a_missing_synthesizer_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "find_spec", lambda name: None)
    monkeypatch.setattr(voices, "find_library", lambda name: None)
    with pytest.raises(UserError, match=r"gestray\[speech\]"):
        write_corpus(tmp_path / "corpus", 1, 0, 10.0, speech=True)
    assert not (tmp_path / "corpus").exists()


@needs_espeak
def test_what_the_synthesizer_complains_of_is_passed_on(monkeypatch):
    nobody = replace(SPEAKERS[0], voice="tlhIngan-nobody")
    with EspeakVoice(nobody) as voice, pytest.raises(UserError, match="tlhIngan-nobody"):
        voice.say(SENTENCE, 2.5, np.random.default_rng(0))
    library, _ = find_espeak()
    monkeypatch.setattr(voices, "find_espeak", lambda: (library, "/nowhere"))
    with EspeakVoice(SPEAKERS[0]) as voice, pytest.raises(UserError, match="speech: "):
        voice.say(SENTENCE, 2.5, np.random.default_rng(0))
