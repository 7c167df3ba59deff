"""When each word of a given transcript was spoken, without a forced aligner of one's own.

Viterbi alignment by PocketSphinx finds word boundaries to a hundredth of a
second, but fails as a whole where transcript and speech differ, and slows down
with the square of the length. So it runs on short pieces. To know which words
lie in which piece, the recording is first recognized with a language model of
nothing but its transcript; runs of words that agree are anchors, and pieces
are cut at pauses within them (after Moreno et al., "A recursive algorithm for
the forced alignment of very long audio segments", ICSLP 1998).

The acoustic model and the dictionary are for English and come with the wheel
of PocketSphinx (extra ``align``).
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gestray.errors import BadInput, UserError, shorten
from gestray.speech.audio import SAMPLE_RATE, sample_at
from gestray.speech.pronunciation import approximate_phones, spoken_tokens
from gestray.speech.spans import Span, fill_times
from gestray.speech.words import Word, words_of_text

#: A recording in which less of its transcript is recognized has another transcript.
LEAST_RECOGNIZED = 0.3

#: A word takes at least this long, in seconds: one frame of PocketSphinx.
LEAST_WORD_S = 0.01

# Frames of PocketSphinx, a second.
_FRAME_RATE = 100
# Recognized words count where this many in a row are those of the transcript.
_ANCHOR_WORDS = 3
# Lengths of pieces in seconds: those that are recognized, cut where it is quiet,
# and those that are aligned, cut between anchors.
_RECOGNIZED_S = (20.0, 40.0)
_ALIGNED_S = (2.0, 8.0)
# Loudness is measured over this long.
_QUIET_S = 0.1

#: Token and its first and last time in seconds.
_Timed = tuple[str, float, float]


@dataclass(frozen=True)
class Alignment:
    """Words of a transcript with their times.

    Attributes:
        words: all of them, as written, each with times.
        recognized: share of the spoken words that the recognizer heard where they are.
        approximated: words whose pronunciation was made up from their letters.
        interpolated: words that were not found, and share the time between
            their neighbours.
    """

    words: list[Word]
    recognized: float
    approximated: tuple[str, ...]
    interpolated: tuple[str, ...]


def align(audio: bytes, transcript: str, file: str) -> Alignment:
    """Times of the words of `transcript`, which is what is said in `audio`.

    Args:
        audio: PCM16, mono, 16 kHz.
        transcript: English text; case, punctuation and numerals as one writes them.
        file: name of the transcript, for errors.

    Raises:
        BadInput: the transcript has no words, or is not that of this recording.
        UserError: the extra ``align`` is not installed.
    """
    if not all(map(find_spec, ("num2words", "pocketsphinx", "rapidfuzz"))):
        raise UserError("to align a transcript, install the extra: pip install 'gestray[align]'")
    words = [word.word for word in words_of_text(transcript)]
    if not words:
        raise BadInput(file, "transcript", "no words", "what is said in the recording")
    owners, tokens = _tokens_of(words)
    if not tokens:
        raise BadInput(file, "transcript", "no word in Latin letters", "an English transcript")
    decoder, missing = _decoder(tokens)
    anchors = _anchors(tokens, _recognize(decoder, audio))
    recognized = len(anchors) / len(tokens)
    if recognized < LEAST_RECOGNIZED:
        found = f"{recognized:.0%} of its words in the recording"
        expected = f"at least {LEAST_RECOGNIZED:.0%}; is it English, and of this recording?"
        raise BadInput(file, "transcript", found, expected)
    times = _align_pieces(decoder, tokens, anchors, audio)
    spans = _spans(words, owners, times, len(audio) / (2 * SAMPLE_RATE))
    timed = [Word(s.word, s.start_s, s.end_s) for s in fill_times(spans, LEAST_WORD_S)]
    _check_room(timed, file)
    made_up = {
        words[owner] for owner, token in zip(owners, tokens, strict=True) if token in missing
    }
    return Alignment(
        words=timed,
        recognized=recognized,
        approximated=tuple(sorted(made_up)),
        interpolated=tuple(span.word for span in spans if span.start_s is None),
    )


def _check_room(words: Sequence[Word], file: str) -> None:
    for number, word in enumerate(words, 1):
        assert word.start_s is not None and word.end_s is not None
        if word.end_s - word.start_s < LEAST_WORD_S / 2:
            found = f"no time for {shorten(repr(word.word))} at {word.start_s:g} s"
            raise BadInput(file, f"word {number}", found, "the words that are said, and no more")


def _tokens_of(words: Sequence[str]) -> tuple[list[int], list[str]]:
    """What is spoken, and the index of the written word that each token belongs to."""
    pairs = [(number, token) for number, word in enumerate(words) for token in spoken_tokens(word)]
    return [number for number, _ in pairs], [token for _, token in pairs]


def _spans(
    words: Sequence[str], owners: Sequence[int], times: dict[int, _Timed], end_s: float
) -> list[Span]:
    """The written words with the times of their tokens, None where none was found."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for token, (_, start, end) in sorted(times.items()):
        starts.setdefault(owners[token], start)
        ends[owners[token]] = end
    return [
        Span(f"word {number + 1}", word, starts.get(number), ends.get(number), 0.0, end_s)
        for number, word in enumerate(words)
    ]


# --- PocketSphinx ---------------------------------------------------------


@cache
def _pronunciations() -> dict[str, list[str]]:
    """Phones of every word of the dictionary, a string for each way to say it."""
    from pocketsphinx import get_model_path

    words: dict[str, list[str]] = {}
    for line in Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines():
        word, _, phones = line.partition(" ")
        words.setdefault(word.partition("(")[0], []).append(phones)
    return words


def _decoder(tokens: Sequence[str]) -> tuple[Any, set[str]]:
    """A decoder that knows the words of the transcript alone, and those it had to sound out.

    A fresh one for each recording, for it adapts to the voice it hears. With its
    whole dictionary it would take seconds to start.
    """
    from pocketsphinx import Decoder

    known = _pronunciations()

    def first_way(token: str) -> str | None:
        return known[token][0] if token in known else None

    lines: list[str] = []
    for token in sorted(set(tokens)):
        ways = known.get(token) or [approximate_phones(token, first_way)]
        lines += (f"{token}({n}) {w}" if n > 1 else f"{token} {w}" for n, w in enumerate(ways, 1))
    with tempfile.TemporaryDirectory(prefix="gestray-align-") as folder:
        dictionary, model = Path(folder, "words.dict"), Path(folder, "transcript.arpa")
        dictionary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        model.write_text(_language_model(tokens), encoding="utf-8")
        decoder = Decoder(
            dict=str(dictionary), lm=str(model), loglevel="FATAL", bestpath=False, fwdflat=False
        )
    return decoder, set(tokens) - known.keys()


def _decode(decoder: Any, audio: bytes, first: int, last: int) -> list[_Timed]:
    """Words between two samples; none where the search found no way through."""
    decoder.start_utt()
    decoder.process_raw(audio[2 * first : 2 * last], full_utt=True)
    decoder.end_utt()
    offset = first / SAMPLE_RATE
    return [
        (
            segment.word.partition("(")[0],
            offset + segment.start_frame / _FRAME_RATE,
            offset + (segment.end_frame + 1) / _FRAME_RATE,
        )
        for segment in decoder.seg() or ()
        if not segment.word.startswith(("<", "[", "+", "("))
    ]


# --- first pass: what was heard where -------------------------------------


def _recognize(decoder: Any, audio: bytes) -> list[_Timed]:
    cuts = _quiet_cuts(np.frombuffer(audio, "<i2"))
    return [word for first, last in pairwise(cuts) for word in _decode(decoder, audio, first, last)]


def _quiet_cuts(samples: np.ndarray) -> list[int]:
    """Samples at which to cut, the ends included: the quietest moments, some way apart."""
    step = sample_at(_QUIET_S)
    steps = len(samples) // step
    blocks = samples[: steps * step].reshape(steps, step)
    loudness = np.array([np.square(block, dtype=np.float64).mean() for block in blocks])
    shortest, longest = (round(seconds / _QUIET_S) for seconds in _RECOGNIZED_S)
    cuts = [0]
    while steps - cuts[-1] > longest:
        window = loudness[cuts[-1] + shortest : cuts[-1] + longest]
        cuts.append(cuts[-1] + shortest + int(np.argmin(window)))
    return [*(cut * step + step // 2 if cut else 0 for cut in cuts), len(samples)]


def _language_model(tokens: Sequence[str]) -> str:
    """Trigrams of the transcript with Witten–Bell back-off, in ARPA format.

    Witten and Bell, "The zero-frequency problem", IEEE Trans. Information Theory
    37(4), 1991, method C: what follows a context n times in k ways is new with
    probability k / (n + k).
    """
    text = ["<s>", *tokens, "</s>"]
    orders = [Counter(zip(*(text[i:] for i in range(n)), strict=False)) for n in (1, 2, 3)]
    lines = ["\\data\\"]
    lines += [f"ngram {n}={len(counts)}" for n, counts in enumerate(orders, 1)]
    for n, (counts, longer) in enumerate(zip(orders, [*orders[1:], None], strict=True), 1):
        seen: Counter[tuple[str, ...]] = Counter()
        for gram, count in counts.items():
            seen[gram[:-1]] += count + (n > 1)  # a way seen once more counts as new
        ways = Counter(gram[:-1] for gram in longer or ())
        lines += ["", f"\\{n}-grams:"]
        for gram, count in sorted(counts.items()):
            line = f"{math.log10(count / seen[gram[:-1]]):.4f} {' '.join(gram)}"
            back_off = ways[gram] / (count + ways[gram]) if ways[gram] else 1.0
            lines.append(line if longer is None else f"{line} {math.log10(back_off):.4f}")
    return "\n".join([*lines, "", "\\end\\", ""])


def _anchors(tokens: Sequence[str], heard: Sequence[_Timed]) -> dict[int, _Timed]:
    """Tokens that were heard in their place, within long enough runs, by index.

    The edits from one to the other are the fewest for the recording as a whole.
    Longest common runs first, as in `difflib`, would match a passage that is
    said again to the time it was heard best, and lose all that lies between.
    """
    from rapidfuzz.distance import Levenshtein

    run = min(_ANCHOR_WORDS, len(tokens))
    return {
        token: word
        for edit in Levenshtein.opcodes(tokens, [word for word, _, _ in heard])
        if edit.tag == "equal" and edit.src_end - edit.src_start >= run
        for token, word in enumerate(heard[edit.dest_start : edit.dest_end], edit.src_start)
    }


# --- second pass: piece by piece ------------------------------------------


def _align_pieces(
    decoder: Any, tokens: Sequence[str], anchors: dict[int, _Timed], audio: bytes
) -> dict[int, _Timed]:
    """Times of tokens by index; where a piece cannot be aligned, those of its anchors."""
    cuts = [(0, 0), *_anchor_cuts(len(tokens), anchors), (len(tokens), len(audio) // 2)]
    times: dict[int, _Timed] = {}
    for (first, start), (last, end) in pairwise(cuts):
        decoder.set_align_text(" ".join(tokens[first:last]))
        aligned = _decode(decoder, audio, start, end)
        if [word for word, _, _ in aligned] == list(tokens[first:last]):
            times |= dict(enumerate(aligned, first))
        else:
            times |= {token: anchors[token] for token in range(first, last) if token in anchors}
    return times


def _anchor_cuts(count: int, anchors: dict[int, _Timed]) -> list[tuple[int, int]]:
    """Token and sample at which pieces begin: the longest pauses between anchors.

    Only neighbours that are both anchors have nothing unheard between them.
    """
    shortest_s, longest_s = _ALIGNED_S
    places = [
        (token, anchors[token - 1][2], anchors[token][1])
        for token in range(1, count)
        if token in anchors and token - 1 in anchors
    ]
    cuts: list[tuple[int, int]] = []
    now_s = 0.0
    at = 0
    while at < len(places):
        window: list[tuple[float, int]] = []
        while at < len(places) and (places[at][2] < now_s + longest_s or not window):
            if places[at][1] >= now_s + shortest_s:
                window.append((places[at][2] - places[at][1], -at))
            at += 1
        if not window:
            break
        at = -max(window)[1]
        token, end_s, start_s = places[at]
        now_s = (end_s + start_s) / 2
        cuts.append((token, sample_at(now_s)))
        at += 1
    return cuts
