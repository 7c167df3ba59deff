"""Blocks of code in the README and docs, and what each line of a shell asks for."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
#: An indented block is a shell's where its first line begins with one of these.
_PROGRAMS = ("gestray ", "pytest ", "python ", "pip ", "curl ", "OMP_NUM_THREADS=", "promtool ")
_MARK = re.compile(r"<!-- (runs|needs: [^>]*) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A piece of code: where it is, its language, and what is said of it in a comment above."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Its command lines as words, without comments, prompts and assignments before them."""
        joined = self.text.replace("\\\n", " ")
        for line in joined.splitlines():
            for command in re.split(r"\s&&\s", line):
                words = shlex.split(command, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield words


def blocks(page: Path) -> list[Block]:
    """The page's fenced blocks, and its indented ones that are a shell's."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        body = textwrap.dedent(match[3])
        found.append(Block(page, line, match[2], body, mark[1] if mark else ""))
    # Blanked, so that lines keep their numbers.
    rest = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in re.finditer(r"(?:^ {4}\S[^\n]*\n(?: {4}[^\n]*\n)*)", rest, re.MULTILINE):
        body = textwrap.dedent(match[0])
        if body.startswith(_PROGRAMS):
            mark = _MARK.search(rest[: match.start()])
            line = rest.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, "bash", body, mark[1] if mark else ""))
    return found


ALL = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in ALL if block.language in ("bash", "sh", "console")]
