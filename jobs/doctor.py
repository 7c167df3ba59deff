"""`gestray doctor`: is this cluster fit for a job, and if not, what to change.

One actor a node looks around there: versions, memory, clock, GPUs, models, and the store as
that node reaches it. `diagnose` compares what they found, with each other and with this
process; it is a pure function, so that every ailment can be tested without having it.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from gestray.errors import UserError
from gestray.store import Folder
from jobs.probes import (
    PINGS,
    NodeProbe,
    Port,
    ports_of,
    probe_cuda,
    probe_model,
    probe_ports,
    probe_store,
    versions,
)

#: An object store refuses signatures that are 15 minutes off; logs are unreadable long before.
CLOCK_S = 5.0
LATENCY_S = 0.5
ANSWER_S = 180.0

Status = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` says what to do, where there is something to do."""

    check: str
    node: str
    status: Status
    found: str
    fix: str = ""


class Examiner:
    """The actor that looks around on one node."""

    def now(self) -> float:
        return time.time()

    def look(
        self,
        store: Folder,
        marker: str,
        models: Sequence[str],
        has_gpus: bool,
        ports: Sequence[Port],
    ) -> dict[str, Any]:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        shm = Path("/dev/shm")
        return {
            "versions": versions(),
            "shm_bytes": shutil.disk_usage(shm).total if shm.is_dir() else 0,
            "token_mode": is_token_auth_enabled(),
            "store": probe_store(store, marker),
            "cuda": probe_cuda() if has_gpus else {},
            "models": {name: probe_model(name) for name in models},
            "unreachable": probe_ports(ports),
        }


def examine(store: Folder, models: Sequence[str]) -> tuple[list[NodeProbe], list[Finding]]:
    """Look at every node of the cluster; the findings are of nodes that did not answer.

    Raises:
        UserError: this process itself cannot write to the store.
    """
    marker = f"doctor-{uuid.uuid4().hex[:12]}.txt"
    try:
        store.write_bytes(b"written by gestray doctor", marker)
    except OSError as error:
        raise UserError(
            f"store {store.uri}: this machine cannot write to it: {str(error).splitlines()[0]}. "
            "Check the bucket, its rights, AWS_ENDPOINT_URL and the credentials"
        ) from None
    try:
        return _ask_nodes(store, marker, models)
    finally:
        store.filesystem.delete_file(store.path(marker))


def _ask_nodes(
    store: Folder, marker: str, models: Sequence[str]
) -> tuple[list[NodeProbe], list[Finding]]:
    from jobs.cluster import connect

    connect()  # before Ray is imported: it reads its environment then
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    examiners: list[tuple[dict[str, Any], Any]] = []
    alive = [node for node in ray.nodes() if node["Alive"]]
    for node in alive:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": strategy}
        examiners.append((node, ray.remote(Examiner).options(**options).remote()))
    looks = [
        examiner.look.remote(
            store,
            marker,
            models,
            node["Resources"].get("GPU", 0) > 0,
            [port for other in alive if other is not node for port in ports_of(other)],
        )
        for node, examiner in examiners
    ]
    probes, silent = [], []
    for (node, examiner), look in zip(examiners, looks, strict=True):
        name = node["NodeName"]
        try:
            found = ray.get(look, timeout=ANSWER_S)
            offset, error_s = _clock(examiner)
        except ray.exceptions.RayError as error:
            said = f"none: {str(error).strip().splitlines()[-1][:200]}"
            fix = "see the node's logs; drain it, or give it gestray and its packages"
            silent.append(Finding("answer", name, "fault", said, fix))
            continue
        resources = {k: float(v) for k, v in node["Resources"].items()}
        probes.append(
            NodeProbe(name, resources=resources, clock_s=offset, clock_error_s=error_s, **found)
        )
    return probes, silent


def _clock(examiner: Any) -> tuple[float, float]:
    """How far a node's clock is ahead, and how well that is known, by the fastest answer."""
    import ray

    best = (0.0, float("inf"))
    for _ in range(PINGS):
        before = time.time()
        there = ray.get(examiner.now.remote(), timeout=ANSWER_S)
        after = time.time()
        if (after - before) / 2 < best[1]:
            best = (there - (before + after) / 2, (after - before) / 2)
    return best


def diagnose(
    probes: Sequence[NodeProbe], here: Mapping[str, str], token_mode: bool
) -> list[Finding]:
    """What is right and wrong with a cluster.

    Args:
        probes: what was found on each node.
        here: `versions` of this process, which the nodes must match.
        token_mode: whether this process authenticates itself.
    """
    findings = list(_cluster_wide(probes, here, token_mode))
    for probe in probes:
        findings += [_memory(probe), _clock_of(probe), _ports(probe)]
        findings += [*_gpus(probe), *_store(probe)]
        for model, wrong in probe.models.items():
            fix = "fetch or mount it on every node that may run it, or set GESTRAY_MODELS there"
            if wrong:
                findings.append(Finding(f"model {model}", probe.node, "fault", wrong, fix))
            else:
                findings.append(Finding(f"model {model}", probe.node, "ok", "there"))
    return findings


def _cluster_wide(
    probes: Sequence[NodeProbe], here: Mapping[str, str], token_mode: bool
) -> Iterator[Finding]:
    cpus = sum(probe.resources.get("CPU", 0) for probe in probes)
    gpus = sum(probe.resources.get("GPU", 0) for probe in probes)
    found = f"{len(probes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs"
    if cpus < 2:
        fix = "a trainer and its reader need 2 CPUs: add workers, or raise num-cpus of a worker"
        yield Finding("resources", "all", "fault", found, fix)
    else:
        yield Finding("resources", "all", "ok", found)
    open_nodes = [probe.node for probe in probes if not probe.token_mode]
    open_nodes += [] if token_mode else ["this machine"]
    if open_nodes:
        fix = "set RAY_AUTH_MODE=token and the token on every node and here, then restart Ray"
        found = f"off on {', '.join(open_nodes)}: whoever reaches Ray's ports runs code"
        yield Finding("token mode", "all", "fault", found, fix)
    else:
        yield Finding("token mode", "all", "ok", "on everywhere")
    differing = False
    for probe in probes:
        # Builds of one release (torch for CPUs and for CUDA) work together.
        other = [
            f"{name} {probe.versions.get(name, 'absent')} (here {version})"
            for name, version in here.items()
            if probe.versions.get(name, "absent").split("+")[0] != version.split("+")[0]
        ]
        if other:
            differing = True
            fix = "run one image, or install the same versions, on all nodes and here"
            yield Finding("versions", probe.node, "fault", ", ".join(other), fix)
    if not differing:
        found = ", ".join(f"{name} {version}" for name, version in here.items())
        yield Finding("versions", "all", "ok", found)


def _memory(probe: NodeProbe) -> Finding:
    store = probe.resources.get("object_store_memory", 0.0)
    found = f"/dev/shm {probe.shm_bytes / 1e9:.1f} GB, object store {store / 1e9:.1f} GB"
    if probe.shm_bytes >= store:
        return Finding("shared memory", probe.node, "ok", found)
    fix = (
        "give containers more (--shm-size, or an emptyDir of medium Memory at /dev/shm): Ray "
        "keeps objects on disk otherwise, and NCCL cannot start"
    )
    status: Status = "fault" if probe.resources.get("GPU") else "warning"
    return Finding("shared memory", probe.node, status, found, fix)


def _clock_of(probe: NodeProbe) -> Finding:
    found = f"{probe.clock_s:+.3f} s ± {probe.clock_error_s:.3f} s from here"
    if abs(probe.clock_s) - probe.clock_error_s <= CLOCK_S:
        return Finding("clock", probe.node, "ok", found)
    fix = "start chrony or systemd-timesyncd there: signatures of the object store carry the time"
    return Finding("clock", probe.node, "fault", found, fix)


def _ports(probe: NodeProbe) -> Finding:
    if not probe.unreachable:
        return Finding("ports", probe.node, "ok", "reaches every other node")
    fix = (
        "let the nodes reach each other on all ports (security group, NetworkPolicy, firewall): "
        "besides these, workers listen on ports that Ray picks"
    )
    return Finding("ports", probe.node, "fault", "; ".join(probe.unreachable), fix)


def _gpus(probe: NodeProbe) -> Iterator[Finding]:
    declared = int(probe.resources.get("GPU", 0))
    if not declared:
        return
    cuda = probe.cuda
    found = f"{cuda['gpus']} seen by torch of {declared} declared, CUDA {cuda['cuda']}"
    if cuda.get("error"):
        fix = "torch does not start there: reinstall the pinned version"
        yield Finding("GPUs", probe.node, "fault", cuda["error"], fix)
    elif cuda["cuda"] is None:
        fix = "torch there is a CPU build: use the image's target cuda"
        yield Finding("GPUs", probe.node, "fault", found, fix)
    elif cuda["gpus"] < declared:
        fix = "check the driver (nvidia-smi) and the container runtime, or declare fewer GPUs"
        yield Finding("GPUs", probe.node, "fault", found, fix)
    else:
        yield Finding("GPUs", probe.node, "ok", found)
    if cuda["nccl"]:
        yield Finding("NCCL", probe.node, "ok", "in torch")
    else:
        fix = "install a CUDA build of torch: GPUs cannot talk to each other without NCCL"
        yield Finding("NCCL", probe.node, "fault", "not in torch", fix)


def _store(probe: NodeProbe) -> Iterator[Finding]:
    store = probe.store
    if store.failed:
        fix = (
            f"give the node the right to {store.failed} there: bucket and policy, "
            "AWS_ENDPOINT_URL, credentials; a folder must be one that all nodes share"
        )
        found = f"cannot {store.failed}: {store.error}"
        yield Finding("store", probe.node, "fault", found, fix)
        return
    rates = f"put {store.write_mb_s:.0f} MB/s, get {store.read_mb_s:.0f} MB/s"
    found = f"{store.latency_s * 1e3:.0f} ms a small put, {rates}"
    if store.latency_s > LATENCY_S:
        fix = "use a bucket in the region of the nodes, or an endpoint nearer to them"
        yield Finding("store", probe.node, "warning", found, fix)
    else:
        yield Finding("store", probe.node, "ok", found)


def examine_and_diagnose(store: Folder, models: Sequence[str]) -> list[Finding]:
    """The whole of `gestray doctor`."""
    probes, silent = examine(store, models)
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return silent + diagnose(probes, versions(), is_token_auth_enabled())


def report_table(findings: Sequence[Finding]) -> Table:
    """Findings as a table, what is wrong with its remedy below it."""
    colours = {"ok": "green", "warning": "yellow", "fault": "red"}
    table = Table(title="cluster", title_justify="left", box=None, pad_edge=False)
    for column in ("", "check", "node", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        colour = colours[finding.status]
        cells = map(escape, (finding.check, finding.node, finding.found))
        table.add_row(f"[{colour}]{finding.status}[/{colour}]", *cells)
        if finding.fix:
            table.add_row("", "", "", f"[bold]→ {escape(finding.fix)}[/bold]")
    return table


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings for machines; `healthy` is what the exit status says."""
    return {"healthy": is_healthy(findings), "findings": [asdict(f) for f in findings]}


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether no finding is a fault."""
    return all(finding.status != "fault" for finding in findings)
