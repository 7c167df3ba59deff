"""`gestray doctor`: every ailment is named with its remedy, and a healthy cluster is healthy."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest

from gestray.store import Folder
from jobs.doctor import Finding, diagnose, is_healthy
from jobs.probes import NodeProbe, Port, StoreProbe, probe_ports, probe_store, versions

HERE = {"python": "3.11.13", "ray": "2.60.0", "torch": "2.13.0+cpu"}
CPU_NODE = NodeProbe(
    node="cpu",
    versions=HERE,
    resources={"CPU": 8.0, "object_store_memory": 2e9},
    shm_bytes=4_000_000_000,
    token_mode=True,
    store=StoreProbe(0.01, 80.0, 120.0),
    clock_s=0.002,
    clock_error_s=0.001,
    models={"minilm": ""},
)
GPU_NODE = replace(
    CPU_NODE,
    node="gpu",
    versions=HERE | {"torch": "2.13.0+cu130"},
    resources={"CPU": 8.0, "GPU": 2.0, "object_store_memory": 2e9},
    cuda={"gpus": 2, "cuda": "13.0", "nccl": True},
)


def faults(*probes: NodeProbe, token_mode: bool = True) -> list[Finding]:
    return [f for f in diagnose(probes, HERE, token_mode) if f.status == "fault"]


def test_a_healthy_cluster_of_two_builds_of_torch_has_nothing_to_fix() -> None:
    findings = diagnose([CPU_NODE, GPU_NODE], HERE, token_mode=True)
    assert is_healthy(findings)
    assert {finding.status for finding in findings} == {"ok"}
    assert not any(finding.fix for finding in findings)
    assert {finding.check for finding in findings if finding.node == "gpu"} == {
        "shared memory",
        "clock",
        "ports",
        "GPUs",
        "NCCL",
        "store",
        "model minilm",
    }


@pytest.mark.parametrize(
    ("change", "check", "found", "fix"),
    [
        ({"versions": HERE | {"ray": "2.59.0"}}, "versions", "ray 2.59.0 (here 2.60.0)", "image"),
        ({"versions": {"python": "3.11.13", "ray": "2.60.0"}}, "versions", "absent", "image"),
        ({"token_mode": False}, "token mode", "off on gpu", "RAY_AUTH_MODE=token"),
        ({"clock_s": -12.0, "clock_error_s": 0.1}, "clock", "-12.000 s", "chrony"),
        ({"shm_bytes": 64_000_000}, "shared memory", "0.1 GB", "--shm-size"),
        (
            {"unreachable": ("raylet of cpu (10.0.0.1:40001): timed out",)},
            "ports",
            "raylet of cpu",
            "reach each other on all ports",
        ),
        ({"cuda": {"gpus": 2, "cuda": "13.0", "nccl": False}}, "NCCL", "not in torch", "CUDA"),
        ({"cuda": {"gpus": 1, "cuda": "13.0", "nccl": True}}, "GPUs", "1 seen", "nvidia-smi"),
        ({"cuda": {"gpus": 0, "cuda": None, "nccl": True}}, "GPUs", "0 seen", "target cuda"),
        ({"store": StoreProbe(failed="delete", error="ACCESS_DENIED")}, "store", "ACCESS", "right"),
        (
            {"models": {"minilm": "not installed"}},
            "model minilm",
            "not installed",
            "GESTRAY_MODELS",
        ),
    ],
)
def test_each_ailment_is_one_fault_with_its_remedy(
    change: dict[str, Any], check: str, found: str, fix: str
) -> None:
    [fault] = faults(CPU_NODE, replace(GPU_NODE, **change))
    assert fault.check == check
    assert fault.node in ("gpu", "all")
    assert found in fault.found and fix in fault.fix


def test_a_process_without_the_token_mode_is_a_fault() -> None:
    [fault] = faults(CPU_NODE, token_mode=False)
    assert "this machine" in fault.found


def test_too_few_cpus_to_train() -> None:
    [fault] = faults(replace(CPU_NODE, resources={"CPU": 1.0, "object_store_memory": 2e9}))
    assert fault.check == "resources" and "1 CPUs" in fault.found


def test_a_clock_is_not_blamed_for_a_slow_network() -> None:
    assert faults(replace(CPU_NODE, clock_s=6.0, clock_error_s=2.0)) == []


def test_what_only_slows_down_is_a_warning() -> None:
    slow = replace(CPU_NODE, shm_bytes=64_000_000, store=StoreProbe(2.0, 1.0, 1.0))
    findings = diagnose([slow], HERE, token_mode=True)
    assert is_healthy(findings)
    assert [f.check for f in findings if f.status == "warning"] == ["shared memory", "store"]


def test_a_closed_port_is_named_and_an_open_one_is_not() -> None:
    with socket.socket() as listening, socket.socket() as bound:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        bound.bind(("127.0.0.1", 0))  # nobody listens
        ports = [
            Port("far", what, "127.0.0.1", end.getsockname()[1])
            for what, end in (("raylet", listening), ("object manager", bound))
        ]
        [closed] = probe_ports(ports)
    assert closed.startswith("object manager of far (127.0.0.1:") and "refused" in closed


def test_a_folder_that_this_node_does_not_share(tmp_path) -> None:
    probe = probe_store(Folder(str(tmp_path)), "written-elsewhere.txt")
    assert probe.failed == "get" and "written-elsewhere.txt" in probe.error


@pytest.mark.s3
def test_a_wrong_secret_is_found_before_a_job_is(s3, monkeypatch) -> None:
    for name, value in (s3 | {"AWS_SECRET_ACCESS_KEY": "wrong"}).items():
        monkeypatch.setenv(name, value)
    probe = probe_store(Folder("s3://gestray/doctor"), "marker.txt")
    assert probe.failed == "get" and probe.error


@pytest.mark.ray
@pytest.mark.s3
def test_the_session_s_cluster_and_object_store_are_healthy(start) -> None:
    process = start("doctor", "--store", "s3://gestray/doctor", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    report = json.loads(out)
    assert report["healthy"]
    findings = {(f["check"], f["node"]): f for f in report["findings"]}
    checks = {check for check, _ in findings}
    assert checks == {
        "resources", "token mode", "versions", "shared memory", "clock", "ports", "store",
        "model minilm",
    }  # fmt: skip
    assert versions()["ray"] in findings["versions", "all"]["found"]
    # Nothing is left behind: neither the marker nor what was put.
    assert Folder("s3://gestray/doctor").list(recursive=True) == []


@pytest.mark.ray
@pytest.mark.s3
def test_what_is_missing_is_said_and_exits_with_one(ray_cluster, gestray, tmp_path) -> None:
    outcome = gestray("doctor", "--store", "s3://gestray/doctor", "--model", tmp_path, "--json")
    assert outcome.code == 1 and not outcome.json["healthy"]
    [fault] = [f for f in outcome.json["findings"] if f["status"] == "fault"]
    assert fault["check"] == f"model {tmp_path}" and "no config.json" in fault["found"]
    assert "GESTRAY_MODELS" in fault["fix"]


@pytest.mark.s3
def test_a_store_that_refuses_this_machine_is_the_first_thing_said(
    s3, gestray, monkeypatch
) -> None:
    for name, value in (s3 | {"AWS_SECRET_ACCESS_KEY": "wrong"}).items():
        monkeypatch.setenv(name, value)
    outcome = gestray("doctor", "--store", "s3://gestray/doctor")
    assert outcome.code == 1
    assert "s3://gestray/doctor: this machine cannot write" in outcome.err
