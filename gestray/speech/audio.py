"""Speech audio as gestray keeps it: PCM16, mono, 16 kHz.

Every speech model of the field listens at 16 kHz, and 16 bits hold what a
microphone gives. Recordings come in any format, rate, width and number of
channels; they are converted once, here, block by block, so that memory stays
at the size of the result. What a file loses on its way (a download cut short,
a hole in a stream) would shift all that follows against the motion, so each
format's own statement of its length is held against what it yields.
"""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr

from gestray.errors import BadInput

SAMPLE_RATE = 16_000

#: Longer recordings are refused (seconds); a take is held in memory whole.
LONGEST_RECORDING_S = 6 * 3600

#: Sampling rates of speech recordings, in Hz; others are damage.
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000

MOST_CHANNELS = 8

_FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"}
_EXPECTED = "a WAV, FLAC, MP3 or Ogg (Vorbis, Opus) file; convert others, as with ffmpeg"
_BLOCK_FRAMES = 1 << 16
# libsndfile's words for a file of no known kind, and for a length not stated.
_UNRECOGNISED_FORMAT = 1
_UNKNOWN_FRAMES = 2**63 - 1
# What a RIFF header says where the writer did not know the size (pipes, or
# files beyond 2 GB): such a header tells nothing about truncation.
_UNKNOWN_RIFF_SIZES = range(0x7FFF_F000, 0x1_0000_0000)


def read_audio(path: str | Path) -> bytes:
    """Samples of the audio file at `path` as little-endian PCM16, mono, 16 kHz.

    Raises:
        BadInput: see `decode_audio`.
        OSError: the file cannot be opened.
    """
    with open(path, "rb") as file:
        return decode_audio(file, str(path))


def decode_audio(stream: BinaryIO, file: str, longest_s: float = LONGEST_RECORDING_S) -> bytes:
    """Samples of a WAV, FLAC, MP3 or Ogg file as little-endian PCM16, mono, 16 kHz.

    The format is told by the content, not by the name. Channels are averaged,
    other rates resampled (soxr, high quality, without delay), values beyond
    full scale clipped. PCM16 mono 16 kHz passes through unchanged.

    Args:
        stream: the open file, seekable.
        file: its name, for errors.
        longest_s: no more than this is decoded.

    Raises:
        BadInput: another format, cut short or with a hole, without samples,
            with NaN or infinite samples, longer than `longest_s`, or with a rate
            or number of channels that no recording has.
    """
    _check_container(stream, file)
    try:
        with _Forward(stream) as sound:
            _check_description(sound, file, longest_s)
            samples = _convert(sound, file, longest_s)
            if sound.format == "MP3":
                _check_mp3(stream, file)
    except soundfile.LibsndfileError as error:
        field = "header" if error.code == _UNRECOGNISED_FORMAT else "audio"
        raise BadInput(file, field, f"unreadable data ({error.error_string})", _EXPECTED) from None
    if not samples:
        raise BadInput(file, "duration", "too little sound", "at least one sample at 16 kHz")
    return samples


def pcm16_to_float(samples: bytes | memoryview) -> np.ndarray:
    """Little-endian PCM16 as float32 in [-1, 1), shape (samples,)."""
    return np.frombuffer(samples, dtype="<i2").astype(np.float32) / np.float32(32768)


def sample_at(seconds: float) -> int:
    """Index of the sample nearest to a time since the start of the recording."""
    return round(seconds * SAMPLE_RATE)


def samples_of_frames(first: int, last: int, fps: int = 30) -> slice:
    """The samples heard during frames `first` to `last`, `last` exclusive.

    A frame rarely lasts a whole number of samples (533 1/3 at 30 fps), so
    neighbouring slices differ by one in length. They meet without gap or
    overlap, and each begins within half a sample of its frame, however late.
    """
    # Nearest integer to frame * SAMPLE_RATE / fps, in integers.
    start, stop = ((2 * frame * SAMPLE_RATE + fps) // (2 * fps) for frame in (first, last))
    return slice(start, stop)


class _Forward(soundfile.SoundFile):
    """A sound file that is read from front to back.

    `SoundFile` seeks to where it already is after every read. In an MP3 that
    forgets what earlier frames left over for later ones, and the sound breaks
    up at every block.
    """

    def seekable(self) -> bool:
        return False


def _check_description(sound: soundfile.SoundFile, file: str, longest_s: float) -> None:
    """Refuse what the file says of itself, before anything is decoded."""
    if sound.format not in _FORMATS:
        raise BadInput(file, "header", f"format {sound.format}", _EXPECTED)
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        expected = f"{LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise BadInput(file, "sample rate", f"{sound.samplerate} Hz", expected)
    if sound.channels > MOST_CHANNELS:
        raise BadInput(file, "channels", str(sound.channels), f"at most {MOST_CHANNELS}")
    if sound.frames == 0:
        raise BadInput(file, "samples", "none", "at least one")
    if sound.frames != _UNKNOWN_FRAMES:
        _check_duration(sound.frames, sound.samplerate, file, longest_s)


def _check_duration(frames: int, rate: int, file: str, longest_s: float) -> None:
    if frames > longest_s * rate:
        expected = f"at most {longest_s:g} s"
        raise BadInput(file, "duration", f"{frames / rate:.0f} s or more", expected)


def _convert(sound: soundfile.SoundFile, file: str, longest_s: float) -> bytes:
    """Samples of `sound` as PCM16, mono, 16 kHz."""
    as_is = (sound.samplerate, sound.channels, sound.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    resampler = soxr.ResampleStream(sound.samplerate, SAMPLE_RATE, 1, dtype="float32")
    samples = io.BytesIO()
    frames = 0
    dtype = "int16" if as_is else "float32"
    while len(block := sound.read(_BLOCK_FRAMES, dtype=dtype, always_2d=True)):
        frames += len(block)
        _check_duration(frames, sound.samplerate, file, longest_s)
        if as_is:
            samples.write(block.astype("<i2", copy=False).tobytes())
            continue
        if not np.isfinite(block).all():
            raise BadInput(file, "samples", "NaN or infinite values", "finite samples")
        samples.write(_to_pcm16(resampler.resample_chunk(block.mean(axis=1))))
    if sound.frames not in (frames, _UNKNOWN_FRAMES):
        expected = f"the {sound.frames} that it states"
        raise BadInput(file, "size", f"{frames} samples that can be read", expected)
    if not as_is:
        samples.write(_to_pcm16(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    return samples.getvalue()


def _to_pcm16(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


# --- what libsndfile passes over ------------------------------------------


def _check_container(stream: BinaryIO, file: str) -> None:
    """Refuse a file that holds less than its container says; leaves `stream` at its start."""
    head = stream.read(12)
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        raise BadInput(file, "header", "an empty file", _EXPECTED)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        _check_riff(stream, file, head, size)
    elif head[:4] == b"OggS":
        _check_ogg(stream, file)
    stream.seek(0)


def _check_riff(stream: BinaryIO, file: str, head: bytes, size: int) -> None:
    """Refuse a RIFF file that is shorter than its header or its data chunk says."""
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    declared = int.from_bytes(head[4:8], order)
    if declared not in _UNKNOWN_RIFF_SIZES and size < declared + 8:
        raise BadInput(file, "size", f"{size} bytes", f"{declared + 8}, as the header says")
    start, declared = _data_chunk(stream, len(head), order)
    if size - start < declared:
        found = f"{size - start} bytes of samples"
        raise BadInput(file, "size", found, f"{declared}, as the data chunk says")


def _data_chunk(stream: BinaryIO, at: int, order: Literal["big", "little"]) -> tuple[int, int]:
    """Byte at which the samples begin, and how many bytes they are said to be; 0 if unknown.

    Chunks follow one another from `at`. In RF64 a chunk ahead of the others has the sizes
    that 32 bits cannot hold. https://tech.ebu.ch/docs/tech/tech3306v1_0.pdf
    """
    long_size = 0
    while True:
        stream.seek(at)
        chunk = stream.read(24)
        if len(chunk) < 8 or not chunk[:4].isascii():
            return 0, 0  # what there is instead, libsndfile will say
        at += 8
        name, size = chunk[:4], int.from_bytes(chunk[4:8], order)
        if name == b"data":
            return at, long_size if size in _UNKNOWN_RIFF_SIZES else size
        if name == b"ds64":
            long_size = int.from_bytes(chunk[16:24], order)
        at += size + size % 2


def _check_mp3(stream: BinaryIO, file: str) -> None:
    """Refuse an MP3 without the first frame that states its length.

    For others libsndfile guesses the length from the bit rate, and drops what lies beyond.
    """
    stream.seek(0)
    head = stream.read(10)
    start = 0
    if head[:3] == b"ID3":  # whose size has seven bits a byte, https://id3.org/id3v2.4.0-structure
        start = 10 + sum(
            byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    stream.seek(start)
    first = stream.read(2048)
    if not any(mark in first for mark in (b"Xing", b"Info", b"VBRI")):
        expected = "a Xing or Info frame at its start; encode it again, as with ffmpeg"
        raise BadInput(file, "header", "an MP3 that does not state its length", expected)


def _check_ogg(stream: BinaryIO, file: str) -> None:
    """Refuse an Ogg file that ends within the stream or has a damaged page.

    libogg passes over such pages, and what follows moves up.
    https://www.rfc-editor.org/rfc/rfc3533#section-6
    """
    at = 0
    last = False
    while not last:
        stream.seek(at)
        head = stream.read(27)
        sizes = stream.read(head[26]) if len(head) == 27 else b""
        body = stream.read(sum(sizes))
        if len(head) < 27 or len(sizes) < head[26] or len(body) < sum(sizes):
            found = "an end within the stream"
            raise BadInput(file, "size", found, "a page that ends the stream")
        checksum = int.from_bytes(head[22:26], "little")
        page = head[:22] + bytes(4) + head[26:] + sizes + body
        if head[:4] != b"OggS" or _ogg_checksum(page) != checksum:
            raise BadInput(file, "audio", f"a damaged page at byte {at}", "pages as written")
        at += len(page)
        last = bool(head[5] & 4)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of Ogg: zlib's polynomial, from the other end and without inversion."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
