"""The catalogue of damage: what is done to a recording, and what must come of it.

`DAMAGE` quarantines the take and names file and field; `HARMLESS` looks odd and
is read right; `UNFIT_IDS` are never opened; `REFUSED` leaves a whole corpus in
doubt, so that a person must decide. test_damage tries them.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.lib import format as npy

from gestray.corpora.take import SemanticLabel, Take
from tests.corpora.recordings import (
    AUDIO,
    EMO,
    FRAMES,
    GOLD,
    GRID,
    ID,
    LABELS,
    MOTION,
    SEM,
    SEMANTICS,
    TEXTGRID,
    WORDS,
    Recording,
    gold_record,
    smooth,
    write_npz,
    write_wav,
)

# --- ways to spoil a recording --------------------------------------------

Spoil = Callable[[Recording], object]


def motion(**changes: object) -> Spoil:
    return lambda take: write_npz(take / MOTION, smooth(FRAMES), **changes)


def audio(**options: object) -> Spoil:
    return lambda take: write_wav(take / AUDIO, **options)


def content(part: str, data: str | bytes) -> Spoil:
    data = data.encode() if isinstance(data, str) else data
    return lambda take: (take / part).write_bytes(data)


def cut(part: str, keep: float) -> Spoil:
    def spoil(take: Recording) -> None:
        data = (take / part).read_bytes()
        (take / part).write_bytes(data[: int(len(data) * keep)])

    return spoil


def flip(part: str, at: float) -> Spoil:
    def spoil(take: Recording) -> None:
        data = bytearray((take / part).read_bytes())
        data[int(len(data) * at)] ^= 0xFF
        (take / part).write_bytes(data)

    return spoil


def with_value(name: str, frame: int, value: float) -> Spoil:
    frames = smooth(FRAMES)[name].copy()
    frames[frame, 2] = value
    return motion(**{name: frames})


def header_of(shape: tuple, descr: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"shape": shape, "fortran_order": False, "descr": descr})
    return buffer.getvalue()


def member(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("poses.npy", data)
    return buffer.getvalue()


def link(part: str, target: str) -> Spoil:
    def spoil(take: Recording) -> None:
        (take / part).rename(take.root.parent / "outside")
        (take / part).symlink_to(target)

    return spoil


def replace(part: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(take: Recording) -> None:
        (take / part).unlink()
        make(take / part)

    return spoil


def sparse(part: str, head: bytes) -> Spoil:
    """Ten gigabytes that take no room: a file that must not be read whole."""

    def spoil(take: Recording) -> None:
        with open(take / part, "wb") as file:
            file.write(head)
            file.truncate(10 << 30)

    return spoil


def poses(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# A header as pipes write it: the size is unknown, so as much as there is.
STREAMED_WAV = (
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0"
    b"\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff"
)


def gold(**changes: object) -> str:
    return json.dumps([gold_record(), gold_record(**changes)])


# --- the catalogue --------------------------------------------------------

DAMAGE: dict[str, tuple[Spoil, str, str]] = {
    # what is done: (how, part whose file is named, field named)
    "npz empty": (content(MOTION, b""), MOTION, "file"),
    "npz garbage": (content(MOTION, b"PK\x03\x04garbage"), MOTION, "file"),
    "npz cut short": (cut(MOTION, 0.5), MOTION, "file"),
    "npz cut in its directory": (cut(MOTION, 0.999), MOTION, "file"),
    "npz bit rot": (flip(MOTION, 0.1), MOTION, "poses"),
    "npz is a npy": (
        lambda take: np.save((take / MOTION).open("wb"), poses(9, 165)),
        MOTION,
        "file",
    ),
    "npz is a pickle": (content(MOTION, pickle.dumps([1])), MOTION, "file"),
    "object array": (motion(trans=np.array([None] * 3)), MOTION, "trans"),
    "text for numbers": (motion(trans=np.array(["a"])), MOTION, "trans"),
    "header larger than data": (content(MOTION, member(header_of((9**9, 165)))), MOTION, "poses"),
    "member not npy": (content(MOTION, member(b"poses? no")), MOTION, "poses"),
    "no poses": (motion(poses=None), MOTION, "poses"),
    "no frames": (motion(poses=poses(0, 165)), MOTION, "poses"),
    "one frame": (motion(poses=poses(1, 165)), MOTION, "poses"),
    "SMPL-H width": (motion(poses=poses(FRAMES, 156)), MOTION, "poses"),
    "three axes": (motion(poses=poses(FRAMES, 55, 3)), MOTION, "poses"),
    "NaN in poses": (with_value("poses", 17, np.nan), MOTION, "poses"),
    "degrees for radians": (with_value("poses", 17, 90.0), MOTION, "poses"),
    "infinite trans": (with_value("trans", 4, np.inf), MOTION, "trans"),
    "trans beyond float32": (with_value("trans", 4, 1e300), MOTION, "trans"),
    "NaN in expressions": (with_value("expressions", 59, np.nan), MOTION, "expressions"),
    "trans shorter": (motion(trans=np.zeros((59, 3))), MOTION, "trans"),
    "expressions longer": (motion(expressions=np.zeros((61, 100))), MOTION, "expressions"),
    "betas per frame": (motion(betas=np.zeros((FRAMES, 300))), MOTION, "betas"),
    "NaN in betas": (motion(betas=np.full(300, np.nan)), MOTION, "betas"),
    "fps zero": (motion(mocap_frame_rate=0), MOTION, "mocap_frame_rate"),
    "fps negative": (motion(mocap_frame_rate=-30), MOTION, "mocap_frame_rate"),
    "fps NaN": (motion(mocap_frame_rate=np.nan), MOTION, "mocap_frame_rate"),
    "fps absurd": (motion(mocap_frame_rate=1e6), MOTION, "mocap_frame_rate"),
    "fps a list": (motion(mocap_frame_rate=[30, 30]), MOTION, "mocap_frame_rate"),
    "fps a word": (motion(mocap_frame_rate="thirty"), MOTION, "mocap_frame_rate"),
    "wav garbage": (content(AUDIO, os.urandom(1000)), AUDIO, "header"),
    "wav cut short": (cut(AUDIO, 0.9), AUDIO, "size"),
    "wav without samples": (audio(seconds=0), AUDIO, "samples"),
    "wav NaN": (
        lambda take: soundfile.write(
            take / AUDIO, np.full(40_000, np.nan), 16_000, subtype="FLOAT"
        ),
        AUDIO,
        "samples",
    ),
    "wav far shorter than motion": (audio(seconds=1.7), AUDIO, "duration"),
    "TextGrid cut short": (content(GRID, TEXTGRID[:-20]), GRID, "tier words, interval 2"),
    "TextGrid binary": (content(GRID, b"ooBinaryFile\x08\xff"), GRID, "text encoding"),
    "TextGrid without words": (content(GRID, TEXTGRID.replace("words", "w")), GRID, "tiers"),
    "words overlap": (
        content(GRID, TEXTGRID.replace("1 1.5", "0.7 1.5")),
        GRID,
        "tier words, interval 3",
    ),
    "words of another take": (
        content(GRID, TEXTGRID.replace("1 1.5", "1 9.5")),
        GRID,
        "tier words",
    ),
    "sem bad score": (content(SEM, SEMANTICS.replace("0.5\tg", "high\tg")), SEM, "row 2, score"),
    "sem score above 1": (content(SEM, SEMANTICS.replace("0.5\tg", "5\tg")), SEM, "row 2, score"),
    "sem NaN": (content(SEM, SEMANTICS.replace("1.5\t1", "nan\t1")), SEM, "row 2, end"),
    "sem backwards": (content(SEM, SEMANTICS.replace("1.5\t1", "0.1\t1")), SEM, "row 2"),
    "sem short row": (content(SEM, SEMANTICS + "05_iconic_l\t1\n"), SEM, "row 3"),
    "sem not text": (content(SEM, b"\xff\xfe\x00"), SEM, "text encoding"),
    "emo empty": (content(EMO, "\n"), EMO, "emotion"),
    "emo bad time": (content(EMO, "00_netural, 0, long, 2, 0"), EMO, "row 1"),
    "gold not JSON": (content(GOLD, "[{"), GOLD, "gold"),
    "gold form": (content(GOLD, gold(form={"handedness": "left"})), GOLD, "1.form"),
    "gold time": (content(GOLD, gold(end_s=0.1)), GOLD, "1"),
    "gold unknown key": (content(GOLD, gold(mood="x")), GOLD, "1.mood"),
    "words out of order": (
        content(GRID, TEXTGRID.replace("0 0.5", "1.5 2").replace("2.5 3\n", "2.5 3\n")),
        GRID,
        "tier words, interval 2",
    ),
    "word that ends before it starts": (
        content(GRID, TEXTGRID.replace("1 1.5", "1 0.9")),
        GRID,
        "tier words, interval 3",
    ),
    "word before zero": (
        content(GRID, TEXTGRID.replace("0.5 1 ", "-0.5 1 ").replace("0 0.5", "-1 -0.5")),
        GRID,
        "tier words, interval 1",
    ),
    "10 GB of npz": (sparse(MOTION, b"PK\x03\x04"), MOTION, "file"),
    "10 GB of wav": (sparse(AUDIO, STREAMED_WAV), AUDIO, "duration"),
    "10 GB of TextGrid": (sparse(GRID, TEXTGRID.encode()), GRID, "size"),
    "10 GB of labels": (sparse(SEM, SEMANTICS.encode()), SEM, "size"),
    "10 GB of emotion": (sparse(EMO, b"0, 0, 1"), EMO, "size"),
    "10 GB of gold": (sparse(GOLD, b"[]"), GOLD, "size"),
    "link out of the corpus": (link(AUDIO, "../../outside"), AUDIO, "location"),
    "link that leads nowhere": (link(SEM, "nothing.txt"), SEM, "location"),
    "link to itself": (replace(EMO, lambda path: path.symlink_to(path)), EMO, "location"),
    "folder for a file": (replace(GRID, Path.mkdir), GRID, "location"),
    "pipe for a file": (replace(AUDIO, os.mkfifo), AUDIO, "location"),
}


def same_audio(take: Take) -> bool:
    return take.audio is not None and abs(len(take.audio) - 80_000) <= 2


HARMLESS: dict[str, tuple[Spoil, Callable[[Take], bool]]] = {
    "compressed npz": (
        lambda take: np.savez_compressed((take / MOTION).open("wb"), **smooth(FRAMES)),
        lambda t: t.num_frames == FRAMES,
    ),
    "float64 poses in Fortran order": (
        motion(poses=np.asfortranarray(smooth(FRAMES)["poses"], np.float64)),
        lambda t: t.poses is not None and np.array_equal(t.poses, smooth(FRAMES)["poses"]),
    ),
    "poses alone": (
        motion(trans=None, expressions=None, betas=None, mocap_frame_rate=None),
        lambda t: t.num_frames == FRAMES and t.trans is None and t.betas is None,
    ),
    "an object array that is not asked for": (
        motion(note=np.array([None])),
        lambda t: t.num_frames == FRAMES,
    ),
    "wav 8 bit stereo": (audio(subtype="PCM_U8", stereo=True), same_audio),
    "wav 44.1 kHz": (audio(rate=44_100), same_audio),
    "wav float": (audio(subtype="FLOAT"), same_audio),
    "wav much longer": (audio(seconds=30), lambda t: t.duration_s == 30),
    "wav a little shorter": (audio(seconds=1.81), lambda t: t.duration_s == 2.0),
    "TextGrid UTF-16": (content(GRID, TEXTGRID.encode("utf-16")), lambda t: t.words == WORDS),
    "TextGrid CRLF and BOM": (
        content(GRID, TEXTGRID.replace("\n", "\r\n").encode("utf-8-sig")),
        lambda t: t.words == WORDS,
    ),
    "TextGrid a second longer": (
        content(GRID, TEXTGRID.replace("1 1.5", "1 3.4")),
        lambda t: t.duration_s == 3.4,
    ),
    "TextGrid of no interval": (
        content(GRID, TEXTGRID[: TEXTGRID.index("3\n0 0.5")] + "0\n"),
        lambda t: t.words == [],
    ),
    "TextGrid of silence": (
        content(GRID, TEXTGRID.replace('"it"', '"sp"').replace('"grows"', '""')),
        lambda t: t.words == [],
    ),
    "sem CRLF, BOM, spaces, blank lines": (
        content(SEM, SEMANTICS.replace("\t", " \t ").replace("\n", "\r\n\r\n").encode("utf-8-sig")),
        lambda t: t.semantics == LABELS,
    ),
    "sem UTF-16": (content(SEM, SEMANTICS.encode("utf-16")), lambda t: t.semantics == LABELS),
    "sem with unknown labels and blank keywords": (
        content(SEM, "11_dance_x\t0\t1\t1\t0.3\t  \n"),
        lambda t: t.semantics == [SemanticLabel("11_dance_x", 0, 1, 0.3)],
    ),
    "sem without the keyword column": (
        content(SEM, "my own label\t0\t1\t1\t1"),
        lambda t: t.semantics == [SemanticLabel("my own label", 0, 1, 1.0)],
    ),
    "sem empty": (content(SEM, ""), lambda t: t.semantics == []),
    "emo of several rows": (
        content(EMO, "01_happiness, 0, 0.5, 0.5, 0\r\n03_sadness, 0.5, 2, 1.5, 0\r\n"),
        lambda t: t.emotion == "sadness",
    ),
    "link within the corpus": (
        lambda take: ((take / SEM).rename(take.root / "kept"), (take / SEM).symlink_to("../kept")),
        lambda t: t.semantics == LABELS,
    ),
}


UNFIT_IDS = {
    "leads out": "../../outside",
    "absolute": "/etc/passwd",
    "NUL": "a\0b",
    "300 characters": "x" * 300,
    "space": "bad id",
    "hidden": ".hidden",
    "newline": "a\nb",
}

SPLIT_FILE = "train_test_split.csv"

REFUSED: dict[str, tuple[str | bytes, str]] = {
    # what is done to the split file: (its content, what the error says)
    "id twice": (f"id,type\n{ID},val\nx,train\n\n{ID},train\n", "rows 2 and 5"),
    "unknown split": (f"id,type\n{ID},dev\n", "row 2: found '3_ada_0_1_1,dev'"),
    "short row": (f"id,type\n{ID}\n", "row 2"),
    "no header": (f"{ID},val\n", "header 'id,type'"),
    "empty": ("", "empty file"),
    "open quote": ('id,type\n"x,train\n', "broken CSV"),
    "not text": (b"\xff\xfe\x00", "text encoding"),
}
