"""Pages of the site that are made from the code when it is built: commands and configuration.

Nothing of them is committed, so they cannot be out of date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

#: Configurations beside those of the stages.
OTHERS = {
    "A pipeline's file": "jobs.pipeline:Pipeline",
    "A sweep's file": "jobs.sweeps.config:SweepConfig",
    "`gestray serve`": "serving.config:ServingConfig",
    "`gestray plan --prices`": "jobs.forecast:Prices",
}


def on_files(files: Files, config: Any) -> Files:
    """mkdocs calls this when it has listed the pages."""
    pages = {"reference/commands.md": commands, "reference/configuration.md": configuration}
    for path, made in pages.items():
        files.append(File.generated(config, path, content=made()))
    return files


def commands() -> str:
    """Every command with its help, arguments and options."""
    import typer
    from typer.core import TyperGroup

    from jobs.cli import app

    def walk(command: Any, words: list[str]) -> Iterator[str]:
        if isinstance(command, TyperGroup):
            if words:
                yield f"\n## gestray {' '.join(words)}\n\n{_clean(command.help)}\n"
            if not command.invoke_without_command:
                for name, each in command.commands.items():
                    yield from walk(each, [*words, name])
                return
        yield f"\n{'##' if len(words) == 1 else '###'} gestray {' '.join(words)}\n"
        yield f"\n{_clean(command.help)}\n\n"
        rows = [row for row in map(_parameter, command.params) if row]
        if rows:
            yield "| | | default |\n|---|---|---|\n" + "".join(rows)
        if isinstance(command, TyperGroup):
            for name, each in command.commands.items():
                yield from walk(each, [*words, name])

    head = "# Commands\n\nMade from the code. `--json` prints one object; exit 0 means: whole.\n"
    return head + "".join(walk(typer.main.get_command(app), []))


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    if names == "`--help`":
        return ""
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    told = _clean(getattr(parameter, "help", "") or "").replace("|", "\\|").replace("\n", " ")
    return f"| {names} | {told} | {shown} |\n"


def _clean(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("<", "&lt;")


def configuration() -> str:
    """Every key of every stage's config, with what its docstring says of it."""
    from jobs.stages import _STAGES, stage_named

    parts = [
        "# Configuration\n\nMade from the code. A key is set in a YAML file or on the command "
        "line: `tokenizer.loop.steps=500` in a pipeline, `loop.steps=500` of a stage alone. An "
        "unknown one is an error that names the nearest.\n"
    ]
    seen: set[type] = set()
    for name in _STAGES:
        parts.append(f"\n## {name}\n")
        parts += _section(stage_named(name).config_type, seen)
    for title, where in OTHERS.items():
        module, attribute = where.split(":")
        parts.append(f"\n## {title}\n")
        parts += _section(getattr(importlib.import_module(module), attribute), seen)
    return "".join(parts)


def _section(model: type[BaseModel], seen: set[type]) -> Iterator[str]:
    """A config's keys, and below them those of its parts that were not shown yet."""
    if model in seen:
        yield f"\nAs [{model.__name__}](#{model.__name__.lower()}) above.\n"
        return
    yield f"\n### {model.__name__} {{ #{model.__name__.lower()} }}\n\n"
    seen.add(model)
    told = _arguments(model)
    inner: list[type[BaseModel]] = []
    rows = []
    for name, field in model.model_fields.items():
        part = field.annotation
        if inspect.isclass(part) and issubclass(part, BaseModel):
            if part not in seen:
                inner.append(part)
            default = f"[{part.__name__}](#{part.__name__.lower()})"
        else:
            default = (
                "" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            )
        text = told.get(name) or field.description or ""
        rows.append(f"| `{name}` | {text} | {default} |\n".replace("\n", " ").strip() + "\n")
    summary = inspect.getdoc(model) or ""
    yield summary.split("\n\n")[0].replace("\n", " ") + "\n\n"
    if rows:
        yield "| key | | default |\n|---|---|---|\n" + "".join(rows)
    for part in dict.fromkeys(inner):
        if part not in seen:
            yield from _section(part, seen)


def _arguments(model: type) -> dict[str, str]:
    """What the docstrings of a config and its bases say of each argument."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        doc = inspect.cleandoc(base.__doc__ or "")
        section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", doc, re.MULTILINE)
        if section is None:
            continue
        for names, text in re.findall(
            r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section[1], re.MULTILINE
        ):
            for name in names.split(", "):
                found[name] = re.sub(r"\s+", " ", text).replace("|", "\\|")
    return found
