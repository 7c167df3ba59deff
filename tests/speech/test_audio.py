"""Audio of any kind becomes PCM16 mono 16 kHz, with the same sound in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gestray.errors import BadInput
from gestray.speech.audio import SAMPLE_RATE, decode_audio, pcm16_to_float, read_audio


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def encoded(samples: np.ndarray, rate: int, format: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def wav(samples: np.ndarray, rate: int, subtype: str) -> bytes:
    return encoded(samples, rate, "WAV", subtype)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_tone_survives(tmp_path: Path, rate: int, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    sound = tone(rate)
    if subtype == "PCM_U8":  # libsndfile rounds down to the 256 levels; we want the nearest
        sound = np.round(sound * 128) / 128
    path.write_bytes(wav(np.tile(sound[:, None], channels), rate, subtype))
    samples = pcm16_to_float(read_audio(path))
    assert abs(len(samples) - SAMPLE_RATE) <= 1
    middle = slice(500, 15_500)  # a resampler rings at the ends
    # Half a step of 8 bits is 0.004; the rest is far below.
    tolerance = 0.006 if subtype == "PCM_U8" else 2e-3
    np.testing.assert_allclose(samples[middle], tone(SAMPLE_RATE)[middle], atol=tolerance)


COMPRESSED = [
    ("FLAC", "PCM_S8", 96_000, 1),
    ("FLAC", "PCM_24", 192_000, 8),
    ("OGG", "VORBIS", 8_000, 1),
    ("OGG", "VORBIS", 44_100, 6),
    ("OGG", "OPUS", 16_000, 1),
    ("OGG", "OPUS", 48_000, 8),
    ("MP3", "MPEG_LAYER_III", 8_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),
]


@pytest.mark.parametrize(("format", "subtype", "rate", "channels"), COMPRESSED)
def test_the_tone_survives_compression(format: str, subtype: str, rate: int, channels: int) -> None:
    """Over many blocks, whatever the file is called, and undelayed.

    Lossy codecs change the sound a little; one sample of delay leaves a correlation of 0.985.
    """
    sound = np.tile(tone(rate, 6)[:, None], channels)
    data = encoded(sound, rate, format, subtype)
    samples = pcm16_to_float(decode_audio(io.BytesIO(data), "misnamed.wav"))
    assert abs(len(samples) - 6 * SAMPLE_RATE) <= 1
    middle = slice(SAMPLE_RATE // 2, -SAMPLE_RATE // 2)
    correlation = np.corrcoef(samples[middle], tone(SAMPLE_RATE, 6)[middle])[0, 1]
    assert correlation > (0.999999 if format == "FLAC" and subtype == "PCM_24" else 0.99)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=200))
def test_pcm16_at_16_khz_is_unchanged(values: list[int]) -> None:
    samples = np.array(values, dtype="<i2")
    data = decode_audio(io.BytesIO(wav(samples, SAMPLE_RATE, "PCM_16")), "f")
    assert data == samples.tobytes()
    np.testing.assert_array_equal(np.rint(pcm16_to_float(data) * 32768), samples)


def test_float_and_pcm16_of_one_sound_agree() -> None:
    samples = np.arange(-32768, 32768, dtype="<i2")
    exact = (samples / 32768).astype(np.float32)
    data = decode_audio(io.BytesIO(wav(exact, SAMPLE_RATE, "FLOAT")), "f")
    difference = np.frombuffer(data, "<i2").astype(int) - samples
    assert np.abs(difference).max() == 0


def test_blocks_leave_no_seam() -> None:
    """A minute at 44.1 kHz spans many blocks; the tone must not break between them."""
    data = wav(tone(44_100, seconds=20), 44_100, "FLOAT")
    samples = pcm16_to_float(decode_audio(io.BytesIO(data), "f"))
    assert len(samples) == 20 * SAMPLE_RATE
    middle = slice(500, -500)
    np.testing.assert_allclose(samples[middle], tone(SAMPLE_RATE, 20)[middle], atol=1e-3)


def test_full_scale_is_clipped_and_channels_averaged() -> None:
    loud = decode_audio(io.BytesIO(wav(np.array([2.0, -2.0]), SAMPLE_RATE, "FLOAT")), "f")
    assert np.frombuffer(loud, "<i2").tolist() == [32767, -32768]
    stereo = np.array([[0.5, 0.0], [0.25, -0.25]])
    mixed = decode_audio(io.BytesIO(wav(stereo, SAMPLE_RATE, "FLOAT")), "f")
    assert pcm16_to_float(mixed).tolist() == [0.25, 0.0]


WHOLE = wav(tone(SAMPLE_RATE), SAMPLE_RATE, "PCM_16")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "header"),
        (b"not a wav file at all", "header"),
        (b"RIFF\x10\x00\x00\x00WAVEjunkjunkjunkjunk", "audio"),
        (WHOLE[: len(WHOLE) // 2], "size"),
        (wav(np.zeros(0), SAMPLE_RATE, "PCM_16"), "samples"),
        (wav(np.array([0.0, np.nan, 0.0]), SAMPLE_RATE, "FLOAT"), "samples"),
        (wav(np.array([0.0, np.inf, 0.0]), 44_100, "FLOAT"), "samples"),
        (wav(np.zeros(9), 1, "PCM_U8"), "sample rate"),
    ],
)
def test_damage_is_named(data: bytes, field: str) -> None:
    with pytest.raises(BadInput) as error:
        decode_audio(io.BytesIO(data), "wave16k/x.wav")
    assert (error.value.file, error.value.field) == ("wave16k/x.wav", field)


def test_size_unknown_to_the_writer_is_no_damage() -> None:
    """Writers to a pipe leave the size at its largest; the samples are there."""
    piped = WHOLE[:4] + b"\xff\xff\xff\xff" + WHOLE[8:40] + b"\xff\xff\xff\xff" + WHOLE[44:]
    assert decode_audio(io.BytesIO(piped), "f") == decode_audio(io.BytesIO(WHOLE), "f")
