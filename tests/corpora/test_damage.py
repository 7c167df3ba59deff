"""Each damage of the catalogue on a recording by itself, and all of it at once in an ingest."""

from __future__ import annotations

import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gestray.corpora import beat2
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.take import Take
from gestray.errors import BadInput, UserError
from gestray.store import Folder
from tests.corpora.damage import DAMAGE, HARMLESS, REFUSED, SPLIT_FILE, UNFIT_IDS, member
from tests.corpora.recordings import (
    AUDIO,
    FRAMES,
    GRID,
    ID,
    MOTION,
    Recording,
    smooth,
    write_npz,
    write_recording,
    write_wav,
)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """One whole take, in a corpus folder within `tmp_path`."""
    return write_recording(tmp_path / "corpus")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_names_file_and_field(recording: Recording, case: str) -> None:
    spoil, part, field = DAMAGE[case]
    spoil(recording)
    assert list_takes(recording.root).take_ids == (ID,)
    with pytest.raises(BadInput) as error:
        read_take(recording.root, ID)
    assert (error.value.file, error.value.field) == (recording.file(part), field)


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_merely_odd_is_read(recording: Recording, case: str) -> None:
    spoil, holds = HARMLESS[case]
    spoil(recording)
    assert holds(read_take(recording.root, ID))


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
