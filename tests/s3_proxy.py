"""A proxy before an S3 server that fails now and then, as real ones do.

It stands between the clients and the server and, for a share of the requests,
answers 500 or 503, cuts the connection (before, in the middle of, or after the
server has acted), or lets the answer trickle. What it does is seeded and
counted, so that a test can tell that faults did occur.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

FAULTS = (
    "error 500",
    "error 503",
    "reset before",
    "reset in the middle",
    "reset after",
    "slow answer",
)

# Between two neighbours on the way only; the server's answer to `Expect` is ours to give.
_HOP = {"transfer-encoding", "connection", "keep-alive", "expect"}


@dataclass
class FaultyS3:
    """A running proxy.

    Attributes:
        url: its address, for ``AWS_ENDPOINT_URL``.
        rate: share of requests that fail; may be changed at any time.
        faults: kinds it draws from.
        stall_s: how long a slow answer pauses in its middle.
        down_until: until this time (`time.monotonic`) every connection is cut.
        denied: ends of the paths that may not be read.
        seen: number of requests by what became of them.
    """

    server: str
    rate: float
    faults: tuple[str, ...] = FAULTS
    stall_s: float = 1.0
    down_until: float = 0.0
    denied: tuple[str, ...] = ()
    url: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def draw(self) -> str | None:
        if time.monotonic() < self.down_until:
            self.seen["down"] += 1
            return "reset before"
        fault = self.random.choice(self.faults) if self.random.random() < self.rate else None
        self.seen[fault or "passed"] += 1
        return fault

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(self.denied or ("\0",)):
            return _error(403, "AccessDenied")
        fault = self.draw()
        if fault in ("error 500", "error 503"):
            status, code = (500, "InternalError") if fault == "error 500" else (503, "SlowDown")
            await request.read()
            return _error(status, code)
        if fault == "reset before":
            return self._cut(request)
        status, headers, body_bytes = await self._forward(request)
        if fault == "reset after":
            return self._cut(request)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if request.method != "HEAD":
            half = len(body_bytes) // 2
            await response.write(body_bytes[:half])
            if fault == "reset in the middle":
                return self._cut(request, response)
            if fault == "slow answer":
                await asyncio.sleep(self.stall_s)
            await response.write(body_bytes[half:])
        await response.write_eof()
        return response

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        body = await request.read()
        sent = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        async with self.session.request(
            request.method,
            URL(self.server + request.raw_path, encoded=True),
            headers=sent,  # Host as well: the client has signed it
            data=body,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            allow_redirects=False,
        ) as answer:
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            return answer.status, headers, await answer.read()

    def _cut(
        self, request: web.Request, response: web.StreamResponse | None = None
    ) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return response or web.Response()

    async def open(self) -> None:
        self.session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        await self.runner.cleanup()
        await self.session.close()


def _error(status: int, code: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


@contextmanager
def faulty_s3(server: str, rate: float = 0.05, **options: object) -> Iterator[FaultyS3]:
    """A proxy before the S3 server at `server`, for the time of the block."""
    proxy = FaultyS3(server, rate, **options)  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="s3-proxy", daemon=True)
    thread.start()

    def wait(make: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(make(), loop).result(30)  # type: ignore[arg-type]

    wait(proxy.open)
    try:
        yield proxy
    finally:
        wait(proxy.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def gestray_through(endpoint: str, cluster: str, *arguments: object) -> dict[str, Any]:
    """The command line as a process whose Ray workers, too, reach object storage at `endpoint`.

    Returns:
        What it prints with `--json`.
    """
    environment = {"AWS_ENDPOINT_URL": endpoint}
    job = json.dumps({"runtime_env": {"env_vars": environment}})
    ran = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *map(str, arguments), "--json"],
        env=os.environ | environment | {"RAY_ADDRESS": cluster, "RAY_JOB_CONFIG_JSON_ENV_VAR": job},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
