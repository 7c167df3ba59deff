"""Typed configuration: pydantic models, `key.path=value` overrides, errors for people.

Every config of gestray derives from `Config`: immutable, and an unknown key is
an error that names the nearest known one. Presets are functions that return a
config; YAML is for operators.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gestray.errors import UserError


class Config(BaseModel):
    """Base of all configs.

    Fields named in `EXECUTION` say where and how fast work runs, not what comes
    out of it: they are recorded with an artifact and left out of its identity.
    Those of `ADDED` came when artifacts had been made already: while they have the
    value named there, with which all is as it was, they are no part of the identity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    EXECUTION: ClassVar[frozenset[str]] = frozenset()
    ADDED: ClassVar[Mapping[str, Any]] = {}

    def identity(self) -> dict[str, Any]:
        """The config as JSON values, without what only affects execution."""
        silent = {name for name, value in self.ADDED.items() if getattr(self, name) == value}
        tree = self.model_dump(mode="json", exclude=silent | self.EXECUTION)
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in tree and isinstance(value, Config):
                tree[name] = value.identity()
        return tree


ConfigT = TypeVar("ConfigT", bound=Config)


def read_yaml(file: Path | Traversable, remedy: str = "") -> Any:
    """What a YAML file holds.

    Args:
        remedy: what to do where it cannot be read.

    Raises:
        UserError: it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}){remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {error}") from None


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`["loop.steps=50"]` to `{"loop.steps": 50}`; values are read as YAML."""
    parsed: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UserError(f"override {override!r}: expected key.path=value, as in loop.steps=200")
        try:
            parsed[key.strip()] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise UserError(f"override {override!r}: the value is not YAML: {error}") from None
    return parsed


def with_overrides(tree: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tree` with each dotted key set to its value."""
    result = copy.deepcopy(dict(tree))
    for path, value in overrides.items():
        *parents, leaf = path.split(".")
        node = result
        for depth, key in enumerate(parents):
            child = node.get(key)
            if child is None:
                child = node[key] = {}
            if not isinstance(child, dict):
                where = ".".join(parents[: depth + 1])
                raise UserError(f"override {path}={value!r}: {where} is {child!r}, not a section")
            node = child
        node[leaf] = value
    return result


def make_config(
    config_type: type[ConfigT], values: Mapping[str, Any], where: str = "config"
) -> ConfigT:
    """Validate `values`; errors are rewritten for the person who wrote them.

    Raises:
        UserError: lists every key at fault, with what was found and expected.
    """
    try:
        return config_type.model_validate(dict(values))
    except ValidationError as error:
        problems = [_explain(config_type, item) for item in error.errors()]
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        raise UserError(f"{where}: {count}\n  " + "\n  ".join(problems)) from None


def _explain(config_type: type[BaseModel], item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] == "extra_forbidden":
        known = _keys_at(config_type, path[:-1])
        close = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    if item["type"] == "missing":
        return f"{key!r} is required"
    return f"{key!r}: found {item['input']!r}; {item['msg'].removeprefix('Value error, ')}"


def _keys_at(config_type: type[BaseModel], path: Sequence[str]) -> list[str]:
    current = config_type
    for key in path:
        field = current.model_fields.get(key)
        if field is None:
            return []
        candidates = [field.annotation, *get_args(field.annotation)]
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return []
        current = models[0]
    return list(current.model_fields)


def digest(value: Any, digits: int = 12) -> str:
    """Hash of any JSON value: the same value has the same digest on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
