"""Under load replicas are killed, a node is lost and the model is swapped: nobody notices.

GESTRAY_CHAOS_S=1800 pytest -m slow tests/serving/test_chaos.py     # as long as one likes
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster.local import LocalCluster, parse_node
from gestray.artifacts import Artifact
from gestray.client import Client
from gestray.store import Folder
from serving.config import Load, ServingConfig
from serving.keys import make_key, write_keys
from serving.library import Model, load_model
from tests.conftest import _free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(7200)]

_SECONDS = float(os.environ.get("GESTRAY_CHAOS_S", "240"))
_KILL_EVERY_S = min(60.0, _SECONDS / 6)
_ASKING = 4

# Serves until its standard input ends.
_DRIVER = """
import sys, ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from serving.app import application
from serving.config import ServingConfig

config = ServingConfig.model_validate_json(sys.argv[1])
ray.init(logging_level="ERROR", log_to_driver=False)
options = HTTPOptions(host=config.host, port=config.port)
serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options)
serve.run(application(config), name="chaos", route_prefix="/")
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
"""


@contextmanager
def served(cluster: LocalCluster, config: ServingConfig) -> Iterator[None]:
    """The application on a cluster, by a process of its own."""
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, config.model_dump_json()],
        env=os.environ | cluster.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert driver.stdout is not None
    try:
        assert any(line.startswith("ready") for line in driver.stdout)
        yield
    finally:
        driver.communicate(timeout=120)


def replicas() -> list[psutil.Process]:
    """Processes of this test's replicas."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("ServeReplica:chaos" in part for part in process.info["cmdline"] or []):
            found.append(process)
    return found


def test_nobody_notices(store: Folder, model: Model, other_pair: Artifact, tmp_path: Path) -> None:
    key, token = make_key("chaos", ("retrieve", "admin"), 10_000_000)
    write_keys([key], tmp_path / "keys.json")
    config = ServingConfig(
        store=store.uri, models={"gestures": model.artifact.uri}, port=_free_port(),
        keys=str(tmp_path / "keys.json"), load=Load(replicas=3, request_s=20),
    )  # fmt: skip
    url = f"http://127.0.0.1:{config.port}"
    other = load_model("gestures", other_pair.uri)
    texts = model.gestures.rows["text"].to_pylist()[:8]
    expected = {
        (m.source["index"], m.source["encoder"], n): [
            hit.phrase_id for hit in m.gestures.search(m.embed_texts([text]), 3)[0]
        ]
        for m in (model, other)
        for n, text in enumerate(texts)
    }
    stop, seen, slowest = threading.Event(), [], [0.0]

    def ask(number: int) -> None:
        with Client(url, token) as client:
            while not stop.is_set():
                number = (number + 1) % len(texts)
                began = time.monotonic()
                found = client.retrieve(texts[number], 3)  # raises what is not answered
                slowest[0] = max(slowest[0], time.monotonic() - began)
                pair = (found.source["index"], found.source["encoder"], number)
                assert [g.id for g in found.gestures] == expected[pair]  # of one pair, whole
                seen.append(pair[0])

    nodes = [parse_node(text) for text in ("head:CPU=1", "one:CPU=2", "two:CPU=2")]
    killed, swapped, lost = 0, False, False
    with (
        LocalCluster(nodes) as cluster,
        served(cluster, config),
        ThreadPoolExecutor(_ASKING) as pool,
    ):
        asking = [pool.submit(ask, number) for number in range(_ASKING)]
        began = time.monotonic()
        try:
            while (now := time.monotonic() - began) < _SECONDS:
                assert not any(each.done() for each in asking), [
                    each.exception() for each in asking if each.done()
                ]
                if now > (killed + 1) * _KILL_EVERY_S and (alive := replicas()):
                    alive[killed % len(alive)].kill()
                    killed += 1
                if now > _SECONDS / 2 and not swapped:
                    with Client(url, token) as admin:
                        admin.swap(other_pair.uri.rpartition("/")[2])
                    swapped = True
                if now > 0.75 * _SECONDS and not lost:
                    cluster.lose("two")
                    lost = True
                time.sleep(0.2)
        finally:
            stop.set()
        for each in asking:
            each.result()
    print(f"{len(seen)} answers, {killed} replicas killed, slowest {slowest[0]:.1f} s")
    assert killed >= 3 and swapped and lost
    assert set(seen) == {model.source["index"], other.source["index"]}
    assert seen[-1] == other.source["index"]
