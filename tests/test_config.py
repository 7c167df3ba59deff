"""Configs: overrides, identity, and errors that name the key and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import Field

from gestray.config import Config, digest, make_config, parse_overrides, with_overrides
from gestray.errors import UserError


class Loop(Config):
    EXECUTION: ClassVar[frozenset[str]] = frozenset({"workers"})
    steps: int = Field(10, ge=1)
    workers: int = 2


class Training(Config):
    loop: Loop = Loop()
    name: str = "a"


def test_an_unknown_key_names_the_nearest_known_one():
    with pytest.raises(UserError, match=r"unknown key 'loop.stepz'; did you mean 'steps'\?"):
        make_config(Training, {"loop": {"stepz": 3}})


def test_every_error_is_listed_with_what_was_found():
    with pytest.raises(UserError) as caught:
        make_config(Training, {"loop": {"steps": 0}, "nme": 1}, "train.yaml")
    message = str(caught.value)
    assert message.startswith("train.yaml: 2 errors")
    assert "'loop.steps': found 0; Input should be greater than or equal to 1" in message
    assert "did you mean 'name'?" in message


def test_overrides_are_yaml_and_leave_the_tree_as_it_was():
    tree = {"loop": {"steps": 1}}
    changed = with_overrides(tree, parse_overrides(["loop.steps=5", "name=x=y", "loop.on=true"]))
    assert changed == {"loop": {"steps": 5, "on": True}, "name": "x=y"}
    assert tree == {"loop": {"steps": 1}}


@pytest.mark.parametrize("override", ["steps", "=3"])
def test_an_override_without_key_or_value_says_how_it_is_written(override):
    with pytest.raises(UserError, match=r"expected key\.path=value"):
        parse_overrides([override])


def test_an_override_below_a_value_is_refused():
    with pytest.raises(UserError, match="name is 'a', not a section"):
        with_overrides({"name": "a"}, {"name.deep": 1})


def test_execution_keys_are_no_part_of_the_identity():
    few, many = (Training(loop=Loop(workers=n)) for n in (1, 8))
    assert few.identity() == many.identity() == {"loop": {"steps": 10}, "name": "a"}
    assert Training(loop=Loop(steps=11)).identity() != few.identity()


def test_what_was_added_later_is_no_part_of_the_identity_until_it_is_used():
    class Older(Config):
        steps: int = 10

    class Newer(Older):
        ADDED: ClassVar[Mapping[str, Any]] = {"kind": "old"}
        kind: str = "old"

    assert Newer().identity() == Older().identity()
    assert Newer(kind="new").identity() == {"steps": 10, "kind": "new"}


def test_a_digest_depends_on_values_not_on_their_order():
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
