"""The catalogue of damage: what is done to a recording, and what must come of it.

`DAMAGE` quarantines the take and names file and field; `HARMLESS` looks odd and
is read right; `UNFIT_IDS` are never opened; `REFUSED` leaves a whole corpus in
doubt, so that a person must decide. Each is tried on one recording by itself,
and all of them at once through a real ingest.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.lib import format as npy

from gestray.corpora import beat2
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.take import SemanticLabel, Take
from gestray.errors import BadInput, UserError
from gestray.store import Folder
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
    write_recording,
    write_wav,
)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """One whole take, in a corpus folder within `tmp_path`."""
    return write_recording(tmp_path / "corpus")


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


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_names_file_and_field(recording: Recording, case: str) -> None:
    spoil, part, field = DAMAGE[case]
    spoil(recording)
    assert list_takes(recording.root).take_ids == (ID,)
    with pytest.raises(BadInput) as error:
        read_take(recording.root, ID)
    assert (error.value.file, error.value.field) == (recording.file(part), field)


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


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_merely_odd_is_read(recording: Recording, case: str) -> None:
    spoil, holds = HARMLESS[case]
    spoil(recording)
    assert holds(read_take(recording.root, ID))


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


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_split_file_is_the_users_to_fix(recording: Recording, case: str) -> None:
    text, message = REFUSED[case]
    data = text.encode() if isinstance(text, str) else text
    (recording.root / SPLIT_FILE).write_bytes(data)
    with pytest.raises(UserError, match=r"train_test_split\.csv") as error:
        list_takes(recording.root)
    assert message in str(error.value)


@pytest.mark.parametrize("case", UNFIT_IDS)
def test_unfit_ids_are_listed_and_never_opened(recording: Recording, case: str) -> None:
    write_wav(recording.root.parent / "outside.wav")
    take_id = UNFIT_IDS[case]
    rows = f'id,type\n{ID},val\n"{take_id}",train\n'
    (recording.root / SPLIT_FILE).write_bytes(rows.encode())
    listing = list_takes(recording.root)
    assert (listing.take_ids, listing.absent) == ((ID,), ())
    assert list(listing.quarantined) == [take_id]
    with pytest.raises(BadInput, match="take id"):
        read_take(recording.root, take_id)


def test_a_file_that_may_not_be_read(recording: Recording, monkeypatch) -> None:
    """The operating system is asked by hand, for a test may run as a user who may do all."""

    def refuse(path: object, *rest: int) -> int:
        if str(path).endswith(".wav"):
            raise PermissionError(13, "Permission denied")
        return os_open(path, *rest)

    os_open = os.open
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BadInput) as error:
        read_take(recording.root, ID)
    assert (error.value.file, error.value.field) == (recording.file(AUDIO), "location")


@pytest.mark.parametrize("changes", [1, 99])
@pytest.mark.parametrize("torn", [False, True])
def test_a_file_that_changes_is_read_again_then_given_up(
    recording: Recording, monkeypatch, changes: int, torn: bool
) -> None:
    """Whether what was read of it looked whole or damaged."""
    whole = (recording / GRID).read_text()
    later = whole.replace("grows", "grew")
    read_words = beat2.read_words
    left = [changes]

    def changing(*arguments):
        if torn and left[0]:
            (recording / GRID).write_text(whole[:-9])
        try:
            return read_words(*arguments)
        finally:
            if left[0]:
                left[0] -= 1
                (recording / GRID).write_text(later + " " * left[0])

    monkeypatch.setattr(beat2, "read_words", changing)
    if changes == 1:
        take = read_take(recording.root, ID)
        assert take.words is not None and take.words[1].word == "grew"
        return
    with pytest.raises(BadInput) as error:
        read_take(recording.root, ID)
    assert (error.value.file, error.value.field) == (recording.file(GRID), "content")


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("disguise", ["bare", "object array", "in a zip"])
def test_a_pickle_is_never_executed(recording: Recording, tmp_path: Path, disguise: str) -> None:
    trap = tmp_path / "executed"
    payload = pickle.dumps(Payload(trap))
    if disguise == "bare":
        (recording / MOTION).write_bytes(payload)
    elif disguise == "object array":
        write_npz(recording / MOTION, smooth(FRAMES), poses=np.array([Payload(trap)]))
    else:
        (recording / MOTION).write_bytes(member(payload))
    with pytest.raises(BadInput):
        read_take(recording.root, ID)
    assert not trap.exists()
    pickle.loads(payload)
    assert trap.exists()  # the payload does work


# --- all of it at once ----------------------------------------------------


@pytest.mark.ray
def test_one_ingest_of_everything(tmp_path: Path, ray_cluster: str) -> None:
    """Every damaged take is quarantined for its own reason, every other one is stored."""
    from jobs.ingest import QUARANTINE, IngestConfig
    from jobs.stages import run_named

    root = tmp_path / "corpus"
    ids = {case: f"9_case{n}_0_1_1" for n, case in enumerate([*DAMAGE, *HARMLESS])}
    for case, (spoil, *_) in {**DAMAGE, **HARMLESS}.items():
        spoil(write_recording(root, ids[case]))
    restless = write_recording(root, "9_restless_0_1_1")
    write_wav(restless / AUDIO, seconds=120, rate=44_100)
    rows = [f'"{take_id}",train' for take_id in [*ids.values(), *UNFIT_IDS.values()]]
    rows += ["9_absent_0_1_1,train", f"{restless.take_id},train"]
    (root / SPLIT_FILE).write_text("\n".join(["id,type", *rows]))
    config = IngestConfig(source=str(root))

    with _Writing(restless / AUDIO):
        report = run_named("ingest.beat2", Folder(str(tmp_path / "store")), "takes", config, {})

    manifest = report.artifact.manifest
    damaged = len(DAMAGE) + len(UNFIT_IDS) + 1
    assert manifest.rows_out == len(HARMLESS)
    assert manifest.rows_quarantined == damaged
    assert manifest.rows_in == manifest.rows_out + manifest.rows_quarantined
    assert manifest.metrics["absent"] == 1

    lines = report.artifact.folder.read_bytes(QUARANTINE).splitlines()
    found = {record["take_id"]: record for record in map(json.loads, lines)}
    assert len(found) == damaged
    for case, (_, part, field) in DAMAGE.items():
        record = found[ids[case]]
        expected = (Recording(root, ids[case]).file(part), field)
        assert (record["file"], record["field"]) == expected, case
        assert record["found"] and record["expected"], case
    assert all(found[take_id]["field"] == "take id" for take_id in UNFIT_IDS.values())
    assert found[restless.take_id]["field"] == "content"

    # More than one shard: to go by their sizes, the sparse files would fill them.
    folder = report.artifact.folder
    files = [pq.ParquetFile(folder.path(shard)) for shard in folder.list("shards")]
    takes = [
        Take.from_row(file.read_row_group(number))
        for file in files
        for number in range(file.num_row_groups)
    ]
    by_id = {take.take_id: take for take in takes}
    assert len(by_id) == len(HARMLESS)
    for case, (_, holds) in HARMLESS.items():
        assert holds(by_id[ids[case]]), case


class _Writing:
    """Writes to a file over and over, for the time of the block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._write, daemon=True)

    def _write(self) -> None:
        with self.path.open("r+b", buffering=0) as file:
            while not self.stop.wait(0.005):
                file.seek(0)
                file.write(b"R")

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
