"""What operators watch: metrics exist, alerts fire on their faults, real targets are up."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.observability.make_dashboards import DASHBOARDS, text
from tests.cluster.manifests import ROOT

FOLDER = ROOT / "cluster" / "observability"
ALERTS, TESTS = FOLDER / "alerts.yml", FOLDER / "alerts.test.yml"
#: A series in a query: a name of Ray's, which exports ours and vLLM's too.
#: Of Ray's compiled core: its packages do not name them, the real run below sees them.
COMPILED = {"ray_node_failure_total"}
SERIES = re.compile(r"\b(?:ray|gestray)_[a-z0-9_]+")


def run(tool: str, *arguments: object) -> None:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool}: `apt-get install prometheus`")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query with where it is."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for name in DASHBOARDS:
        tree = json.loads((FOLDER / "dashboards" / f"{name}.json").read_text())
        for panel in tree["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]
        for variable in tree["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: ${variable['name']}", variable["query"]


def installed(package: str, below: str) -> str:
    """All Python below a folder of an installed package, unread by import."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    root = Path(spec.submodule_search_locations[0], below)
    return "\n".join(path.read_text() for path in sorted(root.rglob("*.py")))


def known_metrics() -> set[str]:
    """What is exported: by our code, and by Ray and vLLM as their own packages name it."""
    ours = "\n".join(
        (ROOT / path).read_text() for path in ("gestray/training/on_ray.py", "jobs/telemetry.py")
    )
    names = {f"ray_{name}" for name in re.findall(r'"(gestray_[a-z0-9_]+)"', ours)}
    # A server's own are scraped from its `/metrics`, not from Ray.
    served = (ROOT / "serving/telemetry.py").read_text()
    names |= set(re.findall(r'"(gestray_[a-z0-9_]+)"', served))
    names |= set(SERIES.findall(installed("ray", "dashboard/modules/metrics/dashboards")))
    reporter = installed("ray", "dashboard/modules/reporter")
    names |= COMPILED | {
        f"ray_{name}" for name in re.findall(r'"(cluster_[a-z_]+)": Gauge', reporter)
    }
    vllm = installed("vllm", "v1/metrics")
    names |= {f"ray_vllm_{name}" for name in re.findall(r'"vllm:([a-z0-9_]+)"', vllm)}
    return names


def test_every_metric_that_is_asked_for_is_exported() -> None:
    known = known_metrics()
    unknown = {
        (where, name)
        for where, query in queries()
        for name in SERIES.findall(query)
        if name not in known and re.sub(r"_(total|bucket|sum|count)$", "", name) not in known
    }
    assert unknown == set()


def test_our_metrics_are_all_shown_somewhere() -> None:
    shown = {name for _, query in queries() for name in SERIES.findall(query)}
    shown |= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown}
    from gestray.training.on_ray import LOSS, METRICS
    from jobs.telemetry import COUNTERS, GAUGES

    ours = {*GAUGES, *COUNTERS, LOSS, *(name for name, _ in METRICS.values())}
    assert {f"ray_{name}" for name in ours} - shown == set()


def test_figures_of_the_training_log_are_all_told() -> None:
    from gestray.training.loop import FIGURES
    from gestray.training.on_ray import METRICS

    assert set(METRICS) == FIGURES


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_those_that_are_generated(name: str) -> None:
    assert (FOLDER / "dashboards" / f"{name}.json").read_text() == text(name)


def test_every_query_is_promql(tmp_path) -> None:
    listed = [
        {"record": f"query:{number}", "expr": re.sub(r"\$__rate_interval", "5m", query)}
        for number, (_, query) in enumerate(queries())
        if not query.startswith("label_values(")
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": listed}]}))
    run("promtool", "check", "rules", file)


def test_rules_and_scrape_configs_are_valid(tmp_path) -> None:
    run("promtool", "check", "rules", ALERTS)
    run("promtool", "check", "config", FOLDER / "prometheus.yml")
    # Debian's Prometheus is built without Kubernetes: what finds the pods is left out for it.
    tree = yaml.safe_load((FOLDER / "prometheus.kubernetes.yml").read_text())
    [job] = tree["scrape_configs"]
    assert job.pop("kubernetes_sd_configs")[0]["role"] == "pod"
    collector = yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())
    tree["scrape_configs"] += [
        each | {"job_name": "collected"}
        for each in collector["receivers"]["prometheus"]["config"]["scrape_configs"]
    ]
    tree["rule_files"] = [str(ALERTS)]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(tree))
    run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_the_collector_s_pipelines_are_of_what_is_configured() -> None:
    tree = yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())
    for name, pipeline in tree["service"]["pipelines"].items():
        for kind, parts in pipeline.items():
            assert set(parts) <= set(tree[kind]), f"{name}: {kind}"
    assert "127.0.0.1" in tree["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]


def test_every_alert_fires_on_its_fault() -> None:
    tested = [test["name"] for test in yaml.safe_load(TESTS.read_text())["tests"]]
    assert sorted(tested) == sorted(rule["alert"] for rule in rules())
    run("promtool", "test", "rules", TESTS)


def test_every_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"] and len(rule["annotations"]["action"]) > 30


DRIVER = """
import sys, time
import ray
from jobs import telemetry

ray.init(logging_level="ERROR", log_to_driver=False)
print("ready", flush=True)
for number in range(200):
    telemetry.gauge("gestray_progress_done", number, what="ingest")
    telemetry.gauge("gestray_progress_total", 200, what="ingest")
    telemetry.count("gestray_ingest_takes", {"stored": 3, "quarantined": 1 if number > 5 else 0})
    time.sleep(1)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, query: str) -> list[dict[str, Any]]:
    given = urllib.parse.urlencode({"query": query})
    url = f"http://127.0.0.1:{port}/api/v1/query?{given}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def wait_for(port: int, query: str, seconds: float) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := ask(port, query):
                return found
        except OSError:
            pass
        time.sleep(1)
    pytest.fail(f"{query}: nothing after {seconds} s")


def quick_rules() -> dict[str, Any]:
    """The alerts as they are, but for how long a fault must last."""
    tree = yaml.safe_load(ALERTS.read_text())
    for group in tree["groups"]:
        for rule in group["rules"]:
            rule["for"] = "2s"
    return tree


@pytest.mark.ray
@pytest.mark.slow
def test_a_real_prometheus_sees_real_nodes_and_their_faults(tmp_path) -> None:
    from cluster.local import LocalCluster, parse_node

    server = shutil.which("prometheus")
    if server is None:
        pytest.skip("no prometheus: `apt-get install prometheus`")
    with LocalCluster([parse_node("head"), parse_node("cpu:CPU=2")], jobs=True) as cluster:
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump(quick_rules()))
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        [job] = config["scrape_configs"]
        listed = cluster.folder / "ray" / "prom_metrics_service_discovery.json"
        job["file_sd_configs"] = [{"files": [str(listed)], "refresh_interval": "1s"}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        options = [f"--config.file={tmp_path / 'prometheus.yml'}"]
        options += [f"--storage.tsdb.path={tmp_path / 'data'}"]
        options += [f"--web.listen-address=127.0.0.1:{port}"]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        watching = subprocess.Popen([server, *options], stderr=subprocess.DEVNULL)
        working = subprocess.Popen(
            [sys.executable, "-c", DRIVER], env=kept | cluster.environment, stdout=subprocess.PIPE
        )
        try:
            # Two nodes, the head's autoscaler and its dashboard.
            wait_for(port, 'count(up{job="ray"} == 1) == 4', 60)
            # Ray's own, under the names that dashboards and alerts use.
            for name in ("ray_node_mem_used", "ray_node_mem_total", "ray_node_disk_free"):
                assert len(wait_for(port, name, 60)) == 2, name
            [done] = wait_for(port, 'ray_gestray_progress_done{what="ingest"} > 1', 60)
            assert done["metric"]["what"] == "ingest"
            firing = 'ALERTS{alertname="%s",alertstate="firing"}'
            assert ask(port, firing % "RayNodeLost") == []
            # One take in four is damaged from the sixth second on.
            wait_for(port, firing % "ManyTakesQuarantined", 90)
            cluster.lose("cpu")
            wait_for(port, firing % "RayNodeLost", 90)
        finally:
            for process in (working, watching):
                process.kill()
                process.wait()
