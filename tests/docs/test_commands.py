"""Every command in the README and docs is one that exists, with options and keys that it takes."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator

import pytest
import typer
import yaml
from typer.core import TyperGroup

from tests.cluster.checks import entrypoint_problem
from tests.docs.blocks import ALL, ROOT, SHELL, Block

#: Programs that are not ours, and the words after which a file of ours is named.
OTHERS: dict[str, tuple[str, ...]] = {
    "pip": (), "export": (), "curl": (), "docker": ("-f",), "kubectl": ("-k",), "chmod": (),
    "ray": ("up", "attach", "down"), "openssl": (), "blender/bin/pip": (), "python3.11": (),
    "git": (), "cd": (), "promtool": ("rules",), "prometheus": (), "mkdocs": (), "source": (),
    "redis-server": (), "apt-get": (), "otelcol-contrib": ("--config",), "serve": (), "ls": (),
    "until": (), "sleep": (), "kill": (), "mkdir": (), "printf": (), "hf": (),
}  # fmt: skip
#: Commands that start a stage, whose config keys can be followed to where it would start.
STAGES = re.compile(
    r"run |demo\b|ingest (beat2|bvh|smplx) (?!.*--check)|tokenizer |encoder |generator train"
    r"|anchors (verbalize|ground|evaluate)|index build"
)
#: What stands for something of the reader's own.
OPEN = re.compile(r"…|\bURI|\bNAME\b|\bID\b|\bSTORE\b|\bSRC\b|\$")


def problems(words: list[str]) -> Iterator[str]:
    """What is wrong with a command line."""
    program = words[0].removeprefix(".venv/bin/")
    if redirected := [i for i, word in enumerate(words) if word in (">", "2>", "&", "|", "<")]:
        words = words[: redirected[0]]
    if program == "gestray":
        yield from gestray_problems(words[1:])
    elif program in ("pytest", "python"):
        yield from python_problems(program, words[1:])
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        yield from (f"no target {word}" for word in words[1:] if word not in targets)
    elif program in OTHERS:
        files = [words[i + 1] for i, word in enumerate(words[:-1]) if word in OTHERS[program]]
        yield from (f"no {file}" for file in files if not (ROOT / file).exists())
    else:
        yield f"{program} is not known here"


def python_problems(program: str, words: list[str]) -> Iterator[str]:
    if words[:1] == ["-m"] and program == "python":
        if importlib.util.find_spec(words[1]) is None:
            yield f"no module {words[1]}"
        return
    for word in words:
        path = word.split("::")[0]
        if ("/" in path or path.endswith(".py")) and not (ROOT / path).exists():
            yield f"no {path}"


def gestray_problems(words: list[str]) -> Iterator[str]:
    """Parses a command line as typer would, and follows config keys where it can."""
    from jobs.cli import app

    plain = [word for word in words if word not in ("…", "...")]
    command, context, arguments = typer.main.get_command(app), None, list(plain)
    try:
        while arguments or not isinstance(command, TyperGroup):
            name = command.name or "gestray"
            context = command.make_context(name, arguments, parent=context)
            if not isinstance(command, TyperGroup):
                break
            rest = [*context._protected_args, *context.args]
            if not rest:
                break
            _, command, arguments = command.resolve_command(context, rest)
    except Exception as error:  # typer carries a click of its own, whose errors have no public name
        if not hasattr(error, "format_message"):
            raise
        yield error.format_message()
        return
    if STAGES.match(shlex.join(plain)) and not any(OPEN.search(word) for word in words):
        problem = entrypoint_problem(shlex.join(["python", "-m", "jobs.cli", *plain]))
        # Files of the reader's own are not here, and some commands start no stage.
        if problem and re.search(r"unknown key|nothing is called so|did you mean", problem):
            yield problem


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.where)
def test_every_command_line_exists(block: Block) -> None:
    found = [f"{' '.join(words)}: {p}" for words in block.commands() for p in problems(words)]
    assert found == []


def test_commands_that_do_not_exist_are_found() -> None:
    wrong = {
        "gestray tokenizer trains": "No such command",
        "gestray encoder train --presets sma": "No such option",
        "gestray tokenizer train loop.step=3": "did you mean",
        "gestray run demo take=3": "nothing is called so",
        "gestray plan demo --hour 3": "No such option",
        "pytest tests/nothing/test_x.py": "no tests/nothing",
        "python benchmarks/nothing.py": "no benchmarks/nothing.py",
        "python -m cluster.nothing": "no module",
        "make tests": "no target tests",
        "kubectl apply -k cluster/kuberay/overlays/none": "no cluster/kuberay",
        "rm -rf /": "rm is not known",
    }
    for line, said in wrong.items():
        assert said in " ".join(problems(shlex.split(line))), line


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "python"], ids=lambda block: block.where
)
def test_python_is_python_and_what_it_imports_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "yaml"], ids=lambda block: block.where
)
def test_yaml_is_yaml(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))
