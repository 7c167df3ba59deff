"""A corpus four times the size of the object store is ingested and trained on.

The bound is stated in docs/performance.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESS_BYTES = 1 << 30


@pytest.mark.slow
@pytest.mark.ray
def test_ingest_and_an_epoch_spill_nothing(tmp_path: Path) -> None:
    """On a cluster of its own: the session's has an object store of another size."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("memory_run.py")), str(tmp_path)],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    print(found)  # shown with -s, for docs/performance.md
    assert found["corpus_bytes"] >= 4 * found["object_store_bytes"]
    assert found["takes"] == 110
    assert found["steps"] * 64 >= found["windows"] > 9000
    assert found["ingest_spilled_bytes"] == found["epoch_spilled_bytes"] == 0
    assert max(found["driver_bytes"], found["worker_bytes"]) <= PROCESS_BYTES
