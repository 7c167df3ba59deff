"""`gestray export` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gestray.errors import UserError
from gestray.motion.bvh import parse_bvh
from jobs.cli import app
from tests.corpora.recordings import smooth, write_npz, write_wav


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """Two seconds of motion with speech beside it."""
    write_npz(tmp_path / "motion.npz", smooth(60))
    write_wav(tmp_path / "motion.wav", seconds=2.5)
    return tmp_path / "motion.npz"


def export(*arguments: object) -> dict:
    found = CliRunner().invoke(app, ["export", *map(str, arguments), "--json"])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return json.loads(found.stdout.splitlines()[-1])


def test_a_file_goes_to_every_format_by_its_ending(motion: Path, tmp_path: Path) -> None:
    for kind in ("npz", "bvh", "glb", "vrma", "mp4"):
        out = tmp_path / f"out.{kind}"
        found = export(motion, "--out", out, "--end", 0.5)
        assert found == {
            "file": str(out), "format": kind, "frames": 15, "seconds": 0.5,
            "bytes": out.stat().st_size,
        }  # fmt: skip


def test_a_stretch_is_cut_in_time(motion: Path, tmp_path: Path) -> None:
    export(motion, "--out", tmp_path / "cut.npz", "--start", 0.5, "--end", 1.5)
    with np.load(tmp_path / "cut.npz") as found, np.load(motion) as whole:
        np.testing.assert_array_equal(found["poses"], whole["poses"][15:45])
    with pytest.raises(UserError, match=r"no frame between them; .* is 2\.00 s long"):
        export(motion, "--out", tmp_path / "cut.npz", "--start", 3)


def test_bvh_takes_the_names_of_a_skeleton(motion: Path, tmp_path: Path) -> None:
    export(motion, "--out", tmp_path / "out.bvh", "--skeleton", "mixamo")
    with (tmp_path / "out.bvh").open("rb") as stream:
        bvh = parse_bvh(stream, "out.bvh")
    assert bvh.joints[0].name == "Hips" and "LeftHandIndex1" in bvh.index()


def test_what_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected one of"):
        export("absent.npz", "--out", tmp_path / "out.avi")
    with pytest.raises(UserError, match=r"for \.bvh only"):
        export("absent.npz", "--out", tmp_path / "out.glb", "--skeleton", "cmu")
