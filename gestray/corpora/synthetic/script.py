"""The script of a take: what is said when, and which gestures go with it.

A gesture with a meaning has its stroke on the keyword of its utterance. Some utterances say
a meaning without showing it and some show one without saying it, as people do. Most of the
talk means nothing that hands could show: it carries beats on stressed words, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np

from gestray.corpora.synthetic.grammar import Sentence, SpokenWord, make_sentence, patterns_of
from gestray.corpora.synthetic.lexicon import NEUTRAL, PATTERNS
from gestray.corpora.synthetic.speakers import Speaker
from gestray.corpora.synthetic.stroke import FPS, Gesture, make_gesture
from gestray.corpora.synthetic.vocabulary import BEAT, GESTURES
from gestray.corpora.synthetic.voice import Phone, Speech, Voice

PAUSE_S = (0.5, 1.2)
"""Shortest and longest silence between utterances, seconds; longer if the hands are not free."""

UTTERANCE_S = (1.9, 5.2)
"""Sentences that would take less or more are said differently."""

LONGEST_UTTERANCE_S = 7.5
"""Two clauses in one breath may take so long."""

ZIPF_EXPONENT: dict[str, float] = {"train": 0.8, "val": 0.0, "test": 0.0}
"""By split: the gesture type of rank r is drawn with a weight of r to the minus this power.

Training sees meanings as often as people show them, a few again and again and most of them
rarely (Zipf's law); validation and test hold every type equally often, so that the rare ones
can be measured as well as the frequent ones, as in long-tailed recognition (Liu et al. 2019,
"Large-Scale Long-Tailed Recognition in an Open World")."""

Kind = Literal["meaning", "gesture only", "words only", "beats", "idle"]

PER_MINUTE: dict[Kind, float] = {"meaning": 3.6, "gesture only": 0.4, "words only": 0.4}
"""Utterances a minute, at an ordinary gesture rate, with a semantic gesture under its keyword,
with one that no word goes with, and with words of a meaning but no gesture."""

# Other takes than those of training use patterns never seen there this often.
_UNSEEN_SHARE = 0.5
# Utterances without a meaning to show are often two clauses long.
_TWO_CLAUSES, _CONJUNCTIONS = 0.75, ("and", "but", "so", "because", "while")
# The stroke begins this long before the keyword: gestures lead their words slightly
# (McNeill 1992, p. 25).
_LEAD_S = (0.03, 0.12)
# At the beginning and the end of a take, seconds without speech, and without a stroke.
_SILENT_START_S = (0.9, 1.3)
_SILENT_END_S, _STROKELESS_END_S = 1.9, 0.8
# A hand needs this long from one stroke to the next, seconds.
_BETWEEN_STROKES_S = 0.8
# Beats: from stroke to lowest point, fewest seconds between two, in all, and how many; and
# seconds of speech from one group to the next.
_BEAT_LEAD_S, _BEAT_GAP_S, _BEATS_S, _MOST_BEATS = 0.2, 0.36, 1.0, 3
_GROUP_GAP_S = (0.9, 2.4)
# An utterance with its pause takes about this long, seconds.
_USUAL_TURN_S = 5.0


@dataclass(frozen=True)
class Utterance:
    """One utterance and its gestures.

    Attributes:
        kind: with a semantic gesture `meaning` or `gesture only`, with none the others.
        words: with their times.
        phones: with their times, see `gestray.corpora.synthetic.voice`.
        gestures: in time order: one semantic gesture, or any number of beats.
        type_name: key of `vocabulary.GESTURES`, None without a semantic gesture.
        keyword: words under the stroke of a semantic gesture, None without one.
        intent_text: what the gestures mean here, empty without any.
    """

    kind: Kind
    words: tuple[SpokenWord, ...]
    phones: tuple[Phone, ...]
    gestures: tuple[Gesture, ...] = ()
    type_name: str | None = None
    keyword: tuple[SpokenWord, ...] | None = None
    intent_text: str = ""


@dataclass(frozen=True)
class Plan:
    """What a take is to show: kinds and gesture types, in random order."""

    split: str
    todo: tuple[tuple[Kind, str], ...]


class Deck:
    """Draws gesture types with Zipf's frequencies, each as evenly as its share allows.

    Every draw credits each type with its share, and takes the type with most credit: after n
    draws a type of share p was drawn n p times, give or take one, so that a rare type is not
    left out by chance. Ranks are a fixed order of the names that nothing else depends on.
    """

    def __init__(self, exponent: float, rng: np.random.Generator) -> None:
        self._names = ranked_types()
        weight = np.arange(1, len(self._names) + 1) ** -exponent
        self._share = weight / weight.sum()
        self._credit = rng.random(len(self._names))

    def draw(self) -> str:
        self._credit += self._share
        number = int(self._credit.argmax())
        self._credit[number] -= 1.0
        return self._names[number]


def ranked_types() -> list[str]:
    """The semantic gesture types, the most frequent first: by a hash of their names."""
    return sorted(GESTURES, key=lambda name: blake2b(name.encode(), digest_size=8).digest())


def plan_take(
    speaker: Speaker, split: str, seconds: float, deck: Deck, rng: np.random.Generator
) -> Plan:
    """Draws the meanings of a take; a split's takes share its deck, in order."""
    todo: list[tuple[Kind, str]] = []
    for kind, per_minute in PER_MINUTE.items():
        count = int(speaker.gesture_rate * per_minute * seconds / 60 + rng.random())
        for _ in range(count):
            # Words of a meaning do not use up the deck's gestures.
            name = str(rng.choice(list(GESTURES))) if kind == "words only" else deck.draw()
            todo.append((kind, name))
    return Plan(split, tuple(todo[int(i)] for i in rng.permutation(len(todo))))


def write_script(
    speaker: Speaker, plan: Plan, frames: int, voice: Voice, rng: np.random.Generator
) -> tuple[list[Utterance], list[Speech]]:
    """Utterances of one take and how they sound, in time order.

    Args:
        speaker: who talks.
        plan: what is to be shown; also names the split, which decides on sentence patterns.
        frames: length of the take at 30 fps; speech ends well before.
        voice: says the sentences.
        rng: source of all that varies.
    """
    words_per_s = speaker.words_per_s * rng.uniform(0.95, 1.05)
    end_s = frames / FPS - _SILENT_END_S
    now_s = rng.uniform(*_SILENT_START_S)
    free_s = 0.0  # when the hands are free again
    todo = list(plan.todo)
    utterances: list[Utterance] = []
    speeches: list[Speech] = []
    while True:
        # What is planned has to fit: the less time is left, the likelier it comes next.
        pressing = len(todo) * _USUAL_TURN_S / max(end_s - now_s, 1e-6)
        kind: Kind = "beats" if rng.random() < speaker.beats else "idle"
        name = None
        if todo and rng.random() < pressing:
            kind, name = todo.pop()
        sentence = _compose(kind, name, plan.split, words_per_s, end_s - now_s, rng)
        if sentence is None and name is not None:
            continue  # something shorter may fit
        if sentence is None:
            return utterances, speeches
        speech = voice.say(sentence, words_per_s, rng).later(now_s)
        utterance, speech = _with_gestures(kind, name, sentence, speech, speaker, free_s, rng)
        free_frame = max((gesture.last for gesture in utterance.gestures), default=0)
        if utterance.words[-1].end_s > end_s or free_frame > frames - _STROKELESS_END_S * FPS:
            return utterances, speeches
        utterances.append(utterance)
        speeches.append(speech)
        now_s = utterance.words[-1].end_s + rng.uniform(*PAUSE_S)
        if utterance.gestures:
            free_s = free_frame / FPS + _BETWEEN_STROKES_S


def _compose(
    kind: Kind,
    name: str | None,
    split: str,
    words_per_s: float,
    room_s: float,
    rng: np.random.Generator,
) -> Sentence | None:
    """What to say, or None if nothing of the kind takes no more than `room_s` seconds."""
    patterns = NEUTRAL if name is None or kind == "gesture only" else PATTERNS[name]
    unseen = split != "train" and rng.random() < _UNSEEN_SHARE
    shortest, longest = UTTERANCE_S

    def clause(longest: float) -> Sentence | None:
        """None if the patterns have nothing so short, as far as many tries tell."""
        for _ in range(50):
            made = make_sentence(patterns_of(patterns, unseen), rng)
            if shortest <= len(made.words) / words_per_s <= longest:
                return made
        return None

    sentence = clause(min(longest, room_s))
    if sentence is not None and name is None and rng.random() < _TWO_CLAUSES:
        spoken_s = (len(sentence.words) + 1) / words_per_s
        more = clause(min(LONGEST_UTTERANCE_S, room_s) - spoken_s)
        if more is not None:
            conjunction = _CONJUNCTIONS[int(rng.integers(len(_CONJUNCTIONS)))]
            words = (*sentence.words, conjunction, *more.words)
            return Sentence(words, None, sentence.topic)
    return sentence


def _with_gestures(
    kind: Kind,
    name: str | None,
    sentence: Sentence,
    speech: Speech,
    speaker: Speaker,
    free_s: float,
    rng: np.random.Generator,
) -> tuple[Utterance, Speech]:
    """The utterance, said later if it must wait for the hands, and how it sounds."""
    if name is None or kind == "words only":
        groups = _beat_groups(speech.words, free_s, rng) if kind == "beats" else []
        beats = tuple(
            make_gesture(BEAT, speaker, lowest[0] - _BEAT_LEAD_S, 0.0, rng, flicks_s=lowest)
            for lowest in groups
        )
        kind = "idle" if kind == "beats" and not beats else kind
        text = f"The speaker {NEUTRAL.topic.format(sentence.topic)}." if beats else ""
        return Utterance(kind, speech.words, speech.phones, beats, intent_text=text), speech
    if sentence.keyword is None:
        numbers = range(1, len(speech.words))
        stressed = [i for i in numbers if speech.words[i].stressed] or list(numbers)
        first = stressed[int(rng.integers(len(stressed)))]
        place = slice(first, first + 1)
    else:
        place = slice(*sentence.keyword)
    lead_s = rng.uniform(*_LEAD_S)
    wait_s = free_s - (speech.words[place.start].start_s - lead_s)
    if wait_s > 0:
        speech = speech.later(wait_s)
    keyword = speech.words[place]
    gesture = make_gesture(
        GESTURES[name], speaker, keyword[0].start_s - lead_s, keyword[-1].end_s + 0.05, rng
    )
    text = f"The speaker {PATTERNS[name].topic.format(sentence.topic)}."
    return Utterance(kind, speech.words, speech.phones, (gesture,), name, keyword, text), speech


def _beat_groups(
    words: tuple[SpokenWord, ...], free_s: float, rng: np.random.Generator
) -> list[tuple[float, ...]]:
    """Lowest points of beats, early in neighbouring stressed words, in groups not too dense."""
    groups: list[list[float]] = []
    ready_s = free_s
    for word in words:
        time_s = word.start_s + 0.4 * (word.end_s - word.start_s)
        if not word.stressed or time_s - _BEAT_LEAD_S < free_s:
            continue
        if groups and time_s < ready_s:
            group = groups[-1]
            near = time_s - group[-1] < _BEAT_GAP_S
            full = len(group) == _MOST_BEATS or time_s - group[0] > _BEATS_S
            if near or full:
                continue
            group.append(time_s)
        else:
            groups.append([time_s])
        ready_s = time_s + rng.uniform(*_GROUP_GAP_S)
    return [tuple(group) for group in groups]
