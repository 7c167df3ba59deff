"""Audio of any kind becomes PCM16 mono 16 kHz, with the same sound in it."""

from __future__ import annotations

import contextlib
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gestray.errors import BadInput
from gestray.speech.audio import (
    SAMPLE_RATE,
    decode_audio,
    pcm16_to_float,
    read_audio,
    sample_at,
    samples_of_frames,
)


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def encoded(samples: np.ndarray, rate: int, format: str, subtype: str | None) -> bytes:
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
    ids=["empty", "text", "no chunk", "cut off", "no samples", "nan", "infinite", "rate"],
)
def test_damage_is_named(data: bytes, field: str) -> None:
    with pytest.raises(BadInput) as error:
        decode_audio(io.BytesIO(data), "wave16k/x.wav")
    assert (error.value.file, error.value.field) == ("wave16k/x.wav", field)


def test_size_unknown_to_the_writer_is_no_damage() -> None:
    """Writers to a pipe leave the size at its largest; the samples are there."""
    piped = WHOLE[:4] + b"\xff\xff\xff\xff" + WHOLE[8:40] + b"\xff\xff\xff\xff" + WHOLE[44:]
    assert decode_audio(io.BytesIO(piped), "f") == decode_audio(io.BytesIO(WHOLE), "f")


def test_samples_that_the_data_chunk_promises_are_there() -> None:
    """Whatever comes before the chunk, and where 64 bits hold its size."""
    more = (len(WHOLE) - 44 + 2).to_bytes(4, "little")
    note = b"LIST\x03\x00\x00\x00abc\x00"
    piped = WHOLE[:4] + b"\xff\xff\xff\xff" + WHOLE[8:36] + note + WHOLE[36:]
    long = encoded(tone(SAMPLE_RATE), SAMPLE_RATE, "RF64", "PCM_16")
    for whole in (piped, long, WHOLE):
        assert len(decode_audio(io.BytesIO(whole), "f")) == 2 * SAMPLE_RATE
    overstated = piped[:52] + more + piped[56:]
    for cut in (overstated, long[:-2], WHOLE[:40] + more + WHOLE[44:]):
        with pytest.raises(BadInput, match=r"(32000|31998) bytes of samples"):
            decode_audio(io.BytesIO(cut), "f")


# --- drift ----------------------------------------------------------------


@pytest.mark.parametrize(
    "rate", [8000, 11_025, 22_050, 32_000, 37_800, 44_056, 44_100, 48_000, 96_000]
)
def test_clicks_stay_in_their_place_for_ten_minutes(rate: int) -> None:
    """Within a millisecond of motion, at the start as at the end."""
    seconds = np.array([1, 60, 300, 599])
    samples = np.zeros(600 * rate, np.int16)
    samples[seconds * rate] = 30_000
    data = decode_audio(io.BytesIO(wav(samples, rate, "PCM_16")), "f")
    heard = np.abs(np.frombuffer(data, "<i2"))
    assert abs(len(heard) - 600 * SAMPLE_RATE) <= 1
    for second in seconds:
        first = (second - 1) * SAMPLE_RATE + SAMPLE_RATE // 2
        place = first + int(np.argmax(heard[first : first + SAMPLE_RATE]))
        assert abs(place / SAMPLE_RATE - second) < 1e-3


def test_samples_of_frames_do_not_drift() -> None:
    slices = [samples_of_frames(n, n + 1) for n in range(10 * 60 * 30)]
    assert all(abs(3 * s.start - 1600 * n) <= 1.5 for n, s in enumerate(slices))
    assert all(a.stop == b.start for a, b in pairwise(slices))
    assert slices[-1].stop == 600 * SAMPLE_RATE == sample_at(600.0)
    assert samples_of_frames(3, 7) == slice(1600, 3733)
    assert samples_of_frames(0, 25, fps=25) == slice(0, SAMPLE_RATE)


# --- damage ---------------------------------------------------------------

KINDS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
NOISE = np.random.default_rng(0).normal(0, 0.2, SAMPLE_RATE)
FILES = {f"{kind}/{sub}": encoded(NOISE, SAMPLE_RATE, kind, sub) for kind, sub in KINDS}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.98])
def test_what_is_cut_short_is_refused(kind: str, keep: float) -> None:
    data = FILES[kind]
    with pytest.raises(BadInput):
        decode_audio(io.BytesIO(data[: int(keep * len(data))]), "f")


@pytest.mark.parametrize("kind", ["FLAC/PCM_16", "OGG/VORBIS", "OGG/OPUS"])
def test_formats_with_checksums_notice_bit_rot(kind: str) -> None:
    data = bytearray(FILES[kind])
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadInput):
        decode_audio(io.BytesIO(data), "f")


def test_an_mp3_that_does_not_state_its_length_is_refused() -> None:
    data = FILES["MP3/None"]
    tagged = b"ID3\x04\0\0\0\0\x21\x00" + bytes(33 * 128) + data
    assert decode_audio(io.BytesIO(tagged), "f") == decode_audio(io.BytesIO(data), "f")
    second = data.index(data[:2], 4)
    with pytest.raises(BadInput, match="length"):
        decode_audio(io.BytesIO(data[second:]), "f")


def test_a_declared_day_of_sound_is_refused_unread() -> None:
    """STREAMINFO of a FLAC file: total samples are the low 36 bits before the checksum."""
    data = bytearray(FILES["FLAC/PCM_16"])
    data[22:26] = b"\xff" * 4
    with pytest.raises(BadInput, match="duration"):
        decode_audio(io.BytesIO(data), "f")


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(BadInput, match="channels"):
        decode_audio(io.BytesIO(wav(np.zeros((9, 9)), SAMPLE_RATE, "PCM_16")), "f")


MUTATIONS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4)


@given(st.sampled_from(sorted(FILES)), MUTATIONS, st.floats(0, 1))
def test_mutated_files_are_sound_or_bad_input(kind: str, changes: list, keep: float) -> None:
    data = bytearray(FILES[kind])
    for place, new in changes:
        at = int(place * min(len(data), 400))  # headers are at the start
        data[at : at + len(new)] = new
    if keep < 0.5:
        data = data[: int(2 * keep * len(data))]
    try:
        assert len(decode_audio(io.BytesIO(data), "f")) % 2 == 0
    except BadInput as error:
        assert error.file == "f"


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_crash(data: bytes) -> None:
    with contextlib.suppress(BadInput):
        decode_audio(io.BytesIO(data), "f")
