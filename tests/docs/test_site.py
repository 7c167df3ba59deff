"""The site is built without a warning: links and anchors lead somewhere, every page is listed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from tests.docs.blocks import PAGES, ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("no mkdocs-material: `pip install 'gestray[docs]'`")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_built(site) -> None:
    missing = [
        page
        for page in DOCS.rglob("*.md")
        if not (site / page.relative_to(DOCS).with_suffix(".html")).is_file()
    ]
    assert missing == []


def commands(command: object, words: tuple[str, ...]) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands(each, (*words, name))
    else:
        yield " ".join(words)


def test_the_reference_has_every_command_and_stage(site) -> None:
    from jobs.cli import app
    from jobs.stages import _STAGES

    page = (site / "reference" / "commands.html").read_text()
    wanted = list(commands(typer.main.get_command(app), ("gestray",)))
    assert len(wanted) > 40 and [name for name in wanted if f">{name}<" not in page] == []
    keys = (site / "reference" / "configuration.html").read_text()
    assert [name for name in _STAGES if f">{name}<" not in keys] == []
    assert "Times a group" in keys or "times a group" in keys  # of max_failures, from its docstring


def test_nothing_is_fetched_from_elsewhere_but_diagrams(site) -> None:
    page = (site / "index.html").read_text()
    assert re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    """The README is no page of the site, and pages are read as files as well."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    made = {"reference/commands.md", "reference/configuration.md"}
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    dead = [t for t in targets if t and t not in made and not (page.parent / t).exists()]
    assert dead == []


def test_messages_in_troubleshooting_are_messages_of_the_code() -> None:
    code = "".join(
        path.read_text()
        for name in ("gestray", "jobs", "serving")
        for path in (ROOT / name).rglob("*.py")
    )
    # As one text: messages are written in pieces, with expressions among them.
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    titles = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(titles) > 12
    unknown = []
    for title in titles:
        pieces = [p for p in re.split(r"\b[A-Z]+\b", title) if len(p.strip()) > 4]
        if not all(piece.strip() in code for piece in pieces):
            unknown.append(title)
    assert unknown == []
