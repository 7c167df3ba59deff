"""`gestray evaluate generation`: what was recorded is best, and what holds still is worst."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gestray.artifacts import run_stage
from gestray.metrics.fgd import MotionAutoencoder, MotionAutoencoderConfig
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from jobs.generate_scores import (
    MEAN,
    RANDOM,
    RECORDED,
    SCORES,
    ScoresConfig,
    scores_of,
    seam_ratio,
)
from tests.generators.artifacts import copied, given


@pytest.fixture(scope="module")
def evaluate(speech_takes, generator_task, tmp_path_factory):
    """An evaluation of two untrained runs of one method, by the name of its artifact: its rows."""
    store = Folder(str(tmp_path_factory.mktemp("scores")))

    def keep(model, config):
        def write(folder):
            folder.write_bytes(model_bytes(model), MODEL)
            save_config(config, folder)

        return write

    torch.manual_seed(0)
    inputs = {"takes": given(store, "takes", "takes", copied(speech_takes))}
    autoencoder = MotionAutoencoderConfig(width=16, dim=4)
    inputs["fgd"] = given(store, "fgd", "fgd", keep(MotionAutoencoder(autoencoder), autoencoder))
    for run in (0, 1):
        model = generator_task("semtalk").build()
        inputs[f"untrained@{run}"] = given(
            store, "generator", f"untrained-{run}", keep(model, model.config)
        )
    config = ScoresConfig(split="train", resamples=20)

    def rows(name):
        report = run_stage(SCORES, store, name, config, inputs)
        assert not report.artifact.folder.exists("unfinished")
        return scores_of(report.artifact.folder)["rows"]

    return rows


@pytest.fixture(scope="module")
def rows(evaluate):
    return evaluate("scores")


def test_an_evaluation_that_is_cut_off_goes_on_where_it_was(evaluate, rows, monkeypatch):
    def cut_off(*about):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jobs.generate_scores._gate_scores", cut_off)
        with pytest.raises(KeyboardInterrupt):
            evaluate("cut off")
    # What was scored is not scored again.
    monkeypatch.setattr("jobs.generation_metrics.Corpus.random_clips", cut_off)
    assert evaluate("cut off") == rows


def test_recorded_motion_is_at_no_distance_and_keeps_its_promises(rows):
    assert rows[RECORDED]["fgd"] == pytest.approx(0, abs=1e-6)
    assert rows[RECORDED]["semantic.fields"] > 0.7
    others = [name for name in rows if name != RECORDED]
    assert all(rows[RECORDED]["semantic.fields"] > rows[name]["semantic.fields"] for name in others)


def test_a_pose_that_is_held_makes_no_gesture(rows):
    assert rows[MEAN]["semantic.gestures"] == 0 and rows[MEAN]["speed"] == 0
    assert rows[MEAN]["fgd"] > rows[RANDOM]["fgd"] >= 0


def test_runs_of_one_method_share_a_row_and_have_an_interval(rows):
    row = rows["untrained"]
    assert len(row["runs"]) == 2
    assert row["fgd"] == pytest.approx(sum(run["fgd"] for run in row["runs"]) / 2)
    assert 0 <= row["semantic.intent.low"] <= row["semantic.intent.high"] <= 1
    assert row["fgd.low"] <= row["fgd.high"]
    assert 0 <= row["gate.balanced_accuracy"] <= 1
    assert "through tokens (face+upper+hands+lower)" in rows


def test_a_jump_between_hops_is_a_seam_and_steady_motion_is_none():
    steady = np.zeros((97, 165), "f4")
    steady[:, 48] = np.linspace(0, 1, 97)  # the left upper arm turns
    assert seam_ratio([steady], 16) == pytest.approx(1, abs=0.05)
    jumps = np.array(steady)
    jumps[:, 48] = np.floor(np.arange(97) / 16) * 0.2 + steady[:, 48] * 0.1
    assert seam_ratio([jumps], 16) > 10
