"""YAML of pipelines and sweeps: a file of the user's, or one that comes with gestray, by name."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gestray.config import read_yaml
from gestray.errors import UserError

#: Pipelines, and sweeps below them.
PIPELINES = resources.files("jobs") / "configs"
SWEEPS = PIPELINES / "sweeps"


def names(folder: Traversable) -> list[str]:
    """Of the files that come with gestray in a folder."""
    return sorted(Path(e.name).stem for e in folder.iterdir() if e.name.endswith(".yaml"))


def read(what: str, name_or_path: str, folder: Traversable, keys: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Args:
        what: the file is of, such as "pipeline".
        folder: of those that come with gestray.
        keys: that it should have, for a message.

    Raises:
        UserError: no such file, not YAML, or no mapping.
    """
    shipped = names(folder)
    file: Path | Traversable = Path(name_or_path)
    if name_or_path in shipped:
        file = folder / f"{name_or_path}.yaml"
    if not file.is_file():
        raise UserError(
            f"{what} {name_or_path!r}: found no such file; expected a YAML file or one of "
            f"{', '.join(shipped)}"
        )
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise UserError(f"{name_or_path}: expected a mapping with the {keys}")
    return tree
