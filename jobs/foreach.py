"""Stages for each of several values: what a pipeline file says once and runs many times.

    - stage: encoder.train
      name: "{method}-{seed}"
      foreach: [{method: [direct], seed: [0, 1, 2]}, {method: [tmr, sma], seed: [0]}]
      config: {preset: "{method}", loop: {seed: "{seed}"}}

    - stage: encoder.embed
      name: "{method}-{seed}-embeddings"
      foreach: "{method}-{seed}"
      inputs: {encoder: "{method}-{seed}"}

    - stage: evaluate.retrieval
      name: study
      inputs: {"{method}@{seed}": "{method}-{seed}-embeddings"}

A stage is made for every combination of values of each mapping; where `foreach` is the name
of earlier such stages, for each of them. Placeholders stand in its name, inputs and config; a
config value that is nothing but one becomes the value itself, number or text. An input that
names such stages by their own name, placeholders and all, takes every one of them, each in the
role its values give. Stages with the same name in the file belong together: ablations may be
written beside presets and be embedded and evaluated with them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gestray.errors import UserError

Values = Mapping[str, Any]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def combinations(foreach: Any, stage: str, known: Mapping[str, Sequence[Values]]) -> list[Values]:
    """The values of each stage that `foreach` makes.

    Args:
        foreach: a mapping of lists, several of them, or the name of earlier stages.
        stage: its name, for errors.
        known: name of earlier stages, placeholders and all → their values.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(foreach, str):
        if foreach not in known:
            raise UserError(
                f"stage {stage}: foreach: {foreach!r} is the name of no earlier stage with "
                f"foreach; known: {', '.join(known) or 'none'}"
            )
        return list(known[foreach])
    products: list[Values] = []
    for lists in [foreach] if isinstance(foreach, Mapping) else foreach:
        if not isinstance(lists, Mapping) or not all(isinstance(v, list) for v in lists.values()):
            raise UserError(
                f"stage {stage}: foreach: found {lists!r}, expected lists of values by name, "
                "as in {method: [direct, sma], seed: [0, 1]}"
            )
        products += [
            dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())
        ]
    return products


def filled(template: Any, values: Values, stage: str) -> Any:
    """A copy of a name, a config or inputs with its placeholders filled.

    Raises:
        UserError: a placeholder has no value.
    """
    if isinstance(template, Mapping):
        return {filled(k, values, stage): filled(v, values, stage) for k, v in template.items()}
    if isinstance(template, list | tuple):
        return [filled(item, values, stage) for item in template]
    if not isinstance(template, str):
        return template
    for name in _PLACEHOLDER.findall(template):
        if name not in values:
            raise UserError(
                f"stage {stage}: nothing fills {{{name}}}; known: {', '.join(values) or 'none'}"
            )
    if whole := _PLACEHOLDER.fullmatch(template):
        return values[whole[1]]
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def gathered(
    inputs: Mapping[str, str], known: Mapping[str, Sequence[Values]], stage: str
) -> Iterator[tuple[str, str]]:
    """(role, name of a stage) of each input, those of earlier stages with foreach one by one."""
    for role, source in inputs.items():
        for values in known.get(source, ({},)):
            yield (
                (filled(role, values, stage), filled(source, values, stage))
                if values
                else (
                    role,
                    source,
                )
            )
