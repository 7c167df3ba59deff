"""`gestray serve`: the application on a Ray cluster of this command's own, on this machine."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Callable

from gestray.errors import UserError
from serving.config import ServingConfig


def cause(told: str) -> str:
    """The sentence for the user in what Serve tells of a replica that does not start."""
    of_users = re.findall(r"(?:gestray\.errors\.)?(?:UserError|BadInput): (.+)", told)
    if of_users:
        return of_users[-1]
    last = [line for line in told.strip().splitlines() if line.strip()][-1].strip()
    return f"the replicas do not start: {last}; more is in /tmp/ray/session_latest/logs/serve"


def check_free(config: ServingConfig) -> None:
    """Refuse ports that cannot be had, rather than let replicas try in vain.

    Raises:
        UserError: names the port, and why.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    for name, port in (("port", config.port), ("grpc_port", config.grpc_port)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.host, port or 0))
            except OSError as error:
                raise UserError(
                    f"{name} {port} of {config.host}: {error.strerror}; give another"
                ) from None


def run(config: ServingConfig, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; Ray must be running.

    Args:
        ready: told the address as soon as the models answer.
    """
    from ray import serve
    from ray.serve.config import HTTPOptions, ProxyLocation

    from serving.app import NAME, application

    app = application(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # How long a request may take is the gate's to say: for Serve a stream is one as well.
    options = HTTPOptions(host=config.host, port=config.port)
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options)
    try:
        try:
            serve.run(app, name=NAME, route_prefix="/", blocking=False)
        except RuntimeError as error:
            raise UserError(cause(str(error))) from None
        ready(f"http://{config.host}:{config.port}/")
        stop.wait()
    finally:
        serve.shutdown()
