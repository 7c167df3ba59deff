"""Pages that can be followed word for word: what is marked `<!-- runs -->` runs, in its order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, SHELL
from tests.serving.conftest import (  # noqa: F401
    generator_task,
    speech_takes,
    store,
    tokenizer_folder,
)

PAGES = sorted({block.page for block in SHELL if block.mark == "runs"})


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, tmp_path, request) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("gestray", "jobs.cli"), ("python", None)):
        script = f'#!/bin/sh\nexec "{sys.executable}" {f"-m {module}" if module else ""} "$@"\n'
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "GESTRAY_"))}
    environment = kept | {
        "PATH": f"{tools}:{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GESTRAY_STORE": str(tmp_path / "store"),
    }
    if page.stem == "serving":  # begins where the quickstart ends
        environment["GESTRAY_STORE"] = request.getfixturevalue("store").path()
    blocks = [block.text for block in SHELL if block.page == page and block.mark == "runs"]
    # As a person's shell, which goes on after a mistake, would not be a test: -e.
    script = "set -em\n" + "\n".join(blocks)
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=1400)
    finally:
        # Servers that the page started and did not reach the end to stop.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 0, out[-4000:]
    if page.stem == "operator":
        assert "401" in out and "SUCCEEDED" in out.upper()
    if page.stem == "serving":
        assert "401" in out and (work / "motion.json").stat().st_size > 1000


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")))
def test_a_notebook_runs_without_a_cluster(file: Path, capsys) -> None:
    """Its cells in their order, as a kernel would; nothing is kept of what it prints."""
    cells = json.loads(file.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    known: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{file.name} {cell['id']}", "exec"), known)
    assert len(capsys.readouterr().out.splitlines()) >= 4
