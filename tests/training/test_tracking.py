"""TensorBoard, MLflow and Weights & Biases are told the log, once, and nothing secret."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gestray.errors import UserError
from gestray.training import tracking
from gestray.training.loop import train_alone
from gestray.training.tracking import tracked
from tests.training.test_steps import loop
from tests.training.toy import Toy

SECRET = "not-to-be-told-5c1f"


def train_tracked(takes, tmp_path, monkeypatch, name: str) -> list[dict]:
    """Six steps; then the last four again, as of a run that was gone on with."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    config = loop(6, validate_every=3, track=[name])
    rows: list[dict] = []
    with tracked(config.track, "toy-1", "store/toy-1", config) as tell:
        train_alone(Toy(), config, takes, lambda row: (rows.append(row), tell(row)))
    with tracked(config.track, "toy-1", "store/toy-1", config) as tell:
        for row in rows[2:]:
            tell(row)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file
    return rows


def test_tensorboard_has_every_figure_of_every_row(takes, tmp_path, monkeypatch):
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.setenv("GESTRAY_TENSORBOARD", str(tmp_path / "board"))
    rows = train_tracked(takes, tmp_path, monkeypatch, "tensorboard")
    found: dict[str, dict[int, float]] = {}
    for file in sorted((tmp_path / "board" / "toy-1").iterdir()):
        data = file.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    assert found["loss"] == pytest.approx({row["step"]: row["loss"] for row in rows})
    assert set(found["val/loss"]) == {3, 6}
    assert {"lr", "grad_norm", "samples_per_s", "wait_share", "memory_mb"} <= set(found)


def test_a_run_gone_on_with_in_the_same_second_overwrites_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GESTRAY_TENSORBOARD", str(tmp_path))
    for step in range(3):
        with tracked(("tensorboard",), "toy-1", "store/toy-1", loop(6)) as tell:
            tell({"step": step, "loss": 1.0})
    assert len(list((tmp_path / "toy-1").iterdir())) == 3


def test_mlflow_has_one_run_with_every_row(takes, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="pip install 'gestray[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    rows = train_tracked(takes, tmp_path, monkeypatch, "mlflow")
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("gestray")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("toy-1", "FINISHED")
    assert run.data.params["learning_rate"] == "0.001"
    told = {
        metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")
    }
    assert told == {row["step"]: row["loss"] for row in rows}
    assert {m.step for m in client.get_metric_history(run.info.run_id, "val.loss")} == {3, 6}


def test_wandb_offline_writes_a_run_to_send_later(takes, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install 'gestray[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    train_tracked(takes, tmp_path, monkeypatch, "wandb")
    files = list(tmp_path.rglob("*.wandb"))
    assert files and any(b"grad_norm" in file.read_bytes() for file in files)


def test_what_is_not_installed_is_said_before_training(monkeypatch):
    monkeypatch.setitem(tracking._PACKAGES, "mlflow", "no_such_package")
    with pytest.raises(UserError, match=r"pip install 'gestray\[mlflow\]'"):
        tracking.check_trackers(("mlflow",))


def test_nothing_is_imported_that_is_not_asked_for():
    code = "import sys, gestray.training.loop, jobs.training; "
    code += "print([n for n in ('tensorboardX', 'mlflow', 'wandb') if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
