"""A Ray cluster of several nodes on this machine, for tests and for trying things out.

    python -m cluster.local head cpu:CPU=4 train:CPU=4,train=1

Each node is a `ray start --block` process with the resources it declares, whatever the
machine has; the first is the head. The cluster is real where it matters: nodes join over the
network, have object stores of their own, and can be lost one by one. The token is written to
a file that only its owner can read, and every process is told the mode explicitly: `ray start
--head` turns tokens on by itself, `ray start --address` does not.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from gestray.errors import UserError

START_SECONDS = 60
STOP_SECONDS = 5
OBJECT_STORE_BYTES = 200_000_000

#: What a node of a known name declares when the command says nothing else. The head runs the
#: cluster's own services and drivers, as on Kubernetes, and no tasks.
RESOURCES: dict[str, dict[str, float]] = {
    "head": {"CPU": 0},
    "cpu": {"CPU": 8},
    "train": {"CPU": 8, "train": 1},
    "vllm": {"CPU": 16, "vllm": 1},
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,62}")


@dataclass(frozen=True)
class NodeSpec:
    """A node's name and the resources it declares, such as ``CPU``, ``GPU`` or a name of yours."""

    name: str
    resources: Mapping[str, float] = field(default_factory=dict)


def parse_node(text: str) -> NodeSpec:
    """`NAME` or `NAME:RESOURCE=AMOUNT,…`.

    Raises:
        UserError: neither of these, or a name without resources that is not in `RESOURCES`.
    """
    name, colon, given = text.partition(":")
    if not _NAME.fullmatch(name):
        raise UserError(f"node {text!r}: expected NAME:CPU=4,train=1 with a lower-case name")
    if not colon:
        if name not in RESOURCES:
            raise UserError(
                f"node {name!r}: say what it declares, as in {name}:CPU=4, "
                f"or use one of {', '.join(RESOURCES)}"
            )
        return NodeSpec(name, RESOURCES[name])
    resources = {}
    for item in given.split(","):
        resource, _, amount = item.partition("=")
        try:
            resources[resource] = float(amount)
        except ValueError:
            resources[resource] = -1.0
        if not _RESOURCE.fullmatch(resource) or not 0 <= resources[resource] < 1e6:
            raise UserError(f"node {text!r}: found {item!r}, expected RESOURCE=AMOUNT, as in CPU=4")
    return NodeSpec(name, resources)


class LocalCluster:
    """Starts nodes, loses them, stops them; a context manager.

    Args:
        nodes: the head first; names must differ.
        jobs: start the head's job server, for `gestray submit`.
        redis: `HOST:PORT` of a Redis that keeps the head's tables, as on Kubernetes: what then
            runs on other nodes outlives the head (`restart_head`).
        asks_every_s: how often the head asks nodes whether they are there, as Ray does; one that
            has not answered five times is lost.

    Attributes:
        address: for `RAY_ADDRESS`.
        job_server: for `RAY_API_SERVER_ADDRESS`; None without one.
        token_file: mode 600, for `RAY_AUTH_TOKEN_PATH`.

    Raises:
        UserError: a node did not start; the message quotes its log.
    """

    def __init__(
        self,
        nodes: Sequence[NodeSpec],
        jobs: bool = False,
        redis: str | None = None,
        asks_every_s: float = 3.0,
    ) -> None:
        names = [node.name for node in nodes]
        if not nodes or len(set(names)) != len(names):
            raise UserError(f"nodes {', '.join(names) or '(none)'}: expected names that differ")
        # Short, and not in the folder of a test: Ray puts sockets below, whose paths may have
        # 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="gestray-"))
        self.token_file = self.folder / "token"
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        self.address = f"127.0.0.1:{_free_port()}"
        self.job_server = f"http://127.0.0.1:{_free_port()}" if jobs else None
        self._head, self._redis = nodes[0], redis
        self._settings = {"RAY_health_check_period_ms": f"{1000 * asks_every_s:.0f}"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._start(nodes[0], head=True)
            for node in nodes[1:]:
                self._start(node, head=False)
        except BaseException:
            self.stop()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to join: address, token mode and the token's file."""
        found = {"RAY_ADDRESS": self.address, **self._authentication}
        if self.job_server is not None:
            found["RAY_API_SERVER_ADDRESS"] = self.job_server
        return found

    @property
    def _authentication(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}

    @property
    def _storage(self) -> dict[str, str]:
        return {} if self._redis is None else {"RAY_REDIS_ADDRESS": self._redis}

    def _start(self, node: NodeSpec, head: bool) -> None:
        own = dict(node.resources)
        command = [_ray(), "start", "--block", f"--node-name={node.name}"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        command += [f"--num-cpus={own.pop('CPU', 0):g}", f"--num-gpus={own.pop('GPU', 0):g}"]
        command += [f"--resources={json.dumps(own)}", f"--labels=gestray-node={node.name}"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Ports are chosen by the system: the defaults are one set a machine, not one a node.
        command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        if head:
            command += ["--head", f"--port={self.address.split(':')[1]}"]
            command += [f"--ray-client-server-port={_free_port()}"]
            command += [f"--temp-dir={self.folder / 'ray'}"]
            command += self._dashboard()
        else:
            # The head's reads the logs of all nodes, which lie in one folder: another would tell
            # drivers everything twice, and as many again as there are nodes would keep a core busy.
            command += [f"--address={self.address}", "--include-log-monitor=false"]
        log = self.folder / f"{node.name}.log"
        with log.open("wb") as stream:
            self._processes[node.name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self._clean_environment() | self._storage | self._settings,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for us, who stop the nodes in order
            )
        deadline = time.monotonic() + START_SECONDS
        while b"Ray runtime started" not in log.read_bytes():
            if self._processes[node.name].poll() is not None or time.monotonic() > deadline:
                said = " / ".join(log.read_text(errors="replace").split("\n")[-8:])
                raise UserError(f"node {node.name} did not start: {said}")
            time.sleep(0.1)

    def _dashboard(self) -> list[str]:
        """Options of the head: the job server is a part of Ray's dashboard."""
        if self.job_server is None:
            return ["--include-dashboard=false"]
        port = self.job_server.rsplit(":", 1)[1]
        return [
            "--include-dashboard=true",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={port}",
        ]

    def add(self, node: NodeSpec) -> None:
        """Start one more node.

        Raises:
            UserError: there is one of this name, or it did not start.
        """
        if node.name in self._processes:
            raise UserError(f"node {node.name!r}: there is one of this name")
        self._start(node, head=False)

    def pid(self, name: str) -> int:
        """Of the process that all of the node's processes descend from."""
        return self._processes[name].pid

    def drain(self, name: str, deadline_s: int) -> None:
        """Tell the cluster that a node is about to be taken away, as a spot notice does."""
        command = [_ray(), "drain-node", f"--address={self.address}"]
        command += [f"--node-id={self._node_id(name)}", "--reason=DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message=drained", f"--deadline-remaining-seconds={deadline_s}"]
        subprocess.run(command, env=self._clean_environment(), check=True, capture_output=True)

    def _node_id(self, name: str) -> str:
        code = "import ray; ray.init(log_to_driver=False); print({n['NodeName']: n['NodeID'] for n "
        code += f"in ray.nodes() if n['Alive']}}[{name!r}])"
        environment = self._clean_environment() | self.environment
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return ran.stdout.splitlines()[-1]

    def _clean_environment(self) -> dict[str, str]:
        """This process's, without what it says of Ray, and with the cluster's token."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        return kept | self._authentication

    def lose(self, name: str) -> None:
        """Kill a node and all its processes at once, as when a spot instance is taken away."""
        import psutil

        process = self._processes.pop(name)
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait(STOP_SECONDS)

    def restart_head(self) -> None:
        """Start the head again, after it was lost, at the same address; needs `redis`.

        Raises:
            UserError: it did not start.
        """
        # Ray takes this file, beside nodes that wait for their head, for a head that runs.
        (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
        self._start(self._head, head=True)

    def failed(self) -> str | None:
        """Name of a node that ended by itself, if any."""
        return next((n for n, p in self._processes.items() if p.poll() is not None), None)

    def stop(self) -> None:
        """Stop all nodes, the head last, and remove the cluster's files."""
        head = self._processes.pop(self._head.name, None)
        for together in (list(self._processes.values()), [head] if head else []):
            for process in together:
                process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            for process in together:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()  # Ray's reaper ends what it started
                    process.wait()
        self._processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _ray() -> str:
    """Ray's own command: of this Python, whatever is on the path."""
    beside = Path(sys.executable).parent / "ray"
    return str(beside) if beside.exists() else "ray"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(
    nodes: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE...",
            help="NAME:RESOURCE=AMOUNT,…, the head first; head, cpu, train, vllm need no more.",
        ),
    ],
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Take jobs of `gestray submit` as well.")
    ] = False,
) -> None:
    """Start a cluster of several nodes on this machine and keep it until Ctrl-C.

    Prints on standard output what a shell needs to join. Examples:
    `python -m cluster.local head cpu train`; `python -m cluster.local head:CPU=2 big:CPU=8,GPU=1`.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with LocalCluster([parse_node(node) for node in nodes], jobs) as cluster:
        for name, value in cluster.environment.items():
            print(f"export {name}={value}", flush=True)
        print("running; Ctrl-C stops it", file=sys.stderr)
        while not ended.wait(1.0):
            if lost := cluster.failed():
                raise UserError(f"node {lost} ended by itself; the others were stopped")


def main() -> None:
    """Entry point: errors of the user are one message, without a traceback."""
    try:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command()(run)
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
