"""The script of a take: what is said when, and which gesture goes with it.

An utterance holds at most one gesture, whose stroke lies on the keyword. Some say a
meaning without showing it and some show one without saying it, as people do; the
others carry beats or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gestray.corpora.synthetic.grammar import (
    Sentence,
    SpokenWord,
    make_sentence,
    patterns_of,
    speak,
)
from gestray.corpora.synthetic.lexicon import NEUTRAL, PATTERNS
from gestray.corpora.synthetic.speakers import Speaker
from gestray.corpora.synthetic.stroke import FPS, Gesture, make_gesture
from gestray.corpora.synthetic.vocabulary import BEAT, GESTURES

PAUSE_S = (0.5, 1.2)
"""Shortest and longest silence between utterances, seconds."""

UTTERANCE_S = (1.9, 5.2)
"""Sentences that would take less or more are said differently."""

Kind = Literal["meaning", "gesture only", "words only", "beats", "idle"]
KIND_SHARES: dict[Kind, float] = {
    "meaning": 0.51,
    "gesture only": 0.05,
    "words only": 0.03,
    "beats": 0.26,
    "idle": 0.15,
}
"""How often an utterance has a semantic gesture under its keyword, one without a word for
it, words of a meaning without a gesture, beats, or no gesture."""

# Other takes than those of training use patterns never seen there this often.
_UNSEEN_SHARE = 0.5
# The stroke begins this long before the keyword: gestures lead their words slightly
# (McNeill 1992, p. 25).
_LEAD_S = (0.03, 0.12)
# At the beginning and the end of a take, seconds without speech.
_SILENT_START_S = (0.9, 1.3)
_SILENT_END_S = 1.9
# A hand needs this long from one stroke to the next, seconds.
_BETWEEN_STROKES_S = 0.8
# Beats of one utterance: fewest seconds between two, and in all.
_BEAT_GAP_S, _BEATS_S, _MOST_BEATS = 0.36, 1.0, 3


@dataclass(frozen=True)
class Utterance:
    """One utterance and its gesture.

    Attributes:
        kind: see `KIND_SHARES`.
        words: with their times.
        gesture: None for `words only` and `idle`.
        type_name: key of `vocabulary.GESTURES`, None without a semantic gesture.
        keyword: words under the stroke of a semantic gesture, None without one.
        intent_text: what the gesture means here, empty without one.
    """

    kind: Kind
    words: tuple[SpokenWord, ...]
    gesture: Gesture | None
    type_name: str | None
    keyword: tuple[SpokenWord, ...] | None
    intent_text: str


class Deck:
    """Draws all gesture types in random order before any comes again."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[str] = []

    def draw(self) -> str:
        if not self._left:
            self._left = [str(name) for name in self._rng.permutation(list(GESTURES))]
        return self._left.pop()


def write_script(
    speaker: Speaker, split: str, frames: int, deck: Deck, rng: np.random.Generator
) -> list[Utterance]:
    """Utterances of one take, in time order.

    Args:
        speaker: who talks.
        split: `train`, `val` or `test`; decides which patterns may be used.
        frames: length of the take at 30 fps; speech ends well before.
        deck: the split's gesture types, so that small splits hold many of them too.
        rng: source of all that varies.
    """
    words_per_s = speaker.words_per_s * rng.uniform(0.95, 1.05)
    end_s = frames / FPS - _SILENT_END_S
    now_s = rng.uniform(*_SILENT_START_S)
    free_s = 0.0  # when the hands are free again
    utterances: list[Utterance] = []
    kinds = list(KIND_SHARES)
    while True:
        kind = kinds[int(rng.choice(len(kinds), p=list(KIND_SHARES.values())))]
        name = deck.draw() if kind in ("meaning", "gesture only", "words only") else None
        sentence, words = _say(kind, name, split, now_s, words_per_s, rng)
        if words[-1].end_s > end_s:
            return utterances
        utterance = _with_gesture(kind, name, sentence, words, speaker, free_s, rng)
        utterances.append(utterance)
        now_s = words[-1].end_s + rng.uniform(*PAUSE_S)
        if utterance.gesture is not None:
            free_s = utterance.gesture.last / FPS + _BETWEEN_STROKES_S


def _say(
    kind: Kind,
    name: str | None,
    split: str,
    start_s: float,
    words_per_s: float,
    rng: np.random.Generator,
) -> tuple[Sentence, list[SpokenWord]]:
    patterns = NEUTRAL if name is None or kind == "gesture only" else PATTERNS[name]
    unseen = split != "train" and rng.random() < _UNSEEN_SHARE
    shortest, longest = UTTERANCE_S
    while True:
        sentence = make_sentence(patterns_of(patterns, unseen), rng)
        if shortest <= len(sentence.words) / words_per_s <= longest:
            return sentence, speak(sentence, start_s, words_per_s, rng)


def _with_gesture(
    kind: Kind,
    name: str | None,
    sentence: Sentence,
    words: list[SpokenWord],
    speaker: Speaker,
    free_s: float,
    rng: np.random.Generator,
) -> Utterance:
    bare = Utterance("idle" if name is None else "words only", tuple(words), None, None, None, "")
    if kind == "beats":
        lowest = _beat_times(words, free_s)
        if not lowest:
            return bare
        gesture = make_gesture(BEAT, speaker, lowest[0] - 0.2, 0.0, rng, flicks_s=lowest)
        text = f"The speaker {NEUTRAL.topic.format(sentence.topic)}."
        return Utterance(kind, tuple(words), gesture, None, None, text)
    if name is None or kind == "words only":
        return bare
    if sentence.keyword is None:
        candidates = [i for i, word in enumerate(words) if word.stressed and i > 0]
        first = candidates[int(rng.integers(len(candidates)))]
        keyword = words[first : first + 1]
    else:
        keyword = words[slice(*sentence.keyword)]
    start_s = keyword[0].start_s - rng.uniform(*_LEAD_S)
    if start_s < free_s:
        return bare
    gesture = make_gesture(GESTURES[name], speaker, start_s, keyword[-1].end_s + 0.05, rng)
    text = f"The speaker {PATTERNS[name].topic.format(sentence.topic)}."
    return Utterance(kind, tuple(words), gesture, name, tuple(keyword), text)


def _beat_times(words: list[SpokenWord], free_s: float) -> tuple[float, ...]:
    """Lowest points of beats: early in neighbouring stressed words, not too dense."""
    times: list[float] = []
    for word in words:
        time_s = word.start_s + 0.4 * (word.end_s - word.start_s)
        if not word.stressed or time_s - 0.2 < free_s:
            continue
        if times and time_s - times[-1] < _BEAT_GAP_S:
            continue
        if times and (time_s - times[0] > _BEATS_S or len(times) == _MOST_BEATS):
            break
        times.append(time_s)
    return tuple(times)
