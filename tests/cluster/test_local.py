"""Several real Ray nodes on one machine: declared resources, the token, a lost node."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest

from cluster.local import LocalCluster, NodeSpec, parse_node
from gestray.errors import UserError

# A driver in a process of its own: this process may hold the session's cluster.
DRIVER = """
import json, sys, time
import ray

ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()

names = {node["NodeID"]: node["NodeName"] for node in ray.nodes()}
def land(**resources):
    return names[ray.get(where.options(max_retries=5, **resources).remote())]
"""
LOOK = (
    DRIVER
    + """
alive = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps({
    "resources": {node["NodeName"]: node["Resources"] for node in alive},
    "plain": land(num_cpus=3),
    "train": land(resources={"train": 1}),
}))
"""
)
LOSE = (
    DRIVER
    + """
print("ready", flush=True)
sys.stdin.readline()  # the node is gone
deadline = time.monotonic() + 60
while sum(node["Alive"] for node in ray.nodes()) > 2:
    assert time.monotonic() < deadline, "the loss was not noticed"
    time.sleep(0.5)
print(json.dumps({"alive": sorted(n["NodeName"] for n in ray.nodes() if n["Alive"]),
                  "plain": land(num_cpus=3)}))
"""
)
TELL = """
import time
import ray

ray.init(logging_level="ERROR")

@ray.remote(resources={"train": 1})
def tell():
    print("told from afar")

ray.get(tell.remote())
time.sleep(5)  # until it is told, and a second time where it is told twice
"""


def drive(code: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=kept | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_nodes_are_named_or_declared() -> None:
    assert parse_node("head") == NodeSpec("head", {"CPU": 0})
    assert parse_node("big:CPU=4,train=1.5") == NodeSpec("big", {"CPU": 4.0, "train": 1.5})


@pytest.mark.parametrize(
    "text", ["big", "Big:CPU=1", "big:CPU", "big:CPU=-1", "big:=1", "big:a=nan"]
)
def test_a_node_that_says_nothing_sensible_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=text.split(":")[0]):
        parse_node(text)


def test_names_must_differ() -> None:
    with pytest.raises(UserError, match="names that differ"):
        LocalCluster([NodeSpec("a"), NodeSpec("a")])


@pytest.mark.ray
@pytest.mark.slow
def test_three_nodes_the_token_and_a_loss() -> None:
    nodes = [parse_node(text) for text in ("head", "cpu:CPU=3", "train:CPU=2,train=1")]
    with LocalCluster(nodes) as cluster:
        assert stat.S_IMODE(cluster.token_file.stat().st_mode) == 0o600
        folder = cluster.folder
        stranger = {"RAY_ADDRESS": cluster.address, "RAY_AUTH_MODE": "disabled"}
        guest = drive(LOOK, stranger)
        forger = drive(LOOK, stranger | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})

        out, err = drive(LOOK, cluster.environment).communicate(timeout=120)
        seen = json.loads(out) if out else pytest.fail(err)
        assert set(seen["resources"]) == {"head", "cpu", "train"}
        assert "CPU" not in seen["resources"]["head"]
        assert seen["resources"]["cpu"]["CPU"] == 3
        assert seen["resources"]["train"]["train"] == 1
        # Tasks land where their resources ask for.
        assert (seen["plain"], seen["train"]) == ("cpu", "train")

        each = cluster.environment | {"RAY_DEDUP_LOGS": "0"}
        out, err = drive(TELL, each).communicate(timeout=120)
        assert (out + err).count("told from afar") == 1, out + err

        for refused in (guest, forger):
            out, err = refused.communicate(timeout=120)
            assert refused.returncode != 0 and not out
            assert "token" in err.lower()

        driver = drive(LOSE, cluster.environment)
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        cluster.lose("train")
        out, err = driver.communicate("gone\n", timeout=120)
        assert out, err
        # Ray tells of the loss on standard output before.
        assert json.loads(out.splitlines()[-1]) == {"alive": ["cpu", "head"], "plain": "cpu"}
    time.sleep(1)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert not folder.exists() and str(folder) not in listed  # nothing runs on
