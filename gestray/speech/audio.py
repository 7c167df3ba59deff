"""Speech audio as gestray keeps it: PCM16, mono, 16 kHz.

Every speech model of the field listens at 16 kHz, and 16 bits hold what a
microphone gives. Recordings come at any rate, width and number of channels;
they are converted once, here, block by block, so that memory stays at the
size of the result.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from gestray.errors import BadInput

SAMPLE_RATE = 16_000

#: Longer recordings are refused (seconds); a take is held in memory whole.
LONGEST_RECORDING_S = 6 * 3600

_BLOCK_FRAMES = 1 << 16
# What a RIFF header says where the writer did not know the size (pipes, or
# files beyond 2 GB): such a header tells nothing about truncation.
_UNKNOWN_RIFF_SIZES = range(0x7FFF_F000, 0x1_0000_0000)


def read_wav(path: str | Path) -> bytes:
    """Samples of the WAV file at `path` as little-endian PCM16, mono, 16 kHz.

    Raises:
        BadInput: see `decode_wav`.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        return decode_wav(file, str(path))


def decode_wav(stream: BinaryIO, file: str) -> bytes:
    """Samples of a WAV file as little-endian PCM16, mono, 16 kHz.

    Channels are averaged, other rates resampled (soxr, high quality), values
    beyond full scale clipped. PCM16 mono 16 kHz passes through unchanged.

    Args:
        stream: the open file, seekable.
        file: its name, for errors.

    Raises:
        BadInput: not a WAV file, cut short, without samples, with NaN or
            infinite samples, or longer than `LONGEST_RECORDING_S`.
    """
    _check_riff(stream, file)
    try:
        with soundfile.SoundFile(stream) as sound:
            seconds = sound.frames / sound.samplerate
            if sound.frames == 0:
                raise BadInput(file, "samples", "none", "at least one")
            if seconds > LONGEST_RECORDING_S:
                expected = f"at most {LONGEST_RECORDING_S} s"
                raise BadInput(file, "duration", f"{seconds:.0f} s", expected)
            samples = _convert(sound, file)
    except soundfile.LibsndfileError as error:
        raise BadInput(file, "audio", f"unreadable data ({error})", "a WAV file") from None
    if len(samples) == 0:
        raise BadInput(file, "duration", f"{seconds:g} s", "at least one sample at 16 kHz")
    return samples.tobytes()


def pcm16_to_float(samples: bytes | memoryview) -> np.ndarray:
    """Little-endian PCM16 as float32 in [-1, 1), shape (samples,)."""
    return np.frombuffer(samples, dtype="<i2").astype(np.float32) / np.float32(32768)


def _check_riff(stream: BinaryIO, file: str) -> None:
    """Refuse what is not a WAV file, or holds fewer bytes than its header says."""
    head = stream.read(12)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
        raise BadInput(file, "header", repr(head), "a WAV file (RIFF ... WAVE)")
    declared = int.from_bytes(head[4:8], "big" if head[:4] == b"RIFX" else "little")
    if declared not in _UNKNOWN_RIFF_SIZES and size < declared + 8:
        raise BadInput(file, "size", f"{size} bytes", f"{declared + 8}, as the header says")


def _convert(sound: soundfile.SoundFile, file: str) -> np.ndarray:
    """Samples of `sound` as int16, mono, 16 kHz."""
    if (sound.samplerate, sound.channels, sound.subtype) == (SAMPLE_RATE, 1, "PCM_16"):
        return sound.read(dtype="int16").astype("<i2", copy=False)
    resampler = soxr.ResampleStream(sound.samplerate, SAMPLE_RATE, 1, dtype="float32")
    parts = []
    for block in sound.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
        if not np.isfinite(block).all():
            raise BadInput(file, "samples", "NaN or infinite values", "finite samples")
        mono = block.mean(axis=1)
        parts.append(_to_pcm16(resampler.resample_chunk(mono)))
    parts.append(_to_pcm16(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    return np.concatenate(parts)


def _to_pcm16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
