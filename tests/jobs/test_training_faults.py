"""Training and sweeps over an object store that keeps failing end whole, with the same result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load

from gestray.artifacts import Stage, StageResult, run_stage
from gestray.config import Config, with_overrides
from gestray.store import Folder
from gestray.tokenizers.task import TokenizerTask
from gestray.training.loop import train_alone
from jobs.stages import stage_config
from tests.jobs.test_sweep import TINY
from tests.s3_proxy import FAULTS, faulty_s3, gestray_through
from tests.training.toy import one_thread

pytestmark = [pytest.mark.ray, pytest.mark.s3]


@pytest.fixture
def store(takes: Folder, tmp_path: Path, ray_cluster: str) -> Folder:
    """A store in the bucket that holds the session's takes as an artifact."""

    def copy(stage_run: Any) -> StageResult:
        stage_run.folder.upload(Path(takes.path()))
        return StageResult(12, 12)

    folder = Folder(f"s3://gestray/{tmp_path.name}")
    stage: Stage[Any] = Stage("ingest.beat2", "takes", Config, copy)
    run_stage(stage, folder, "takes", Config(), {})
    return folder


def test_training_with_its_checkpoints_ends_whole(store, takes, ray_cluster, s3):
    """A checkpoint every other step, all of them deleted again; the judge is a run on a disk."""
    loop = {"steps": 20, "checkpoint_every": 2, "log_every": 1, "compute.workers": 1}
    settings = _flat(TINY) | {f"loop.{key}": value for key, value in loop.items()}
    command = ("tokenizer", "train", *(f"{key}={json.dumps(v)}" for key, v in settings.items()))
    with faulty_s3(s3["AWS_ENDPOINT_URL"], 0.05, stall_s=0.5) as proxy:
        report = gestray_through(
            proxy.url, ray_cluster, *command, "--preset", "semges", "--store", store.uri
        )
    assert sum(proxy.seen[fault] for fault in FAULTS) >= 5, proxy.seen
    made = Folder(report["artifact"])
    assert made.list("checkpoints") == []
    values = with_overrides({"preset": "semges"}, settings)
    config: Any = stage_config("tokenizer.train", values, "test")
    rows: list[dict[str, Any]] = []
    with one_thread():
        model = train_alone(TokenizerTask(config), config.loop, takes, rows.append)
    log = [json.loads(line) for line in made.read_bytes("log.jsonl").splitlines()]
    assert [row["loss"] for row in log] == [row["loss"] for row in rows]
    kept = load(made.read_bytes("model.safetensors"))
    for name, value in model.state_dict().items():
        assert torch.equal(kept[name], value), name


@pytest.mark.slow
def test_a_sweep_ends_whole(store, ray_cluster, s3, tmp_path):
    tree = {
        "stage": "tokenizer.train",
        "base": TINY | {"loop": TINY["loop"] | {"steps": 12}},
        "space": {"model.codebook_size": {"choice": [2, 4, 8, 16]}},
        "search": "grid",
        "scheduler": "asha",
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(tree))
    with faulty_s3(s3["AWS_ENDPOINT_URL"], 0.05, stall_s=0.5) as proxy:
        report = gestray_through(proxy.url, ray_cluster, "sweep", file, f"store={store.uri}")
    assert sum(proxy.seen[fault] for fault in FAULTS) >= 10, proxy.seen
    assert report["metrics"]["trials"] == 4 and report["metrics"]["failed"] == 0
    assert report["metrics"]["best.model.codebook_size"] == 16
    assert Folder(report["best_artifact"]).exists("model.safetensors")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif prefix:
            found[prefix + key] = value
    return found
