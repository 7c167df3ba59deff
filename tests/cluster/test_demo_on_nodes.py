"""The demo on three nodes that declare different things, one of which is lost on the way.

Work lands on the nodes whose resources it asks for, and what comes out is what one node makes:
the same artifacts by name, the same models and rows by content.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.local import LocalCluster, NodeSpec, parse_node
from gestray.store import Folder
from jobs.rows import ROWS

#: Small enough for two cores; every stage of the demo all the same.
DEMO = ["takes=10", "workers=2"]
DEMO += [
    f"{name}.loop.{key}"
    for name in ("direct", "sma", "semges")
    for key in ("steps=12", "batch_size=16")
]
DEMO += ["tokenizer.loop.steps=40", "tokenizer.loop.batch_size=16"]
DEMO += [
    f"{n}.loop.{k}" for n in ("tokenizer", "direct", "sma", "semges") for k in ("log_every=2",)
]
DEMO += [f"{name}.loop.checkpoint_every=4" for name in ("tokenizer", "direct", "sma", "semges")]
#: Trainings ask for what the node `train` has, and for none of the CPUs it has not.
ON_TRAIN = [
    f"{name}.loop.compute.resources={{CPU: 0, train: 1}}"
    for name in ("tokenizer", "direct", "sma", "semges")
]
WHERE = """
import json, ray
from ray._private.state import actors
ray.init(logging_level="ERROR", log_to_driver=False)
names = {node["NodeID"]: node["NodeName"] for node in ray.nodes()}
found = {}
for actor in actors().values():
    if (node := actor["Address"]["NodeID"]) in names:
        found.setdefault(actor["ActorClassName"], []).append(names[node])
print(json.dumps(found))
"""


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=kept | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(process: subprocess.Popen[str], kept: list[str]) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        kept.append(line)
        yield line


def contents(store: Path) -> dict[str, str]:
    """What the store's artifacts hold, by folder: digests of models, rows and takes."""
    found = {}
    for manifest in sorted(store.glob("*/*/manifest.json")):
        folder = Folder(str(manifest.parent))
        if folder.exists("model.safetensors"):
            data = folder.read_bytes("model.safetensors")
        elif folder.exists(ROWS):
            data = repr(pq.read_table(folder.path(ROWS)).to_pylist()).encode()
        else:
            tree = json.loads(manifest.read_text())
            data = repr((tree["rows_in"], tree["rows_out"], tree["rows_quarantined"])).encode()
        found[f"{manifest.parent.parent.name}/{manifest.parent.name}"] = hashlib.sha256(
            data
        ).hexdigest()
    return found


def demo(store: Path, *more: str) -> tuple[str, ...]:
    return ("-m", "jobs.cli", "demo", *DEMO, *more, "--store", str(store), "--json")


@pytest.mark.ray
@pytest.mark.slow
def test_three_nodes_one_of_them_lost_make_what_one_makes(tmp_path) -> None:
    nodes = [parse_node(text) for text in ("head", "cpu:CPU=8", "train:train=2")]
    said: list[str] = []
    with LocalCluster(nodes) as cluster:
        process = start(cluster.environment, *demo(tmp_path / "three", *ON_TRAIN))
        for line in lines(process, said):
            if line.startswith("train tokenizer") and " 20/40" in line:
                cluster.lose("train")
                cluster.add(NodeSpec("train2", {"train": 2}))
        assert process.wait(600) == 0, "".join(said[-30:])
        assert process.stdout is not None
        stages = json.loads(process.stdout.read().splitlines()[-1])["stages"]
        asked = start(cluster.environment, "-c", WHERE)
        out, err = asked.communicate(timeout=120)
        assert asked.returncode == 0, err
        where: dict[str, list[str]] = json.loads(out.splitlines()[-1])
    trained: set[str] = set()
    worked: set[str] = set()
    for actor, places in where.items():
        if "TrainWorker" in actor:
            trained |= set(places)
        elif "MapWorker" in actor:
            worked |= set(places)
    assert trained == {"train", "train2"} and worked == {"cpu"}, where

    with LocalCluster([parse_node("one:CPU=16")]) as single:
        alone = start(single.environment, *demo(tmp_path / "one"))
        out, err = alone.communicate(timeout=900)
        assert alone.returncode == 0, err
    expected = json.loads(out.splitlines()[-1])["stages"]
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    assert figures(stages) == pytest.approx(figures(expected), rel=1e-6, nan_ok=True)


def figures(stages: list[dict[str, Any]]) -> dict[str, float]:
    """What the evaluation says, which is of all that came before."""
    metrics = stages[-1]["metrics"]
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and "seconds" not in name
    }
