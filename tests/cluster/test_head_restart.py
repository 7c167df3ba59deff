"""A head that is killed and comes back, its tables in a Redis: what runs elsewhere runs on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cluster.local import LocalCluster, parse_node
from gestray.store import Folder

#: An application of one replica, on whichever node has a CPU, which is not the head; and a proxy
#: on every node, at one port that they share, as the nodes share a machine.
SERVE = """
import sys
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

@serve.deployment(ray_actor_options={"num_cpus": 1})
class Echo:
    def __init__(self):
        self.asked = 0
    async def __call__(self, request):
        self.asked += 1
        return {"asked": self.asked}

options = HTTPOptions(host="127.0.0.1", port=int(sys.argv[1]))
serve.start(proxy_location=ProxyLocation.EveryNode, http_options=options)
serve.run(Echo.bind(), name="echo", route_prefix="/")
"""
STATUS = """
from ray import serve
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
applications = serve.status().applications
print(sorted(n["NodeName"] for n in ray.nodes() if n["Alive"]), applications["echo"].status)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def redis(tmp_path) -> Iterator[str]:
    """Debian's Redis, on loopback."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server: `apt-get install redis-server`")
    port = free_port()
    command = [server, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean(environment),
        capture_output=True,
        text=True,
        timeout=180,
    )


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | environment


def ask(port: int) -> int:
    """How often the replica was asked; a broken connection is made again, as any proxy does."""
    for patience_s in (0.2, 0.5, 1.0, 2.0, 0.0):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return json.load(answer)["asked"]
        except (OSError, urllib.error.URLError):
            if not patience_s:
                raise
            time.sleep(patience_s)
    raise AssertionError


@pytest.mark.ray
@pytest.mark.slow
def test_an_application_answers_on_while_the_head_is_gone_and_after(redis) -> None:
    nodes = [parse_node("head"), parse_node("serve:CPU=4")]
    with LocalCluster(nodes, redis=redis) as cluster:
        port = free_port()
        deployed = run(cluster.environment, "-c", SERVE, str(port))
        assert deployed.returncode == 0, deployed.stderr
        asked = ask(port)
        cluster.lose("head")
        gone = time.monotonic()
        while time.monotonic() - gone < 15:
            count = ask(port)
            # The same replica: it was not started anew.
            assert count == asked + 1
            asked = count
            time.sleep(0.25)
        cluster.restart_head()
        assert ask(port) == asked + 1
        deadline = time.monotonic() + 90
        while True:
            status = run(cluster.environment, "-c", STATUS)
            if "RUNNING" in status.stdout:
                break
            assert time.monotonic() < deadline, status.stdout + status.stderr
            time.sleep(2)
        assert "['head', 'serve']" in status.stdout
        assert ask(port) == asked + 2  # and still the same


@pytest.mark.ray
@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint_when_it_is_given_again(
    redis, takes: Folder, tmp_path
) -> None:
    store = tmp_path / "store"
    made = store / "takes" / "takes-000000000000"
    shutil.copytree(takes.path(), made)
    facts = {
        "stage": "ingest.beat2", "kind": "takes", "name": "takes", "identity": "0" * 12,
        "created": "2026-01-01", "config": {}, "inputs": {}, "rows_in": 12, "rows_out": 12,
        "rows_quarantined": 0, "seconds": 1.0, "metrics": {},
    }  # fmt: skip
    (made / "manifest.json").write_text(json.dumps(facts))
    command = ["-m", "jobs.cli", "tokenizer", "train", "--store", str(store), "--json"]
    command += ["loop.steps=60", "loop.batch_size=16", "loop.log_every=1"]
    command += ["loop.checkpoint_every=5", "loop.compute.workers=1"]
    nodes = [parse_node("head"), parse_node("train:CPU=4")]
    with LocalCluster(nodes, redis=redis) as cluster:
        first = subprocess.Popen(
            [sys.executable, *command],
            env=clean(cluster.environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert first.stderr is not None
            heard = next((line for line in first.stderr if "12/60" in line), None)
            assert heard is not None
            cluster.lose("head")
            time.sleep(3)
        finally:
            first.kill()
            first.wait()
        kept = sorted(path.name for path in store.glob("tokenizer/*/checkpoints/step-*"))
        assert kept
        cluster.restart_head()
        again = run(cluster.environment, *command)
        assert again.returncode == 0, again.stderr
    steps = [
        int(line.split("/60")[0].rsplit(" ", 1)[1])
        for line in again.stderr.splitlines()
        if line.startswith("train tokenizer")
    ]
    assert steps[-1] == 60
    assert steps[0] > 5  # and not from the first step
    [log] = [Path(path) for path in store.glob("tokenizer/*/log.jsonl")]
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [*range(1, 61)]
