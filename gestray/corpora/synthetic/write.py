"""Writes a synthetic corpus in BEAT2's layout, with gold descriptions.

Takes are made one by one from their own random numbers, in as many processes as asked for,
so that neither the number of processes nor of takes after it changes a take.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from gestray.corpora.folder import ABOUT_FILE
from gestray.corpora.synthetic.layout import AUDIO_FOLDER, FOLDERS, write_take, write_text
from gestray.corpora.synthetic.motion import make_motion
from gestray.corpora.synthetic.script import (
    ZIPF_EXPONENT,
    Deck,
    Plan,
    Utterance,
    plan_take,
    write_script,
)
from gestray.corpora.synthetic.speakers import SPEAKERS, Speaker
from gestray.corpora.synthetic.stroke import FPS
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.corpora.synthetic.voice import (
    EspeakVoice,
    LettersVoice,
    Voice,
    find_espeak,
    mix,
)
from gestray.errors import UserError

SHORTEST_TAKE_S = 10.0
"""A shorter take might hold no utterance at all."""

# A speaker's takes go to the splits in this order, 70/10/20 in every ten; each speaker begins
# elsewhere, so that small corpora have validation and test takes too.
_SPLIT_CYCLE = (
    *("train", "train", "test", "train", "train"),
    *("val", "train", "train", "test", "train"),
)
_SPLIT_START = (0, 1, 5, 3, 8, 6, 2, 4)

_README = """\
Synthetic gesture corpus of gestray

No person was recorded. Sentences come from a grammar, gestures from a vocabulary of
{types} types with up to four variants each, and motion from inverse kinematics on
gestray's own skeleton. Results on these data say whether a method works, not how well
people's gestures are understood: label them synthetic.

Layout: that of BEAT2 (smplxflame_30, textgrid, sem, emo, train_test_split.csv), {audio}.
gold/{{id}}.json lists the form and the intent of every gesture, beats included; its
times are those of stroke and hold. betas are zero: everybody has the mean body.
The tier phones of the textgrids marks stress as the Montreal Forced Aligner does: 1 after
a vowel with primary stress.

takes {takes}, seed {seed}, {seconds} s each; {speakers} speakers with styles of their own
{semantic} semantic gestures, on their keywords; some utterances say a meaning without
showing it, some show one without saying it
{plain:.0%} of the speaking time is in utterances with beats or no gesture
training takes: gesture types with Zipf's frequencies, the type of rank r as 1 / r
validation and test takes: every type equally often, and sentence patterns of a kind that
occurs in no training take
"""


@dataclass
class CorpusSummary:
    """What was written.

    Attributes:
        takes: number of takes.
        seconds: of motion in all.
        phrases: number of utterances.
        semantic_gestures: gestures with a meaning, beats not counted.
        beats: groups of beats.
        speakers: number of speakers.
        speaking_s: seconds from the first to the last word of an utterance, of all of them.
        plain_share: of the speaking time, the part in utterances without a semantic gesture.
        outside_strokes_share: of the speaking time, the part outside of strokes and holds of
            semantic gestures.
        kinds: utterances of each kind.
        types: semantic gestures of each type, every type named.
        train_types: gesture types that occur in training takes.
        splits: takes of each split.
    """

    takes: int = 0
    seconds: float = 0.0
    phrases: int = 0
    semantic_gestures: int = 0
    beats: int = 0
    speakers: int = 0
    speaking_s: float = 0.0
    plain_share: float = 0.0
    outside_strokes_share: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    train_types: int = 0
    splits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Order:
    """What a process needs to make one take."""

    out: Path
    seed: int
    number: int
    frames: int
    plan: Plan
    speech: bool


@dataclass(frozen=True)
class _TakeFigures:
    """What a take adds to the summary."""

    kinds: tuple[str, ...]
    types: tuple[str, ...]
    beats: int
    speaking_s: float
    plain_s: float
    stroke_s: float


def write_corpus(
    out: Path,
    takes: int,
    seed: int,
    seconds: float = 45.0,
    speech: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Writes `takes` takes of `seconds` each below `out`; same arguments, same bytes.

    A take does not depend on how many follow it: a larger corpus begins with the smaller.

    Args:
        out: folder of the corpus, made if absent; files of like names are overwritten.
        takes: number of takes, at least 1. From 5 on every split has takes.
        seed: any integer from 0.
        seconds: length of each take.
        speech: whether a synthesizer speaks (`voice.EspeakVoice`). Its words have other times.
        workers: processes that make takes; their number changes no byte.
        progress: called with takes done and takes in all, after each take.

    Raises:
        UserError: `takes`, `seed` or `seconds` is too small, or there is no synthesizer.
    """
    _check(takes, seed, seconds)
    if speech:
        find_espeak()
    for folder in (*FOLDERS, *[AUDIO_FOLDER] * speech):
        (out / folder).mkdir(parents=True, exist_ok=True)
    decks = {
        split: Deck(exponent, np.random.default_rng([seed, number]))
        for number, (split, exponent) in enumerate(ZIPF_EXPONENT.items())
    }
    summary = CorpusSummary(types=dict.fromkeys(GESTURES, 0), splits=dict.fromkeys(decks, 0))
    orders = [
        _Order(
            out=out,
            seed=seed,
            number=number,
            frames=round(seconds * FPS),
            plan=plan_take(
                _speaker_of(number),
                split_of_take(number),
                seconds,
                decks[split_of_take(number)],
                np.random.default_rng([seed, len(decks), number]),
            ),
            speech=speech,
        )
        for number in range(takes)
    ]
    in_training: set[str] = set()
    plain_s = stroke_s = 0.0
    with _workers(min(workers, takes)) as make_all:
        for order, figures in zip(orders, make_all(orders), strict=True):
            summary.takes += 1
            summary.seconds += order.frames / FPS
            summary.splits[order.plan.split] += 1
            summary.phrases += len(figures.kinds)
            summary.semantic_gestures += len(figures.types)
            summary.beats += figures.beats
            summary.speaking_s += figures.speaking_s
            plain_s += figures.plain_s
            stroke_s += figures.stroke_s
            for kind in figures.kinds:
                summary.kinds[kind] = summary.kinds.get(kind, 0) + 1
            for name in figures.types:
                summary.types[name] += 1
            if order.plan.split == "train":
                in_training.update(figures.types)
            if progress is not None:
                progress(summary.takes, takes)
    summary.speakers = min(takes, len(SPEAKERS))
    summary.train_types = len(in_training)
    summary.speaking_s = round(summary.speaking_s, 3)
    summary.plain_share = round(plain_s / summary.speaking_s, 4)
    summary.outside_strokes_share = round(1 - stroke_s / summary.speaking_s, 4)
    _write_about(out, seed, seconds, speech, summary)
    return summary


def split_of_take(number: int) -> str:
    """Split of take `number`, from 0: 70/10/20 train/val/test for each speaker."""
    turn, speaker = divmod(number, len(SPEAKERS))
    return _SPLIT_CYCLE[(turn + _SPLIT_START[speaker]) % len(_SPLIT_CYCLE)]


def _speaker_of(number: int) -> Speaker:
    return SPEAKERS[number % len(SPEAKERS)]


def _take_id(number: int) -> str:
    return _speaker_of(number).take_id(number // len(SPEAKERS) + 1)


def _check(takes: int, seed: int, seconds: float) -> None:
    for name, value, least in (
        ("takes", takes, 1),
        ("seed", seed, 0),
        ("seconds", seconds, SHORTEST_TAKE_S),
    ):
        if not value >= least:
            raise UserError(f"synthetic corpus: {name} is {value:g}, expected at least {least:g}")


_MakeAll = Callable[[Iterable[_Order]], Iterator[_TakeFigures]]


@contextmanager
def _workers(count: int) -> Iterator[_MakeAll]:
    """A function that makes takes in order: here, or in processes of their own."""
    if count <= 1:
        yield lambda orders: map(_make_take, orders)
        return
    # Forked, a process would inherit locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, torch.set_num_threads, (1,)) as pool:
        yield lambda orders: pool.map(_make_take, orders)


def _make_take(order: _Order) -> _TakeFigures:
    """Writes the files of one take."""
    speaker = _speaker_of(order.number)
    rng = np.random.default_rng([order.seed, len(ZIPF_EXPONENT) + 1, order.number])
    with ExitStack() as stack:
        voice: Voice = LettersVoice()
        if order.speech:
            voice = stack.enter_context(EspeakVoice(speaker))
        utterances, speeches = write_script(speaker, order.plan, order.frames, voice, rng)
    motion = make_motion(utterances, speaker, order.frames, rng)
    samples = mix(speeches, order.frames / FPS) if order.speech else None
    write_take(order.out, _take_id(order.number), utterances, motion, samples)
    return _figures(utterances)


def _figures(utterances: list[Utterance]) -> _TakeFigures:
    speaking_s = plain_s = stroke_s = 0.0
    for utterance in utterances:
        start_s, end_s = utterance.words[0].start_s, utterance.words[-1].end_s
        speaking_s += end_s - start_s
        if utterance.type_name is None:
            plain_s += end_s - start_s
            continue
        for gesture in utterance.gestures:
            overlap = min(gesture.last / FPS, end_s) - max(gesture.first / FPS, start_s)
            stroke_s += max(overlap, 0.0)
    return _TakeFigures(
        kinds=tuple(utterance.kind for utterance in utterances),
        types=tuple(u.type_name for u in utterances if u.type_name is not None),
        beats=sum(len(u.gestures) for u in utterances if u.type_name is None),
        speaking_s=speaking_s,
        plain_s=plain_s,
        stroke_s=stroke_s,
    )


def _write_about(
    out: Path, seed: int, seconds: float, speech: bool, summary: CorpusSummary
) -> None:
    """The files that speak of the whole corpus."""
    listed = [f"{_take_id(number)},{split_of_take(number)}" for number in range(summary.takes)]
    write_text(out / "train_test_split.csv", "\n".join(["id,type", *listed]) + "\n")
    readme = _README.format(
        types=len(GESTURES),
        takes=summary.takes,
        seed=seed,
        seconds=f"{seconds:g}",
        speakers=summary.speakers,
        semantic=summary.semantic_gestures,
        plain=summary.plain_share,
        audio="with speech by espeak-ng" if speech else "without\naudio",
    )
    write_text(out / "README.txt", readme)
    about = {
        "synthetic": True,
        "takes": summary.takes,
        "seed": seed,
        "seconds": seconds,
        "speech": speech,
    }
    write_text(out / ABOUT_FILE, json.dumps(about) + "\n")
