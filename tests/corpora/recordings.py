"""Small whole recordings in BEAT2's layout, for tests to read, vary and spoil."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from gestray.corpora.beat2 import PARTS
from gestray.corpora.take import SemanticLabel
from gestray.speech.words import Word

ID = "3_ada_0_1_1"
FRAMES = 60  # two seconds

# Names of the parts of a recording.
MOTION, AUDIO, GRID, SEM, EMO, GOLD = PARTS

TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n0 2.5 <exists> 1\n'
    '"IntervalTier" "words" 0 2.5 3\n0 0.5 ""\n0.5 1 "it"\n1 1.5 "grows"\n'
)
WORDS = [Word("it", 0.5, 1.0), Word("grows", 1.0, 1.5)]
SEMANTICS = "01_beat_align\t0\t0.5\t0.5\t0.1\t\n05_iconic_l\t0.5\t1.5\t1\t0.5\tgrows\n"
LABELS = [
    SemanticLabel("01_beat_align", 0, 0.5, 0.1),
    SemanticLabel("05_iconic_l", 0.5, 1.5, 0.5, "grows"),
]


@dataclass(frozen=True)
class Recording:
    """The files of one take: `recording / MOTION` is the path of its motion."""

    root: Path
    take_id: str = ID

    def file(self, part: str) -> str:
        """Name of a part's file, relative to the root."""
        folder, suffix = PARTS[part]
        return f"{folder}/{self.take_id}{suffix}"

    def __truediv__(self, part: str) -> Path:
        return self.root / self.file(part)


def smooth(frames: int, fps: float = 30.0) -> dict[str, np.ndarray]:
    """Motion that can be sampled at any rate: each joint turns evenly about one axis."""
    seconds = np.arange(frames)[:, None] / fps
    return {
        "poses": (seconds * np.linspace(-0.4, 0.4, 165)).astype(np.float32),
        "trans": seconds * np.array([0.1, 0.0, -0.2]),
        "expressions": seconds * np.linspace(0, 1, 100),
        "betas": np.linspace(-1, 1, 300, dtype=np.float32),
        "mocap_frame_rate": np.array(fps),
        "model": np.array("smplx2020"),
        "gender": np.array("neutral"),
    }


def write_npz(path: Path, arrays: dict, **changes: object) -> None:
    """`arrays` with `changes`; None leaves one out."""
    arrays = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def write_wav(path: Path, seconds: float = 2.5, rate: int = 16_000, **options: object) -> None:
    sound = 0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 200 / rate)
    if options.pop("stereo", False):
        sound = np.stack([sound, sound], axis=1)
    soundfile.write(path, sound, rate, **{"subtype": "PCM_16", **options})


def gold_record(**changes: object) -> dict:
    return {
        "start_s": 0.5,
        "end_s": 1.5,
        "form": {"handedness": "none"},
        "form_text": "Neither hand gestures.",
        "intent": "growth",
        "intent_text": "It grows.",
        **changes,
    }


def write_recording(root: Path, take_id: str = ID) -> Recording:
    """All six parts of a take."""
    recording = Recording(root, take_id)
    for part in PARTS:
        (recording / part).parent.mkdir(parents=True, exist_ok=True)
    write_npz(recording / MOTION, smooth(FRAMES))
    write_wav(recording / AUDIO)
    (recording / GRID).write_text(TEXTGRID)
    (recording / SEM).write_text(SEMANTICS)
    (recording / EMO).write_text("00_netural, 0, 2.0, 2.0, 0\n")
    (recording / GOLD).write_text(json.dumps([gold_record()]))
    return recording
