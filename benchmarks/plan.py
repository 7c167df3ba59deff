"""What `gestray plan` foretells of the demo from a tenth of its data, beside what the demo takes.

Calibration and demo run one after the other on the same machine, each in a process of its own
and a store of its own. The figure is the worst stage: the longer of foretold and taken, divided
by the shorter. Beside it stands the worst of those that took a second or more.

    python benchmarks/plan.py --json --save
    python benchmarks/plan.py --set takes=48 --set tokenizer.loop.steps=200     # a smaller demo
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.side_by_side import Comparison, main

SECOND = 1.0


def _gestray(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_with(overrides: list[str], runs: int) -> Comparison:
    worst: list[dict[str, Any]] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="gestray-plan-") as folder:
            rates = f"{folder}/rates.yaml"
            _gestray("plan", "calibrate", "demo", *overrides, "--share", "0.1", "--out", rates)
            plan = _gestray("plan", "demo", *overrides, "--rates", rates)
            ran = _gestray("run", "demo", *overrides, "--store", f"{folder}/store")
        foretold = {stage["name"]: stage["seconds"] for stage in plan["stages"]}
        names = list(foretold)
        taken = {name: stage["seconds"] for name, stage in zip(names, ran["stages"], strict=True)}
        factors = {n: max(foretold[n], taken[n]) / min(foretold[n], taken[n]) for n in names}
        table = {
            name: {"foretold_s": foretold[name], "took_s": taken[name], "factor": factors[name]}
            for name in names
        }
        for name, row in table.items():
            print(name, {key: round(value, 2) for key, value in row.items()}, file=sys.stderr)
        total, spent = sum(foretold.values()), sum(taken.values())
        long = [factors[name] for name in names if taken[name] >= SECOND]
        found = {"factor": max(factors.values()), "long": max(long)}
        worst.append({**found, "total": total, "spent": spent, **table})
    worst.sort(key=lambda found: found["factor"])
    median = worst[len(worst) // 2]
    also = {name: row for name, row in median.items() if isinstance(row, dict)}
    return Comparison(
        ours=median["total"],
        other=median["spent"],
        unit="s foretold and taken",
        runs=runs,
        also={"worst_factor": median["factor"], "of_a_second": median["long"], **also},
    )


if __name__ == "__main__":
    given: list[str] = []
    while "--set" in sys.argv:
        place = sys.argv.index("--set")
        given.append(sys.argv[place + 1])
        del sys.argv[place : place + 2]
    main("plan", __doc__ or "", lambda runs: measure_with(given, runs))
