"""What a server says of itself: figures of all replicas, traces from HTTP to the model, logs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from serving.api import make_api
from serving.config import Load, ServingConfig
from serving.keys import Keyring, make_key
from serving.library import Model, Mover
from serving.logs import log_to
from serving.shared import Shared
from serving.telemetry import Telemetry
from tests.serving.conftest import InProcess, run
from tests.serving.test_generation import sound


def samples(text: str) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_count_what_was_asked_and_have_no_paths_of_others(model, mover: Mover) -> None:
    watcher, token = make_key("prometheus", ("metrics",), 100)
    user, other = make_key("user", ("retrieve", "generate"), 100)
    app = make_api(InProcess(model, mover), ServingConfig(), Keyring.of([watcher, user]))
    with TestClient(app) as client:
        mine = {"authorization": f"Bearer {other}"}
        phrase = model.gestures.rows["phrase_id"][0].as_py()
        client.get(f"/v1/clips/{phrase}", headers=mine)
        for path in ("/v1/clips/nobody:000000-000030", "/v1/nothing/at/all", "/etc/passwd"):
            client.get(path, headers=mine)
        made = client.post("/v1/generate", files={"audio": sound(0.5)}, headers=mine).json()
        client.get(f"/v1/motions/{made['id']}", headers=mine)
        client.get("/v1/motions/" + 32 * "0", headers=mine)
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=mine).status_code == 403
        answer = client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)

    def of(name: str, **labels: str) -> float:
        return found[name, frozenset({**labels, "replica": "here"}.items())]

    clip = {"route": "/v1/clips/{phrase_id}", "method": "GET"}
    assert of("gestray_requests_total", **clip, status="200") == 1
    assert of("gestray_requests_total", **clip, status="404") == 1
    assert of("gestray_model_seconds_count", kind="generation", model="semtalk") == 1
    assert of("gestray_batch_size_sum", kind="generation") == 1
    assert of("gestray_cache_total", cache="motions", found="True") == 1
    assert of("gestray_cache_total", cache="motions", found="False") == 1
    assert of("gestray_requests_ongoing") == 1  # this one
    for secret in (phrase, "passwd", made["id"], "nothing"):
        assert secret not in answer.text


def test_any_replica_answers_for_all() -> None:
    shared, replicas = Shared(Load()), {name: Telemetry() for name in "ab"}
    for number, telemetry in enumerate(replicas.values(), start=1):
        telemetry.requests.labels("/x", "GET", 200).inc(number)
    from serving.telemetry import page

    async def left() -> dict[str, Any]:
        found = {}
        for name, telemetry in replicas.items():
            found = await shared.figures(name, telemetry.figures())
        return found

    counts = {
        dict(labels)["replica"]: value
        for (name, labels), value in samples(page(run(left())).decode()).items()
        if name == "gestray_requests_total"
    }
    assert counts == {"a": 1, "b": 2}


@pytest.fixture
def collector(monkeypatch) -> Iterator[list[Any]]:
    """An OTLP endpoint, and the spans that came to it."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans: list[Any] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked = service.ExportTraceServiceRequest.FromString(body)
            for resource in asked.resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield spans
    server.shutdown()


def test_a_trace_goes_from_the_request_to_the_model(
    collector: list[Any], model: Model, mover: Mover, caplog
) -> None:
    app = make_api(InProcess(model, mover), ServingConfig(), None)
    theirs = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with TestClient(app) as client, caplog.at_level("INFO", logger="gestray.audit"):
        client.post("/v1/generate", files={"audio": sound(0.5)}, headers=theirs)
    for _ in range(200):
        if len(collector) >= 2:
            break
        threading.Event().wait(0.05)
    by_name = {span.name: span for span in collector}
    request, work = by_name["POST /v1/generate"], by_name["generate"]
    assert request.trace_id == work.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert request.parent_span_id == bytes.fromhex("b7ad6b7169203331")
    assert work.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= work.start_time_unix_nano < work.end_time_unix_nano
    assert work.end_time_unix_nano <= request.end_time_unix_nano
    assert "0af7651916cd43dd8448eb211c80319c" in caplog.text


def test_without_an_endpoint_there_are_no_traces(monkeypatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    telemetry = Telemetry()
    with telemetry.request("GET", {}) as span:
        assert span is None
        telemetry.worked("x", 0, 1)


def test_logs_are_lines_of_json(tmp_path) -> None:
    logger, file = logging.getLogger("gestray"), tmp_path / "log"
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        log_to(str(file))
        logging.getLogger("gestray.audit").info("{}", extra={"fields": {"status": 200}})
        try:
            raise ValueError("an „error“\nof two lines")
        except ValueError:
            logging.getLogger("gestray.stream").exception("it failed")
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    audit, failed = map(json.loads, file.read_text().splitlines())
    assert audit["status"] == 200 and audit["log"] == "gestray.audit" and audit["level"] == "INFO"
    assert failed["message"] == "it failed" and "of two lines" in failed["error"]
