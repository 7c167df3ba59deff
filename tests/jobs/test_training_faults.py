"""Training and sweeps over an object store that keeps failing end whole, with the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gestray.artifacts import Stage, StageResult, run_stage
from gestray.config import Config
from gestray.store import Folder
from tests.jobs.test_sweep import TINY
from tests.s3_proxy import FAULTS, faulty_s3

pytestmark = [pytest.mark.ray, pytest.mark.s3]


def run(cluster: str, endpoint: str, *arguments: object) -> dict[str, Any]:
    """The command line as a process whose Ray workers, too, reach object storage at `endpoint`."""
    environment = {"AWS_ENDPOINT_URL": endpoint}
    job = json.dumps({"runtime_env": {"env_vars": environment}})
    ran = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments), "--json"],
        env=os.environ | environment | {"RAY_ADDRESS": cluster, "RAY_JOB_CONFIG_JSON_ENV_VAR": job},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


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


def losses(artifact: str) -> list[float]:
    log = Folder(artifact).read_bytes("log.jsonl")
    return [json.loads(line)["loss"] for line in log.splitlines()]


def test_training_with_its_checkpoints_ends_whole(store, ray_cluster, s3):
    """A checkpoint every other step, of which all but the last two are deleted again."""
    settings = [f"{key}={json.dumps(value)}" for key, value in _flat(TINY).items()]
    settings += ["loop.steps=20", "loop.checkpoint_every=2", "loop.log_every=1"]
    settings += ["loop.compute.workers=1"]
    command = ("tokenizer", "train", *settings, "--preset", "semges", "--store", store.uri)
    with faulty_s3(s3["AWS_ENDPOINT_URL"], 0.05, stall_s=0.5) as proxy:
        faulty = run(ray_cluster, proxy.url, *command)
    assert sum(proxy.seen[fault] for fault in FAULTS) >= 5, proxy.seen
    assert Folder(faulty["artifact"]).list("checkpoints") == []
    whole = run(ray_cluster, s3["AWS_ENDPOINT_URL"], *command, "--name", "whole")
    assert whole["up_to_date"] is False
    assert losses(faulty["artifact"]) == losses(whole["artifact"])
    models = [Folder(r["artifact"]).read_bytes("model.safetensors") for r in (faulty, whole)]
    assert models[0] == models[1]


@pytest.mark.slow
def test_a_sweep_ends_whole(store, ray_cluster, s3, tmp_path):
    tree = {
        "stage": "tokenizer.train",
        "base": TINY | {"loop": TINY["loop"] | {"steps": 12}},
        "space": {"loop.learning_rate": {"choice": [1e-5, 1e-4, 1e-3, 1e-2]}},
        "search": "grid",
        "scheduler": "asha",
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(tree))
    with faulty_s3(s3["AWS_ENDPOINT_URL"], 0.05, stall_s=0.5) as proxy:
        report = run(ray_cluster, proxy.url, "sweep", file, f"store={store.uri}")
    assert sum(proxy.seen[fault] for fault in FAULTS) >= 10, proxy.seen
    assert report["metrics"]["trials"] == 4 and report["metrics"]["failed"] == 0
    assert report["metrics"]["best.loop.learning_rate"] in (1e-3, 1e-2)
    assert Folder(report["best_artifact"]).exists("model.safetensors")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif prefix:
            found[prefix + key] = value
    return found
