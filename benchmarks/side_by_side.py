"""Two ways to do the same, measured in alternation within one run.

A machine's speed drifts: with its temperature, its neighbours, its page cache.
Only ratios of what ran side by side mean anything, so every benchmark here
alternates between ours and the other way, compares medians, and reports both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Comparison:
    """Medians of both ways in `unit` (higher is better), and their ratio."""

    ours: float
    other: float
    unit: str
    runs: int
    also: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.ours / self.other

    def as_json(self) -> dict[str, Any]:
        values = {"ratio": self.ratio, **self.__dict__}
        return {key: values[key] for key in ("ratio", "ours", "other", "unit", "runs", "also")}


def alternate(ways: dict[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """Median figure of each way, over `runs` rounds in which each is measured once."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(runs):
        for name, way in ways.items():
            figures[name].append(way())
            print(f"round {number + 1}, {name}: {figures[name][-1]:,.1f}", file=sys.stderr)
    return {name: statistics.median(found) for name, found in figures.items()}


def main(name: str, describe: str, measure: Callable[[int], Comparison]) -> None:
    """The command line of a benchmark.

    Args:
        name: of its file in `RESULTS`.
        describe: what it compares.
        measure: makes the comparison, in the given number of rounds.
    """
    parser = argparse.ArgumentParser(description=describe)
    parser.add_argument("--runs", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--save", action="store_true", help=f"keep the result as {name}.json")
    options = parser.parse_args()
    found = measure(options.runs)
    values = _rounded(found.as_json())
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")
    if options.json:
        print(json.dumps(values))
        return
    print(f"ours {found.ours:,.1f}, other {found.other:,.1f} {found.unit}: {found.ratio:.1f} times")
    for key, value in values["also"].items():
        print(f"  {key}: {value}")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
