"""The files of a synthetic take, in BEAT2's layout and with gold descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from gestray.corpora.synthetic.gold import gold_form, gold_phases
from gestray.corpora.synthetic.motion import TakeMotion
from gestray.corpora.synthetic.script import Utterance
from gestray.corpora.synthetic.stroke import FPS, Gesture
from gestray.corpora.synthetic.voice import SAMPLE_RATE
from gestray.form import PhysicalForm
from gestray.speech.textgrid import Interval, format_textgrid

FOLDERS = ("smplxflame_30", "textgrid", "sem", "emo", "gold")
AUDIO_FOLDER = "wave16k"

# BEAT2's labels number the classes of gestures by class and salience; the score is a tenth of it.
_FIRST_LABEL = {"deictic": 2, "iconic": 5, "metaphoric": 8}
_SALIENCE = {"none": 0, "small": 0, "medium": 1, "large": 2}


def write_take(
    out: Path,
    take_id: str,
    utterances: list[Utterance],
    motion: TakeMotion,
    samples: np.ndarray | None,
) -> None:
    """Writes the files of one take into the folders `FOLDERS` of `out`.

    With `samples` (int16 at 16 kHz) also its audio, into `AUDIO_FOLDER`.
    """
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
    write_text(out / "textgrid" / f"{take_id}.TextGrid", _textgrid(utterances, seconds))
    write_text(out / "sem" / f"{take_id}.txt", _semantics(utterances, seconds))
    write_text(out / "emo" / f"{take_id}.csv", f"00_netural, 0, {seconds:.3f}, {seconds:.3f}, 0\n")
    gold = json.dumps(_gold(utterances, motion), indent=1)
    write_text(out / "gold" / f"{take_id}.json", gold + "\n")
    if samples is not None:
        wav = out / AUDIO_FOLDER / f"{take_id}.wav"
        soundfile.write(wav, samples, SAMPLE_RATE, subtype="PCM_16")


def _textgrid(utterances: list[Utterance], seconds: float) -> str:
    """Words and phones, the two tiers that BEAT2 has."""
    words = [word for utterance in utterances for word in utterance.words]
    tiers: dict[str, list[Interval]] = {
        "words": [(word.start_s, word.end_s, word.text) for word in words],
        "phones": [phone for utterance in utterances for phone in utterance.phones],
    }
    return format_textgrid(tiers, seconds)


def _semantics(utterances: list[Utterance], seconds: float) -> str:
    """BEAT2's gesture labels, which cover the take without gaps."""
    rows = []
    now = 0.0
    for utterance, gesture in _gestures(utterances):
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


def _gold(utterances: list[Utterance], motion: TakeMotion) -> list[dict[str, object]]:
    gestures = [gesture for _, gesture in _gestures(utterances)]
    phases = gold_phases(gestures, motion.rest, len(motion.poses))
    return [
        {
            "start_s": round(gesture.first / FPS, 4),
            "end_s": round(gesture.last / FPS, 4),
            "form": gold_form(gesture).model_dump(),
            "form_text": "",
            "intent": gesture.kind.intent,
            "intent_text": utterance.intent_text,
            "phases": times.model_dump(),
        }
        for (utterance, gesture), times in zip(_gestures(utterances), phases, strict=True)
    ]


def _gestures(utterances: list[Utterance]) -> Iterator[tuple[Utterance, Gesture]]:
    return ((utterance, gesture) for utterance in utterances for gesture in utterance.gestures)


def write_text(path: Path, text: str) -> None:
    """The same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")
