"""What a server says of itself: figures at `/metrics`, and traces where somebody collects them.

Behind one address there are many replicas, and whoever scrapes it would meet another each time. So
each replica leaves its figures with what all share, and any of them answers for all, by the
label `replica`. Traces go to an OTLP endpoint by the standard variables of the environment
(`OTEL_EXPORTER_OTLP_ENDPOINT`), and nowhere without them; they need the extra `gestray[otel]`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric

from gestray.errors import UserError

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Telemetry:
    """The figures of a replica, and its traces if anybody wants them.

    Raises:
        UserError: traces are wanted, and the extra for them is not installed.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "gestray_requests", "Requests.", ["route", "method", "status"], **made
        )
        self.seconds = Histogram(
            "gestray_request_seconds", "Of a request.", ["route"], buckets=_SECONDS, **made
        )
        self.ongoing = Gauge("gestray_requests_ongoing", "Requests being answered.", **made)
        self.waiting = Gauge("gestray_queue_waiting", "Waiting for a model.", ["kind"], **made)
        self.sizes = Histogram(
            "gestray_batch_size", "Computed at once.", ["kind"], buckets=_SIZES, **made
        )
        self.model = Histogram(
            "gestray_model_seconds", "Of a batch.", ["kind", "model"], buckets=_SECONDS, **made
        )
        self.streams = Gauge("gestray_streams", "Open streams.", **made)
        self.cache = Counter("gestray_cache", "Lookups.", ["cache", "found"], **made)
        self._tracer = _tracer()

    def batch(self, kind: str, model: str, size: int, seconds: float) -> None:
        """A model has computed."""
        self.sizes.labels(kind).observe(size)
        self.model.labels(kind, model).observe(seconds)

    def figures(self) -> list[Metric]:
        """All of them, to be left with others."""
        return list(self.registry.collect())

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """The span of a request, within the caller's trace if it sends one; None without traces."""
        if self._tracer is None:
            yield None
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(
            name, context=extract(headers), kind=SpanKind.SERVER
        ) as span:
            yield span

    def worked(self, name: str, started: int, ended: int, **about: Any) -> None:
        """A span of the current request that is over: what a model did for it and for others.

        Args:
            started, ended: nanoseconds, by `time.time_ns`.
        """
        if self._tracer is None:
            return
        asked = self._tracer.start_span(name, start_time=started, attributes=about)
        asked.end(end_time=ended)


def ended(span: Any, route: str, method: str, status: int) -> None:
    """What is told of a request's span at its end."""
    if span is not None:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)


def trace_id(span: Any) -> str | None:
    """Of the trace that a span belongs to."""
    return None if span is None else f"{span.get_span_context().trace_id:032x}"


def _tracer() -> Any:
    if not any(map(os.environ.get, _ENDPOINTS)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UserError(
            f"{' or '.join(_ENDPOINTS)} asks for traces; install them: pip install 'gestray[otel]'"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME", "gestray")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("gestray")


class _Figures:
    """Collects what many replicas have left, each under its name."""

    def __init__(self, left: Mapping[str, Iterable[Metric]]) -> None:
        self._left = left

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for replica, metrics in self._left.items():
            for metric in metrics:
                family = families.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    labels = {**sample.labels, "replica": replica}
                    family.samples.append(sample._replace(labels=labels))
        yield from families.values()


def page(left: Mapping[str, Iterable[Metric]]) -> bytes:
    """The figures of many replicas as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Figures(left))
    return generate_latest(registry)


def now() -> int:
    """Nanoseconds of the wall clock."""
    return time.time_ns()
