"""Figures of the driver as Ray's metrics, which Prometheus scrapes with Ray's own.

Ray exports them as `ray_gestray_…` from every node (docs/cluster.md); trainings tell theirs in
`gestray.training.on_ray`, replicas in `serving.app`. Where Ray does not run, nobody listens and
nothing is told.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

#: Metrics by name: their description and labels.
GAUGES = {
    "gestray_progress_done": ("Units done of what the progress bar is about.", ("what",)),
    "gestray_progress_total": ("Units of what the progress bar is about.", ("what",)),
    "gestray_sweep_trials": ("Trials of a sweep, by state.", ("sweep", "state")),
    "gestray_sweep_best": ("Figure of a sweep's best trial.", ("sweep", "figure")),
}
COUNTERS = {"gestray_ingest_takes": ("Takes stored or quarantined.", ("outcome",))}


def _is_heard() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@cache
def _metric(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge

    made, (description, labels) = (
        (Gauge, GAUGES[name]) if name in GAUGES else (Counter, COUNTERS[name])
    )
    return made(name, description=description, tag_keys=labels)


def gauge(name: str, value: float, **labels: str) -> None:
    """Tell a value of `GAUGES`."""
    if _is_heard():
        _metric(name).set(value, labels)


def count(name: str, more: Mapping[str, int]) -> None:
    """Add to one of `COUNTERS`, by the value of its label."""
    if not _is_heard():
        return
    (label,) = COUNTERS[name][1]
    for value, number in more.items():
        if number:
            _metric(name).inc(number, {label: value})
