"""Writes a synthetic corpus in BEAT2's layout, with gold descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gestray.corpora.folder import ABOUT_FILE
from gestray.corpora.synthetic.gold import gold_form
from gestray.corpora.synthetic.motion import TakeMotion, make_motion
from gestray.corpora.synthetic.script import KIND_SHARES, Deck, Utterance, write_script
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import FPS
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.errors import UserError
from gestray.form import PhysicalForm

SHORTEST_TAKE_S = 10.0
"""A shorter take might hold no utterance at all."""

# A speaker's takes go to the splits in this order, 70/10/20 in every ten; each speaker begins
# elsewhere, so that small corpora have validation and test takes too.
_SPLIT_CYCLE = (
    "train",
    "train",
    "test",
    "train",
    "train",
    "val",
    "train",
    "train",
    "test",
    "train",
)
_SPLIT_START = (0, 1, 5, 3, 8, 6)

# BEAT2's labels number the classes of gestures by class and salience; the score is a tenth of it.
_FIRST_LABEL = {"deictic": 2, "iconic": 5, "metaphoric": 8}
_SALIENCE = {"none": 0, "small": 0, "medium": 1, "large": 2}

_README = """\
Synthetic gesture corpus of gestray

No person was recorded. Sentences come from a grammar, gestures from a vocabulary of
{types} types with up to three variants each, and motion from inverse kinematics on
gestray's own skeleton. Results on these data say whether a method works, not how well
people's gestures are understood: label them synthetic.

Layout: that of BEAT2 (smplxflame_30, textgrid, sem, emo, train_test_split.csv), without
audio. gold/{{id}}.json lists the form and the intent of every gesture, beats included; its
times are those of stroke and hold. betas are zero: everybody has the mean body.

takes {takes}, seed {seed}, {seconds} s each; {speakers} speakers with styles of their own
about {share:.0%} of the utterances have a semantic gesture, on their keyword; some say a
meaning without showing it or show one without saying it; the rest carry beats or nothing
sentence patterns of one kind occur in no training take, only in validation and test
"""


@dataclass
class CorpusSummary:
    """What was written.

    Attributes:
        takes: number of takes.
        seconds: of motion in all.
        phrases: number of utterances.
        semantic_gestures: gestures with a meaning, beats not counted.
        speakers: number of speakers.
        types: semantic gestures of each type, every type named.
        splits: takes of each split.
    """

    takes: int = 0
    seconds: float = 0.0
    phrases: int = 0
    semantic_gestures: int = 0
    speakers: int = 0
    types: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)


def write_corpus(
    out: Path,
    takes: int,
    seed: int,
    seconds: float = 45.0,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Writes `takes` takes of `seconds` each below `out`; same arguments, same bytes.

    A take does not depend on how many follow it: a larger corpus begins with the smaller.

    Args:
        out: folder of the corpus, made if absent; files of like names are overwritten.
        takes: number of takes, at least 1. From 12 on every split has takes.
        seed: any integer from 0.
        seconds: length of each take.
        progress: called with takes done and takes in all, after each take.

    Raises:
        UserError: `takes`, `seed` or `seconds` is too small.
    """
    _check(takes, seed, seconds)
    frames = round(seconds * FPS)
    for folder in ("smplxflame_30", "textgrid", "sem", "emo", "gold"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    decks = {
        split: Deck(np.random.default_rng([seed, number]))
        for number, split in enumerate(("train", "val", "test"))
    }
    summary = CorpusSummary(types=dict.fromkeys(GESTURES, 0), splits=dict.fromkeys(decks, 0))
    listed = ["id,type"]
    for number in range(takes):
        rng = np.random.default_rng([seed, len(decks), number])
        speaker = SPEAKERS[number % len(SPEAKERS)]
        take_id = speaker.take_id(number // len(SPEAKERS) + 1)
        split = split_of_take(number)
        utterances = write_script(speaker, split, frames, decks[split], rng)
        motion = make_motion(utterances, speaker, frames, rng)
        _write_take(out, take_id, utterances, motion)
        listed.append(f"{take_id},{split}")
        _count(summary, utterances, split, frames)
        if progress is not None:
            progress(number + 1, takes)
    summary.speakers = min(takes, len(SPEAKERS))
    _write_text(out / "train_test_split.csv", "\n".join(listed) + "\n")
    readme = _README.format(
        types=len(GESTURES),
        takes=takes,
        seed=seed,
        seconds=f"{seconds:g}",
        speakers=summary.speakers,
        share=KIND_SHARES["meaning"] + KIND_SHARES["gesture only"],
    )
    _write_text(out / "README.txt", readme)
    about = {"synthetic": True, "takes": takes, "seed": seed, "seconds": seconds}
    _write_text(out / ABOUT_FILE, json.dumps(about) + "\n")
    return summary


def split_of_take(number: int) -> str:
    """Split of take `number`, from 0: 70/10/20 train/val/test for each speaker."""
    turn, speaker = divmod(number, len(SPEAKERS))
    return _SPLIT_CYCLE[(turn + _SPLIT_START[speaker]) % len(_SPLIT_CYCLE)]


def _check(takes: int, seed: int, seconds: float) -> None:
    for name, value, least in (
        ("takes", takes, 1),
        ("seed", seed, 0),
        ("seconds", seconds, SHORTEST_TAKE_S),
    ):
        if not value >= least:
            raise UserError(f"synthetic corpus: {name} is {value:g}, expected at least {least:g}")


def _count(summary: CorpusSummary, utterances: list[Utterance], split: str, frames: int) -> None:
    summary.takes += 1
    summary.splits[split] += 1
    summary.seconds += frames / FPS
    summary.phrases += len(utterances)
    for utterance in utterances:
        if utterance.type_name is not None:
            summary.semantic_gestures += 1
            summary.types[utterance.type_name] += 1


# --- files ----------------------------------------------------------------


def _write_take(out: Path, take_id: str, utterances: list[Utterance], motion: TakeMotion) -> None:
    frames = len(motion.poses)
    # numpy gives the members of the archive a fixed date, so equal arrays are equal bytes.
    np.savez(
        out / "smplxflame_30" / f"{take_id}.npz",
        betas=np.zeros(300, dtype=np.float32),
        poses=motion.poses,
        expressions=motion.expressions,
        trans=motion.trans,
        model=np.array("smplx2020"),
        gender=np.array("neutral"),
        mocap_frame_rate=np.array(FPS, dtype=np.int32),
    )
    seconds = frames / FPS
    _write_text(out / "textgrid" / f"{take_id}.TextGrid", _textgrid(utterances, seconds))
    _write_text(out / "sem" / f"{take_id}.txt", _semantics(utterances, seconds))
    _write_text(out / "emo" / f"{take_id}.csv", f"00_netural, 0, {seconds:.3f}, {seconds:.3f}, 0\n")
    _write_text(out / "gold" / f"{take_id}.json", json.dumps(_gold(utterances), indent=1) + "\n")


def _textgrid(utterances: list[Utterance], seconds: float) -> str:
    """The words as a TextGrid in Praat's long format; the phones tier repeats them."""
    intervals: list[tuple[float, float, str]] = []
    now = 0.0
    for word in (word for utterance in utterances for word in utterance.words):
        if word.start_s > now:
            intervals.append((now, word.start_s, ""))
        intervals.append((word.start_s, word.end_s, word.text))
        now = word.end_s
    intervals.append((now, seconds, ""))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {seconds:.3f}",
        "tiers? <exists>",
        "size = 2",
        "item []:",
    ]
    for number, name in enumerate(("words", "phones"), 1):
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {seconds:.3f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for index, (start, end, text) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {start:.3f}",
                f"            xmax = {end:.3f}",
                f'            text = "{text}"',
            ]
    return "\n".join(lines) + "\n"


def _semantics(utterances: list[Utterance], seconds: float) -> str:
    """BEAT2's gesture labels, which cover the take without gaps."""
    rows = []
    now = 0.0
    for utterance in utterances:
        gesture = utterance.gesture
        if gesture is None:
            continue
        start, end = gesture.first / FPS, gesture.last / FPS
        rows.append(_label("00_nogesture", now, start, 0.0))
        if utterance.keyword is None:
            rows.append(_label("01_beat_align", start, end, 0.1))
        else:
            rank = _FIRST_LABEL[gesture.kind.family] + _SALIENCE[_amplitude(gold_form(gesture))]
            level = "lmh"[rank - _FIRST_LABEL[gesture.kind.family]]
            name = f"{rank:02d}_{gesture.kind.family}_{level}"
            words = " ".join(word.text for word in utterance.keyword)
            rows.append(_label(name, start, end, rank / 10, words))
        now = end
    rows.append(_label("00_nogesture", now, seconds, 0.0))
    return "".join(rows)


def _label(name: str, start: float, end: float, score: float, *keywords: str) -> str:
    cells = (name, f"{start:.3f}", f"{end:.3f}", f"{end - start:.3f}", f"{score:g}", *keywords)
    return "\t".join(cells) + "\n"


def _amplitude(form: PhysicalForm) -> str:
    """Amplitude of the hand that moves most."""
    hands = [hand for hand in (form.left, form.right) if hand is not None]
    return max((hand.trajectory.amplitude for hand in hands), key=_SALIENCE.__getitem__)


def _gold(utterances: list[Utterance]) -> list[dict[str, object]]:
    return [
        {
            "start_s": round(gesture.first / FPS, 4),
            "end_s": round(gesture.last / FPS, 4),
            "form": gold_form(gesture).model_dump(),
            "form_text": "",
            "intent": gesture.kind.intent,
            "intent_text": utterance.intent_text,
        }
        for utterance in utterances
        if (gesture := utterance.gesture) is not None
    ]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
