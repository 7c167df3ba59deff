"""What `gestray doctor` looks at on a node: versions, the store, models, GPUs, ports.

Each probe says what is there and judges nothing; `jobs.doctor` does.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gestray.errors import UserError
from gestray.store import Folder

#: Packages that must be the same everywhere: pickles and tables travel between nodes.
PACKAGES = ("gestray", "ray", "torch", "pyarrow", "transformers")
#: Several parts of a multipart upload (pyarrow sends parts of about 10 MB).
BULK_BYTES = 32 << 20
CONNECT_S = 3.0
PINGS = 5
#: Asked of a process of its own: Ray hides GPUs from an actor that holds none.
_CUDA = """
import json, torch
gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
nccl = torch.distributed.is_nccl_available()
print(json.dumps({"gpus": gpus, "cuda": torch.version.cuda, "nccl": nccl}))
"""


@dataclass(frozen=True)
class StoreProbe:
    """The store as one node sees it. `failed` names the first right that is missing."""

    latency_s: float = 0.0
    write_mb_s: float = 0.0
    read_mb_s: float = 0.0
    failed: str = ""
    error: str = ""


@dataclass(frozen=True)
class NodeProbe:
    """What was found on one node.

    `clock_s` is how far its clock is ahead of this process's, known to within
    `clock_error_s`; `models` says for each model what is wrong with it, or nothing;
    `unreachable` are ports of other nodes that it cannot connect to, in words.
    """

    node: str
    versions: Mapping[str, str]
    resources: Mapping[str, float]
    shm_bytes: int
    token_mode: bool
    store: StoreProbe
    clock_s: float = 0.0
    clock_error_s: float = 0.0
    cuda: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    unreachable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Port:
    """A port of a node that others must reach."""

    node: str
    what: str
    address: str
    number: int


def versions() -> dict[str, str]:
    """Python and the packages that must agree, as installed here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def probe_store(store: Folder, marker: str) -> StoreProbe:
    """Use every right a job needs, in a folder of its own that is removed again.

    Not through `Folder`'s patience: what fails here should be seen, not waited for.

    Args:
        store: where artifacts will lie.
        marker: a file that this command has written there.
    """
    import pyarrow.fs as pafs

    folder = store.child(f"doctor-{uuid.uuid4().hex[:12]}")
    data = os.urandom(1 << 20) * (BULK_BYTES >> 20)
    step = "reach"
    try:
        files = folder.filesystem
        step = "get"
        with files.open_input_file(store.path(marker)) as stream:
            stream.read()
        if folder.is_local:
            files.create_dir(folder.path())
        step, times = "put", []
        for number in range(PINGS):
            start = time.perf_counter()
            with files.open_output_stream(folder.path(str(number))) as stream:
                stream.write(b"doctor")
            times.append(time.perf_counter() - start)
        step, start = "put in several parts", time.perf_counter()
        with files.open_output_stream(folder.path("bulk")) as stream:
            stream.write(data)
        written = time.perf_counter() - start
        step, start = "get", time.perf_counter()
        with files.open_input_file(folder.path("bulk")) as stream:
            whole = stream.read() == data
        read = time.perf_counter() - start
        if not whole:
            return StoreProbe(failed="get", error="other bytes came back than were put")
        step = "list"
        if len(files.get_file_info(pafs.FileSelector(folder.path()))) != PINGS + 1:
            return StoreProbe(failed="list", error="objects just put are not listed")
        step = "delete"
        files.delete_dir(folder.path())
    except (OSError, UserError) as error:
        return StoreProbe(failed=step, error=str(error).splitlines()[0][:300])
    size = BULK_BYTES / 1e6
    return StoreProbe(statistics.median(times), size / written, size / read)


def probe_model(name: str) -> str:
    """What keeps a model from being loaded here; empty if nothing does."""
    from gestray.models import resolve_model

    try:
        resolved = resolve_model(name)
    except UserError as error:
        return str(error)
    if Path(resolved).is_dir():
        whole = (Path(resolved) / "config.json").is_file()
        return "" if whole else f"{resolved} holds no config.json"
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        hf_hub_download(resolved, "config.json", etag_timeout=5)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        return f"no such folder, and not from a model hub: {str(error).splitlines()[0][:200]}"
    return ""


def probe_ports(ports: Sequence[Port]) -> tuple[str, ...]:
    """Those that nothing answers at, or that something on the way closes."""
    closed = []
    for port in ports:
        try:
            socket.create_connection((port.address, port.number), CONNECT_S).close()
        except OSError as error:
            why = error.strerror or str(error)
            closed.append(f"{port.what} of {port.node} ({port.address}:{port.number}): {why}")
    return tuple(closed)


def ports_of(node: Mapping[str, Any]) -> list[Port]:
    """What other nodes of a cluster connect to at a node, besides its workers' many ports."""
    named = {"NodeManagerPort": "raylet", "ObjectManagerPort": "object manager"}
    address = node["NodeManagerAddress"]
    return [Port(node["NodeName"], what, address, node[key]) for key, what in named.items()]


def probe_cuda() -> dict[str, Any]:
    """GPUs that torch sees on this node, the CUDA it is built for, and whether NCCL is in it."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", _CUDA], env=environment, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        return {"gpus": 0, "cuda": None, "nccl": False, "error": done.stderr.strip()[-200:]}
    return json.loads(done.stdout.splitlines()[-1])
