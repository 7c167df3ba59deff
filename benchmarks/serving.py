"""Retrieval over HTTP beside the bare model: how much of what a core can do is answered.

The comparison is of texts answered a second: `gestray serve` with one replica, asked by `wrk` over
16 connections, against a loop in one process that embeds and searches the same texts sixteen
at a time with the same model, both with one thread of torch. They run in alternation. Under `also`
stand what one request takes beyond the model's own time; what happens when 160 connections ask
without pause (who is accepted, how long that takes, and who is told 429); and the memory of
proxy and replica, from the beginning to the end.

    python benchmarks/serving.py --json --save                    # Serve's own proxy
    python benchmarks/serving.py --profile haproxy --json         # needs haproxy on the path
    python benchmarks/serving.py --minutes 30 --json              # memory over so long

`wrk` is in Debian. Without --store a small demo is made first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from side_by_side import Comparison, alternate, main

# Before this file's own folder, where `serving` would be this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gestray.store import Folder
from serving.config import ServingConfig
from serving.keys import make_key, write_keys
from serving.library import Model, choose, load_model

CONNECTIONS, CROWD = 16, 160
SECONDS = 8
HITS = 10

_HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
_SCRIPT = """
local texts, n = {{}}, 0
for line in io.lines("{texts}") do texts[#texts + 1] = line end
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {token}"
request = function()
  n = n + 1
  return wrk.format(nil, "/v1/retrieve", nil, texts[n % #texts + 1])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{{"requests": %d, "us": %d, "p50": %f, "p99": %f, "bad": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def small_store(work: Path) -> Folder:
    """What a demo makes in a minute or two: models of the real sizes that have hardly learnt."""
    few = [f"{stage}.loop.steps=4" for stage in ("tokenizer", "direct", "sma", "semges")]
    command = [sys.executable, "-m", "jobs.cli", "demo", "takes=24", "workers=1", *few]
    subprocess.run([*command, "--store", str(work), "--json"], check=True, stdout=sys.stderr)
    return Folder(str(work))


@contextmanager
def served(store: str, work: Path, haproxy: bool) -> Iterator[tuple[str, str]]:
    """Address and key of a server with one replica."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    key, token = make_key("benchmark", ("retrieve", "metrics"), 100_000_000)
    write_keys([key], work / "keys.json")
    command = [sys.executable, "-m", "jobs.cli", "serve", "--store", store, "--port", str(port)]
    environment = os.environ | (_HAPROXY if haproxy else {})
    server = subprocess.Popen(
        [*command, "--keys", str(work / "keys.json")], env=environment, stdout=sys.stderr
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server does not start")
            time.sleep(0.5)
        yield url, token
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


def wrk(url: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """What `wrk` found; all answers must have been whole."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    done = subprocess.run([*command, "-s", str(script), url], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"wrk: {done.stderr}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["bad"]:
        raise SystemExit(f"{found['bad']} of {found['requests']} requests failed:\n{done.stdout}")
    return found


def bare(model: Model, texts: list[str], batch: int, seconds: float) -> float:
    """Texts a second, so many at a time, in this process."""
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        asked = [texts[(done + n) % len(texts)] for n in range(batch)]
        model.gestures.search(model.embed_texts(asked), HITS)
        done += batch
    return done / took


async def crowd(url: str, token: str, bodies: list[str], seconds: float) -> dict[str, object]:
    """160 connections that ask again as soon as they are answered, and how each was."""
    target, found = httpx.URL(url), []
    over = time.monotonic() + seconds

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        while time.monotonic() < over:
            number += 1
            body = bodies[number % len(bodies)].encode()
            writer.write(
                f"POST /v1/retrieve HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            began = time.perf_counter()
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).lower()
            if b"transfer-encoding: chunked" in head:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            else:
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
            found.append((int(head.split(b" ")[1]), time.perf_counter() - began))
            if b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection(target.host, target.port)
        writer.close()

    asked = await asyncio.gather(*(ask(n * 7) for n in range(CROWD)), return_exceptions=True)
    accepted = [1000 * took for status, took in found if status == 200]
    counts = Counter(status for status, _ in found)
    return {
        "answers": {str(status): count for status, count in sorted(counts.items())},
        "failed_connections": sum(isinstance(each, BaseException) for each in asked),
        "accepted_a_s": len(accepted) / seconds,
        "accepted_p50_ms": statistics.median(accepted),
        "accepted_p99_ms": statistics.quantiles(accepted, n=100)[98],
    }


def memory() -> dict[str, float]:
    """Megabytes of the processes that answer: proxy and replicas."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["name", "cmdline"]):
        name = " ".join(process.info["cmdline"] or [])
        for kind in ("ServeReplica", "ProxyActor", "Shared"):
            if f"ray::{kind}" in name:
                found[kind] += process.memory_info().rss >> 20
    return dict(found)


def measure(runs: int) -> Comparison:
    """The comparison, in so many rounds."""
    import torch

    torch.set_num_threads(1)
    if shutil.which("wrk") is None:
        raise SystemExit("found no wrk; Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="gestray-serving-") as folder:
        work = Path(folder)
        store = Folder(OPTIONS.store) if OPTIONS.store else small_store(work / "store")
        name, uri = list(choose(ServingConfig(store=store.uri)).models.items())[-1]
        model = load_model(name, uri)
        texts = model.gestures.rows["text"].to_pylist()
        bodies = [json.dumps({"text": text, "k": HITS}) for text in texts]
        (work / "texts").write_text("\n".join(bodies))
        with served(store.uri, work, OPTIONS.profile == "haproxy") as (url, token):
            script = work / "ask.lua"
            script.write_text(_SCRIPT.format(texts=work / "texts", token=token))
            wrk(url, script, CONNECTIONS, 3)  # warm
            before = memory()
            tails: list[float] = []

            def ours() -> float:
                found = wrk(url, script, CONNECTIONS, SECONDS)
                tails.append(found["p99"] / 1000)
                return 1e6 * found["requests"] / found["us"]

            ways = {"ours": ours, "other": lambda: bare(model, texts, CONNECTIONS, SECONDS)}
            rates = alternate(ways, runs)
            one, alone = [], []
            for _ in range(runs):
                one.append(wrk(url, script, 1, 3)["p50"] / 1000)
                alone.append(1000 / bare(model, texts, 1, 2))
            overload = asyncio.run(crowd(url, token, bodies, SECONDS))
            until, grown = time.monotonic() + 60 * OPTIONS.minutes, [memory()]
            while time.monotonic() < until:
                wrk(url, script, CONNECTIONS, 30)
                grown.append(memory())
            after = grown[-1]
    tail = statistics.median(tails)
    also = {
        "profile": OPTIONS.profile,
        "p50_alone_ms": statistics.median(one),
        "bare_alone_ms": statistics.median(alone),
        "p50_beyond_bare_ms": statistics.median(one) - statistics.median(alone),
        "p99_at_16_ms": tail,
        "overload": overload,
        "overload_p99_over_p99_at_16": float(overload["accepted_p99_ms"]) / tail,  # type: ignore[arg-type]
        "memory_mb": {"minutes": OPTIONS.minutes, "before": before, "after": after},
        "memory_mb_over_time": grown,
    }
    return Comparison(rates["ours"], rates["other"], "texts/s", runs, also)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", choices=("default", "haproxy"), default="default")
    parser.add_argument("--store", help="with an index; a small demo is made otherwise")
    parser.add_argument("--minutes", type=float, default=0, help="of load, for memory")
    OPTIONS, sys.argv[1:] = parser.parse_known_args()
    name = "serving" if OPTIONS.profile == "default" else "serving-haproxy"
    main(name, "retrieval over HTTP against the bare model", measure)
