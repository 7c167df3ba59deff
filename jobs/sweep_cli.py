"""`gestray sweep`: many trainings of one stage, and the best of them."""

from __future__ import annotations

from typing import Annotated

import typer

from gestray.store import Folder, default_store
from jobs.command import AsJson, Name, Overrides, Store, print_json
from jobs.display import results


def sweep(
    config: Annotated[
        str, typer.Argument(help="A YAML file (docs/sweeps.md), or tokenizer, encoder.")
    ],
    overrides: Overrides = None,
    store: Store = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Train a stage with many configs, and keep the best as an artifact.

    Given again after an interruption, it goes on: trials that have ended are not run again.
    Examples: `gestray sweep tokenizer`; `gestray sweep mine.yaml trials=64 budget_hours=12
    concurrent=8`; then `gestray run STORE/sweep/NAME-…/best.yaml`.
    """
    from pathlib import Path

    from jobs.sweep import PIPELINE, outcome_table, run_sweep
    from jobs.sweeps.config import load_sweep

    loaded, own_store = load_sweep(config, overrides or ())
    target = Folder(own_store or store or default_store())
    outcome = run_sweep(loaded, target, name or Path(config).stem)
    found = outcome.sweep.artifact
    if as_json:
        print_json({**outcome.sweep.as_json(), "best_artifact": outcome.best.artifact.uri})
        return
    results.print(outcome_table(found))
    for label, uri in (
        ("report", found.folder.child("report.html").uri),
        ("best", outcome.best.artifact.uri),
        ("go on with", f"gestray run {found.folder.child(PIPELINE).uri}"),
    ):
        results.print(f"{label}: {uri}", markup=False, soft_wrap=True)
