"""What the recordings have of a phrase for a browser: its words in time, its motion, its sound."""

from __future__ import annotations

import struct
import wave
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gestray.corpora.take import FPS, motion_from_column
from gestray.form import GesturePhases
from gestray.motion.export.clip import MotionClip
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, PARENTS, REST_OFFSETS, joint
from gestray.speech.audio import SAMPLE_RATE, sample_at
from gestray.store import Folder
from gestray.views.catalog import read_catalog, read_columns, takes_without

_HEADER = struct.Struct("<IIf")
# Of one phrase, frames that are sent: two minutes. Longer ones are thinned out.
_MOST_FRAMES = 3600
# Words belong to a phrase up to so much beyond its motion, seconds: times are rounded to frames.
_SLACK_S = 0.05
_FACE = frozenset({"jaw", "left_eye_smplhf", "right_eye_smplhf"})


class Recordings:
    """The takes that anchors were made from."""

    def __init__(self, takes: Folder) -> None:
        self._takes = takes
        self._refs = {ref.take_id: ref for ref in read_catalog(takes)}
        # The next phrase that is asked for is mostly of the same take.
        self._poses_of = lru_cache(maxsize=4)(self._read_poses)
        # Requests are answered in threads, and an open Parquet file is one reader's.
        self._reading = Lock()

    def words(self, take_id: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
        """The words of a phrase; times from its start in seconds, null where there are none."""
        ref = self._refs.get(take_id)
        if ref is None or not ref.words:
            return []
        if ref.words[0]["start_s"] is None:
            return [{"word": w["word"], "start_s": None, "end_s": None} for w in ref.words]
        return [
            {"word": w["word"], "start_s": w["start_s"] - start_s, "end_s": w["end_s"] - start_s}
            for w in ref.words
            if start_s - _SLACK_S <= w["start_s"] and w["end_s"] <= end_s + _SLACK_S
        ]

    def motion(self, take_id: str, start_s: float, end_s: float) -> bytes | None:
        """Joint positions of a phrase as `pack` has them; None where there is no motion."""
        span = self.poses(take_id, start_s, end_s)
        return None if span is None else pack_places(*span)

    def turns(self, take_id: str, start_s: float, end_s: float) -> bytes | None:
        """Joint rotations of a phrase as `pack_turns` has them; None where there is no motion."""
        span = self.poses(take_id, start_s, end_s)
        return None if span is None else pack_turns(*span)

    def poses(
        self, take_id: str, start_s: float, end_s: float
    ) -> tuple[NDArray[np.float32], float] | None:
        """Poses of a phrase (T, 165), and how many of them make a second; None without motion."""
        poses = self._cut(take_id, start_s, end_s)
        return None if poses is None else thinned(poses)

    def _cut(self, take_id: str, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """Poses of a phrase (T, 165), all of them."""
        poses = self._poses_of(take_id) if take_id in self._refs else None
        return None if poses is None else poses[round(start_s * FPS) : round(end_s * FPS)]

    def has_audio(self, take_id: str) -> bool:
        """Whether a take has sound."""
        ref = self._refs.get(take_id)
        return ref is not None and not takes_without(self._takes, [ref], "audio")

    def wav(self, take_id: str, start_s: float, end_s: float) -> bytes | None:
        """The sound of a phrase as a WAV file; None where there is none."""
        if take_id not in self._refs:
            return None
        with self._reading:
            column = read_columns(self._takes, self._refs[take_id], ["audio"])["audio"]
        samples = column[0].as_buffer()
        if samples is None:
            return None
        # Two bytes a sample, one channel.
        first, last = (2 * sample_at(seconds) for seconds in (start_s, end_s))
        return wav_file(memoryview(samples)[first:last])

    def clip(self, take_id: str, start_s: float, end_s: float) -> MotionClip | None:
        """A phrase to make a file of, with its sound; None where there is no motion."""
        poses = self._cut(take_id, start_s, end_s)
        if poses is None:
            return None
        with self._reading:
            table = read_columns(self._takes, self._refs[take_id], ["trans", "audio"])
        trans = motion_from_column(table["trans"])
        frames = slice(round(start_s * FPS), round(end_s * FPS))
        samples = table["audio"][0].as_buffer()
        first, last = (2 * sample_at(seconds) for seconds in (start_s, end_s))
        return MotionClip(
            np.ascontiguousarray(poses),
            None if trans is None else np.ascontiguousarray(trans[frames]),
            audio=None if samples is None else bytes(memoryview(samples)[first:last]),
        )

    def phases(self, take_id: str, start_s: float, end_s: float) -> GesturePhases | None:
        """When the phases of a phrase's gesture are; None where there is no gesture."""
        from gestray.anchors.verbalize import describe

        poses = self._cut(take_id, start_s, end_s)
        return None if poses is None or len(poses) < 2 else describe(poses.copy()).phases

    def _read_poses(self, take_id: str) -> NDArray[np.float32] | None:
        with self._reading:
            table = read_columns(self._takes, self._refs[take_id], ["poses"])
        return motion_from_column(table["poses"])


def pack(positions: NDArray[np.float32], fps: float) -> bytes:
    """Positions (T, J, 3) in metres as int16 millimetres, little-endian, after a header.

    The header is T and J as uint32 and the frame rate as float32; 8 seconds are 80 kB.
    """
    millimetres = np.clip(np.rint(positions * 1000), -32768, 32767).astype("<i2")
    return _HEADER.pack(*positions.shape[:2], fps) + millimetres.tobytes()


def pack_places(poses: NDArray[np.float32], fps: float) -> bytes:
    """Where the joints of poses (T, 165) are, as `pack` has it: seen from the front."""
    import torch

    from gestray.motion.kinematics import joint_positions

    with torch.inference_mode():
        found = joint_positions(torch.from_numpy(poses.copy())).numpy()
    return pack((found - found[:, :1]) @ _facing(found), fps)


def pack_turns(poses: NDArray[np.float32], fps: float) -> bytes:
    """How the joints of poses (T, 165) are turned against their parents: seen from the front.

    The header is that of `pack`; then int16 unit quaternions x, y, z, w in 1/32767, as the
    nodes of the avatar take them. The pelvis stays where it is.
    """
    import roma
    import torch

    from gestray.motion.kinematics import joint_positions

    with torch.inference_mode():
        turned = torch.from_numpy(poses.reshape(len(poses), -1, 3).copy())
        across = joint_positions(torch.from_numpy(poses.copy())).numpy()
        quaternions = roma.rotvec_to_unitquat(turned)
        front = torch.from_numpy(_facing(across).T.copy())
        root = roma.rotmat_to_unitquat(front).expand(len(poses), 4)
        quaternions[:, 0] = roma.quat_product(root, quaternions[:, 0])
    whole = np.rint(quaternions.numpy() * 32767).astype("<i2")
    return _HEADER.pack(*whole.shape[:2], fps) + whole.tobytes()


def thinned(poses: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Of poses (T, 165) as many as are sent, and how many of them make a second."""
    step = 1 + len(poses) // _MOST_FRAMES
    return poses[::step], FPS / step


def wav_file(pcm16: bytes | memoryview) -> bytes:
    """PCM16, mono, 16 kHz, as a WAV file."""
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(pcm16)
    return file.getvalue()


def skeleton() -> dict[str, Any]:
    """How the joints make a figure: bones as (from, to, part), and where head and wrists are.

    `rest` has each joint's parent, −1 of the root, and its place beside it in metres.
    """

    def part(name: str) -> str:
        side = "left" if name.startswith("left_") else "right"
        if any(f"_{finger}" in name for finger in FINGERS):
            return f"{side} hand"
        if name.endswith(("elbow", "wrist")):
            return f"{side} arm"
        return "legs" if name.endswith(("knee", "ankle", "foot")) else "trunk"

    bones = [
        (int(PARENTS[j]), j, part(name))
        for j, name in enumerate(JOINT_NAMES)
        if PARENTS[j] >= 0 and name not in _FACE
    ]
    wrists = [joint("left_wrist"), joint("right_wrist")]
    rest = [
        (int(parent), *(round(float(x), 5) for x in offset))
        for parent, offset in zip(PARENTS, REST_OFFSETS, strict=True)
    ]
    return {
        "bones": bones,
        "head": joint("head"),
        "neck": joint("neck"),
        "wrists": wrists,
        "rest": rest,
    }


def _facing(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """What rows of positions (T, J, 3) are multiplied by, so that the speaker looks along z.

    On average, about the vertical.
    """
    across = positions[:, joint("left_shoulder")] - positions[:, joint("right_shoulder")]
    x, z = across[:, [0, 2]].mean(axis=0)
    length = float(np.hypot(x, z)) or 1.0
    return np.array([[x, 0, -z], [0, length, 0], [z, 0, x]], np.float32) / length
