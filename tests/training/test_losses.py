"""What training loses on purpose: workers' nodes, the controller's node, the driver, all of it.

On a real Ray cluster of several nodes on this machine. Training ends, with the log of
a run that nothing happened to, to the bit; or, where the number of workers changed, within
`ELASTIC`. Every step has seen exactly the samples of the plan, whatever was done twice.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.local import LocalCluster, NodeSpec
from gestray.store import Folder
from gestray.training.data import training_data
from gestray.training.loop import LOG, train_alone
from tests.training.lossy import Watched, make_task
from tests.training.toy import one_thread

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24
LOOP = {
    "steps": STEPS,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "log_every": 1,
    "checkpoint_every": 4,
}
TWO_WORKERS = {"workers": 2, "max_failures": 2}
#: Relative, of losses at each step: other worker counts round otherwise.
ELASTIC = 1e-3


@dataclass
class Nodes:
    """A cluster whose training nodes can be lost and come back under new names."""

    cluster: LocalCluster
    names: list[str]
    cpus: int = 2
    made: int = 0

    def lose(self, name: str) -> None:
        self.cluster.lose(name)
        self.names.remove(name)

    def add(self) -> str:
        self.made += 1
        name = f"worker{self.made}"
        self.cluster.add(NodeSpec(name, {"CPU": self.cpus}))
        self.names.append(name)
        return name


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head without CPUs, for the cluster's own services, and two nodes that train."""
    with LocalCluster([NodeSpec("head", {"CPU": 0})], asks_every_s=1.0) as cluster:
        found = Nodes(cluster, [])
        found.add()
        found.add()
        yield found


@dataclass
class Run:
    """A training of a kind, in processes that may be killed."""

    nodes: Nodes
    takes: Folder
    folder: Path
    kind: str
    compute: dict[str, Any]
    pause_s: float = 0.15
    steps: int = STEPS

    @property
    def loop(self) -> dict[str, Any]:
        return {**LOOP, "steps": self.steps, "compute": self.compute}

    @property
    def target(self) -> Folder:
        return Folder(str(self.folder / "run"))

    def start(self, node: str | None = None) -> subprocess.Popen[str]:
        """The driver, on the head or as a task on a node; Ray Train's controller is there, too."""
        (self.folder / "seen").mkdir(exist_ok=True, parents=True)
        setup = {
            "kind": self.kind,
            "loop": self.loop,
            "takes": self.takes.uri,
            "target": self.target.uri,
            "seen": str(self.folder / "seen"),
            "pause_s": self.pause_s,
            "told": str(self.folder / "told"),
            "node": node,
            "environment": {
                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
                "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
            },
        }
        file = self.folder / "setup.json"
        file.write_text(json.dumps(setup))
        kept = {name: v for name, v in os.environ.items() if not name.startswith("RAY_")}
        kept |= self.nodes.cluster.environment
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.lossy", str(file)],
            env=kept,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr").open("a"),
            text=True,
            start_new_session=True,
        )

    def wait_for(self, process: subprocess.Popen[str], step: int) -> None:
        """Until the driver has told of a step."""
        told = self.folder / "told"
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if told.exists() and f'"step": {step},' in told.read_text():
                return
            time.sleep(0.02)
        said = (self.folder / "stderr").read_text()[-3000:]
        pytest.fail(f"step {step} was not reached; ended with {process.poll()}: {said}")

    def finish(self, process: subprocess.Popen[str]) -> None:
        process.wait(timeout=400)
        assert process.returncode == 0, (self.folder / "stderr").read_text()[-3000:]

    def losses(self) -> list[float]:
        rows = [json.loads(line) for line in self.target.read_bytes(LOG).splitlines()]
        assert [row["step"] for row in rows] == list(range(1, self.steps + 1))
        return [row["loss"] for row in rows]

    def check_samples(self) -> int:
        """Every step saw the plan's samples, each time it was done; returns how often that was."""
        task, loop = make_task(self.kind, self.loop)
        stream = training_data(task, loop, self.takes).stream
        lanes = range(stream.plan.lanes)
        watched = Watched(task, self.folder)
        expected = [
            sorted(watched.collate(table)["_seen"])
            for table in stream.local_batches(lanes, 0, self.steps)
        ]
        # A rank's part of a step, as often as it was begun. Ranks write to files of their own.
        parts: dict[int, set[tuple[str, ...]]] = {step: set() for step in range(self.steps)}
        begun = 0
        for file in (self.folder / "seen").glob("*.jsonl"):
            for line in file.read_text().splitlines():
                seen = json.loads(line)
                parts[seen["step"]].add(tuple(seen["samples"]))
                begun += 1
        for step, wanted in enumerate(expected):
            whole = [part for part in parts[step] if len(part) == len(wanted)]
            shares = sorted(sample for part in parts[step] for sample in part if part not in whole)
            assert all(sorted(part) == wanted for part in whole), f"step {step + 1}"
            assert whole or shares == wanted, f"step {step + 1}"
            assert not shares or not Counter(shares) - Counter(wanted), f"step {step + 1}"
        return begun


def undisturbed(run: Run) -> list[float]:
    """Losses of the same training with nothing lost: alone for one worker, else on the cluster."""
    if run.compute["workers"] == 1:
        task, loop = make_task(run.kind, run.loop)
        rows: list[dict[str, Any]] = []
        with one_thread():
            train_alone(task, loop, run.takes, rows.append)
        return [row["loss"] for row in rows]
    other = Run(run.nodes, run.takes, run.folder / "undisturbed", run.kind, run.compute, 0.0)
    other.finish(other.start())
    return other.losses()


@pytest.fixture(scope="module")
def of_two_workers(
    nodes: Nodes, takes: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[float]]:
    """Losses of a kind's training on two workers that nothing happened to, trained once."""

    @cache
    def losses(kind: str) -> list[float]:
        folder = tmp_path_factory.mktemp(kind)
        return undisturbed(Run(nodes, takes, folder, kind, TWO_WORKERS))

    return losses


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def workers_at(nodes: Nodes) -> dict[str, int]:
    """Node name → process id of a training worker there."""
    found = {}
    for name in nodes.names:
        family = psutil.Process(nodes.cluster.pid(name)).children(recursive=True)
        for member in family:
            try:
                if "RayTrainWorker" in " ".join(member.cmdline()):
                    found[name] = member.pid
            except psutil.NoSuchProcess:  # it has ended meanwhile
                continue
    return found


def lose(run: Run, what: str, at: int) -> None:
    """Start a run, lose something at a step, and let it end, with all that takes."""
    nodes = run.nodes
    driver_node = nodes.names[0] if what == "controller's node" else None
    process = run.start(driver_node)
    run.wait_for(process, at)
    if what == "worker":
        os.kill(next(iter(workers_at(nodes).values())), signal.SIGKILL)
    elif what == "node":
        nodes.lose(next(iter(workers_at(nodes))))
        nodes.add()
    elif what == "controller's node":
        assert driver_node is not None
        nodes.lose(driver_node)
        nodes.add()
        # Its node gone, the driver is lost as well: it is given again by hand.
        assert process.wait(timeout=120) != 0
        process = run.start()
    else:
        kill(process)
        process = run.start()
    run.finish(process)


# A worker is killed in test_steps.py, a driver in tests/jobs/test_pipeline.py.
CASES = [("tokenizer", "node"), ("encoder", "controller's node")]


@pytest.mark.ray
@pytest.mark.parametrize(("kind", "what"), CASES)
def test_what_is_lost_changes_nothing(nodes, takes, tmp_path, kind, what):
    """One worker, so that a run without Ray is the judge of what comes out, to the bit."""
    at = random.Random(f"{kind} {what}").randrange(6, STEPS - 8)
    run = Run(nodes, takes, tmp_path, kind, {"workers": 1, "max_failures": 2})
    lose(run, what, at)
    assert run.losses() == undisturbed(run)
    assert STEPS <= run.check_samples() < 2 * STEPS


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("what", ["worker", "node", "controller's node", "driver"])
@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_what_is_lost_at_random_steps_changes_nothing(
    nodes, takes, tmp_path, of_two_workers, kind, what, attempt
):
    """Two workers on two nodes; the judge is a run of two workers that nothing happened to."""
    at = random.Random(f"{kind} {what} {attempt}").randrange(2, STEPS - 6)
    run = Run(nodes, takes, tmp_path, kind, TWO_WORKERS)
    lose(run, what, at)
    assert run.losses() == of_two_workers(kind)
    run.check_samples()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_group_shrinks_when_a_node_is_lost_and_grows_when_one_comes(takes, tmp_path):
    """2 → 1 → 2 workers: the same batches and rate, so the same losses but for rounding.

    Nodes of one CPU, which a worker takes: readers must do without.
    """
    with LocalCluster([NodeSpec("head", {"CPU": 0})]) as cluster:
        nodes = Nodes(cluster, [], cpus=1)
        nodes.add()
        nodes.add()
        _shrink_and_grow(nodes, takes, tmp_path)


def _shrink_and_grow(nodes: Nodes, takes: Folder, tmp_path: Path) -> None:
    compute = {"workers": 2, "min_workers": 1, "resize_every_s": 2.0, "max_failures": 3}
    run = Run(nodes, takes, tmp_path, "tokenizer", compute, pause_s=2.0, steps=96)
    process = run.start()
    run.wait_for(process, 5)
    nodes.lose(next(iter(workers_at(nodes))))
    run.wait_for(process, 8)
    assert len(workers_at(nodes)) == 1
    nodes.add()
    deadline = time.monotonic() + 150
    while len(workers_at(nodes)) != 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(workers_at(nodes)) == 2
    (run.folder / "seen" / "hurry").touch()
    run.finish(process)
    whole = Run(nodes, takes, tmp_path / "whole", "tokenizer", {"workers": 1}, 0.0, run.steps)
    assert run.losses() == pytest.approx(undisturbed(whole), rel=ELASTIC)
    run.check_samples()


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_is_drained_has_its_checkpoint_first(nodes, takes, tmp_path):
    """The notice comes between two checkpoints, which are far apart: little is done twice."""
    run = Run(nodes, takes, tmp_path, "tokenizer", {"workers": 1, "max_failures": 0}, pause_s=0.5)
    process = run.start()
    run.wait_for(process, 6)
    (name,) = workers_at(nodes)
    nodes.cluster.drain(name, deadline_s=10)
    run.wait_for(process, 9)
    steps = {int(path.rsplit("-", 1)[1]) for path in run.target.list("checkpoints")}
    assert steps - {4, 8, 12}, "no checkpoint but the regular ones"
    nodes.add()
    run.finish(process)
    assert run.losses() == undisturbed(run)
    run.check_samples()
    nodes.lose(name)
