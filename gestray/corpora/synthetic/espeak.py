"""Talks to the speech synthesizer espeak-ng; a program of its own, run once a take.

The library keeps state that no call of its own resets, and what it says depends a little on
what it said before: only a fresh process makes the same bytes of the same text. This file
therefore imports nothing of gestray, so that the process starts in a blink.

    python espeak.py LIBRARY [DATA]

reads requests from standard input, one JSON object a line: `text` (ASCII words), `voice`,
`pitch` (0 to 99), `wpm`. It answers each with a JSON line and the samples:
`rate` (Hz), `bytes` of little-endian 16-bit samples that follow, and `words`, for each word of
the text its `start` and `end` in samples and its `phones` (start, end, mnemonic). Stress is
in the mnemonics: ' before one with primary stress, a comma before one with secondary.

espeak-ng is under the GPL 3; gestray neither contains it nor needs it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_RETRIEVAL, _PHONEME_EVENTS, _DONT_EXIT = 2, 1, 0x8000
_WORD, _PHONEME, _LIST_END = 1, 7, 0
_RATE, _PITCH = 1, 3
_UTF8, _POSITION_CHARACTER = 1, 1
# Mnemonics of silence.
_SILENCE = ("_", "_:", "_!", "_|", "")


class _Id(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    # espeak_EVENT of speak_lib.h.
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesizer:
    """One process's use of the library."""

    def __init__(self, library: str, data: str | None) -> None:
        self._lib = ctypes.CDLL(library)
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        path = data.encode() if data else None
        self.rate = self._lib.espeak_Initialize(_RETRIEVAL, 0, path, _PHONEME_EVENTS | _DONT_EXIT)
        if self.rate <= 0:
            raise SystemExit(f"espeak-ng does not start (code {self.rate}); its data: {data}")
        # The library seeds its noise by the clock; older ones have no seed to set.
        if hasattr(self._lib, "espeak_ng_SetRandSeed"):
            self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._samples = bytearray()
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _Callback(self._receive)  # must outlive the calls
        self._lib.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, pitch: int, wpm: int) -> tuple[bytes, list[dict]]:
        """Samples of `text`, and its words with their times and phones."""
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice!r}")
        self._lib.espeak_SetParameter(_RATE, wpm, 0)
        self._lib.espeak_SetParameter(_PITCH, pitch, 0)
        self._samples, self._events = bytearray(), []
        raw = text.encode("ascii")
        if self._lib.espeak_Synth(raw, len(raw) + 1, 0, _POSITION_CHARACTER, 0, _UTF8, None, None):
            raise SystemExit(f"espeak-ng could not say {text!r}")
        return bytes(self._samples), self._words(text)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._samples += ctypes.string_at(samples, 2 * count)
        index = 0
        while (event := events[index]).type != _LIST_END:
            if event.type in (_WORD, _PHONEME):
                name = event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
                self._events.append((event.type, event.sample, event.text_position - 1, name))
            index += 1
        return 0

    def _words(self, text: str) -> list[dict]:
        words, starts, now = text.split(), {}, 0
        for number, word in enumerate(words):
            now = text.index(word, now)
            starts[now] = number
            now += len(word)
        # A phone lasts until the next event; the last one is silence, and ends nothing.
        heard: dict[int, list[tuple[int, int, str]]] = {}
        current = None
        following = [sample for _, sample, _, _ in self._events[1:]]
        for (kind, sample, position, name), end in zip(self._events, following, strict=False):
            if kind == _WORD:
                current = starts.get(position, current)
            elif current is not None and name not in _SILENCE:
                heard.setdefault(current, []).append((sample, end, name))
        phones = self._share_out(words, heard)
        return [
            {"start": own[0][0], "end": own[-1][1], "phones": own}
            for own in (phones[number] for number in range(len(words)))
        ]

    def _share_out(
        self, words: list[str], heard: dict[int, list[tuple[int, int, str]]]
    ) -> dict[int, list[tuple[int, int, str]]]:
        """Phones of each word: those of a group spoken as one ("out of the") are shared out.

        From the end of the group, a word gets as many as it has when spoken alone.
        """
        phones: dict[int, list[tuple[int, int, str]]] = {}
        firsts = sorted(heard)
        for first, after in zip(firsts, [*firsts[1:], len(words)], strict=True):
            left = heard[first]
            for number in range(after - 1, first, -1):
                count = max(1, min(self._count_phones(words[number]), len(left) - (number - first)))
                phones[number], left = left[len(left) - count :], left[: len(left) - count]
            phones[first] = left
        missing = [word for number, word in enumerate(words) if not phones.get(number)]
        if missing:
            raise SystemExit(f"espeak-ng gave no time for {missing[0]!r} in {' '.join(words)!r}")
        return phones

    def _count_phones(self, word: str) -> int:
        raw = ctypes.c_char_p(word.encode("ascii"))
        separated = ord("_") << 8
        spoken = self._lib.espeak_TextToPhonemes(ctypes.byref(raw), _UTF8, separated)
        return len(spoken.decode("utf-8", "replace").split("_"))


def main() -> None:
    """Answers requests until standard input ends."""
    synthesizer = Synthesizer(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    for line in sys.stdin:
        samples, words = synthesizer.say(**json.loads(line))
        head = {"rate": synthesizer.rate, "bytes": len(samples), "words": words}
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + samples)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
