"""A folder of SMPL-X motion as takes: AMASS, SHOW, or anyone's own.

Every ``.npz`` at any depth is a take, and the files beside it with the same stem are its
speech: ``.wav`` (or flac, mp3, ogg), ``.TextGrid`` or ``.json`` with timed words, ``.txt``
with a transcript. `smplx_arrays.py` knows the names of the arrays.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from gestray.corpora.folder import CorpusFolder, open_corpus, read_unchanged
from gestray.corpora.npz import read_arrays
from gestray.corpora.parts import (
    as_float32,
    as_text,
    audio_s,
    check_audio,
    frame_rate,
    motion_s,
    read_audio,
    read_text,
    read_words,
)
from gestray.corpora.smplx_arrays import (
    POSE_ARRAYS,
    SMPLH_WIDTH,
    assemble_poses,
    detect_up,
    to_y_up,
)
from gestray.corpora.source import Listing, TakeEntry
from gestray.corpora.splits import parse_split, split_of
from gestray.corpora.take import FPS, NUM_BETAS, NUM_EXPRESSIONS, Take, check_motion
from gestray.errors import BadInput, UserError
from gestray.motion.rotations import resample_axis_angle, resample_linear
from gestray.speech.audio import LONGEST_RECORDING_S
from gestray.speech.words import words_of_text

_AUDIO = (".wav", ".flac", ".mp3", ".ogg")
_WORDS = (".TextGrid", ".json")
_TRANSCRIPT = ".txt"
_RATES = ("mocap_frame_rate", "mocap_framerate", "fps")
_TRANS = ("trans", "transl")
_EXPRESSIONS = ("expressions", "expression")
# Of AMASS: body shapes and marker layouts of subjects, without motion.
_NO_MOTION = re.compile(r"shape|.*_stagei")


@dataclass(frozen=True)
class SmplxSource:
    """A folder of SMPL-X or SMPL-H motion.

    Args:
        root: local or ``s3://``.
        split: ``time:F``, or None for a hash of the take id.
        fps: frames a second of files that do not say.
        up: the axis that points up, ``y`` or ``z``; None to detect it in each file.
    """

    root: str
    split: str | None = None
    fps: float | None = None
    up: str | None = None

    def list_takes(self) -> Listing:
        split = parse_split(self.split)
        files = {file.name: file.size for file in open_corpus(self.root).files()}
        archives = [name for name in files if name.endswith(".npz")]
        motion = [name for name in archives if not _NO_MOTION.fullmatch(PurePosixPath(name).stem)]
        if not motion:
            raise UserError(f"{self.root}: found no .npz files, expected SMPL-X motion")
        entries = []
        for name, take_id in zip(motion, take_ids(motion), strict=True):
            beside = {suffix: name.removesuffix(".npz") + suffix for suffix in _SIDECARS}
            sidecars = {suffix: file for suffix, file in beside.items() if file in files}
            size = files[name] + sum(files[file] for file in sidecars.values())
            entries.append(
                TakeEntry(take_id, split or split_of(take_id), size, detail=(name, sidecars))
            )
        skipped = len(archives) - len(motion)
        remarks = (
            (f"{skipped} files shape.npz and *_stagei.npz hold no motion: left out",)
            if skipped
            else ()
        )
        return Listing(tuple(entries), remarks=remarks)

    def has(self, file: str) -> bool:
        """Whether a file of this name, relative to the root, exists."""
        return open_corpus(self.root).exists(file)

    def read_take(self, entry: TakeEntry) -> Take:
        file, sidecars = entry.detail
        corpus = open_corpus(self.root)
        files = (file, *sidecars.values())
        return read_unchanged(corpus, files, lambda: self._read(corpus, entry))

    def _read(self, corpus: CorpusFolder, entry: TakeEntry) -> Take:
        file, sidecars = entry.detail
        take = Take(entry.take_id, entry.split)
        self._read_motion(corpus, file, take)
        for suffix in _AUDIO:
            if suffix in sidecars:
                take.audio = read_audio(corpus, sidecars[suffix])
                assert take.audio is not None, "the listing has it"
                check_audio(sidecars[suffix], take.audio, motion_s(take.num_frames))
                break
        recorded_s = max(motion_s(take.num_frames), audio_s(take.audio))
        for suffix in _WORDS:
            if suffix in sidecars:
                take.words = read_words(corpus, sidecars[suffix], recorded_s)
                break
        else:
            if _TRANSCRIPT in sidecars:
                text = read_text(corpus, sidecars[_TRANSCRIPT])
                take.words = words_of_text(text or "") or None
        take.validate()
        return take

    def remark(self, take: Take) -> str | None:
        assert take.extra is not None and take.joint_mask is not None
        rest = "" if take.joint_mask.all() else f", {(~take.joint_mask).sum()} joints at rest"
        return f"{take.extra['fps']:g} frames a second, {take.extra['up']} up{rest}"

    def _read_motion(self, corpus: CorpusFolder, file: str, take: Take) -> None:
        stream = corpus.open(file)
        if stream is None:
            raise BadInput(file, "file", "none", "an npz archive")
        names = (*POSE_ARRAYS, *_RATES, *_TRANS, *_EXPRESSIONS, "betas", "gender")
        with stream:
            arrays = read_arrays(stream, file, (*names, "surface_model_type"))
        poses, mask = assemble_poses(arrays, file)
        trans = _first(arrays, _TRANS, file)
        expressions = _first(arrays, _EXPRESSIONS, file)
        if trans is not None:
            trans = trans.reshape(len(trans), -1)
        if expressions is not None:
            expressions = _padded(file, "expressions", expressions, NUM_EXPRESSIONS)
        check_motion(file, poses, trans, expressions)
        fps = self._frame_rate(arrays, file)
        if len(poses) / fps > LONGEST_RECORDING_S:
            expected = f"at most {LONGEST_RECORDING_S} s"
            raise BadInput(file, "poses", f"{len(poses) / fps:.0f} s", expected)
        up = self.up or detect_up(poses, file)
        if up == "z":
            poses, trans = to_y_up(poses, trans)
        if fps != FPS:
            poses = resample_axis_angle(poses, fps, FPS)
            trans = None if trans is None else resample_linear(trans, fps, FPS)
            expressions = None if expressions is None else resample_linear(expressions, fps, FPS)
        check_motion(file, poses, trans, expressions)
        take.poses, take.trans, take.expressions, take.joint_mask = poses, trans, expressions, mask
        # The shape space of SMPL-H is another one.
        is_smplh = "poses" in arrays and arrays["poses"].shape[-1] == SMPLH_WIDTH
        if "betas" in arrays and not is_smplh:
            take.betas = _betas(file, arrays["betas"])
        texts = {name: as_text(arrays.get(name)) for name in ("gender", "surface_model_type")}
        take.extra = {"recording": file, "fps": fps, "up": up}
        take.extra |= {name: text for name, text in texts.items() if text is not None}

    def _frame_rate(self, arrays: dict[str, np.ndarray], file: str) -> float:
        for name in _RATES:
            if name in arrays:
                return frame_rate(file, name, arrays[name])
        if self.fps is None:
            expected = f"one of {', '.join(_RATES)}; where no file says, state it: fps=30"
            raise BadInput(file, "frame rate", "none", expected)
        return self.fps


_SIDECARS = (*_AUDIO, *_WORDS, _TRANSCRIPT)


def take_ids(files: list[str]) -> list[str]:
    """Take ids of files, from their relative paths.

    Folders are joined by ``_``, and what no id may hold becomes ``-``. Where that makes two
    files the same, or an id too long, a hash of the path is appended.
    """
    plain = [
        re.sub(r"[^A-Za-z0-9._-]", "-", name.removesuffix(".npz").replace("/", "_")).lstrip("._-")
        for name in files
    ]
    counts = Counter(plain)
    return [
        take_id
        if take_id and counts[take_id] == 1 and len(take_id) <= 128
        else f"{take_id[:115]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}".lstrip("-")
        for name, take_id in zip(files, plain, strict=True)
    ]


def _first(arrays: dict[str, np.ndarray], names: tuple[str, ...], file: str) -> np.ndarray | None:
    name = next((name for name in names if name in arrays), None)
    if name is None:
        return None
    if arrays[name].ndim < 2:
        raise BadInput(file, name, f"shape {arrays[name].shape}", "(frames, ...)")
    return as_float32(file, name, arrays[name])


def _padded(file: str, name: str, values: np.ndarray, width: int) -> np.ndarray:
    """Coefficients (frames, n) with those that the file leaves out, which are 0."""
    if values.ndim != 2 or values.shape[1] > width:
        raise BadInput(file, name, f"shape {values.shape}", f"(frames, n) with n <= {width}")
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _betas(file: str, values: np.ndarray) -> np.ndarray:
    """The body's shape (300,); of several frames', which must agree, the first."""
    betas = as_float32(file, "betas", values)
    if betas.ndim == 2 and len(betas) and (betas == betas[0]).all():
        betas = betas[0]
    if betas.ndim != 1 or len(betas) > NUM_BETAS:
        raise BadInput(file, "betas", f"shape {values.shape}", f"(n,) with n <= {NUM_BETAS}")
    return np.pad(betas, (0, NUM_BETAS - len(betas)))
