"""What a sweep is: a training stage, what is tried in its config, and what is good.

    stage: tokenizer.train
    base: {preset: sma, loop: {steps: 400, validate_every: 50}}
    space:
      loop.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}
      model.quantizers: {int: [2, 10]}
      model.parts: {choice: [[body, hands], [upper, hands]]}
    search: tpe
    trials: 32
    scheduler: asha

Everything is checked before anything starts: every key of the space against the stage's
own config, with the values at its ends.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from gestray.config import Config, digest, make_config, parse_overrides, with_overrides
from gestray.errors import UserError
from jobs import shipped
from jobs.stages import stage_config

Params = dict[str, Any]

# Population-based training changes these in mid-training. What shapes the model, or which samples
# come when, stays as it is.
_CHANGEABLE = ("losses.", "model.objectives.")
_CHANGEABLE_OF_LOOP = ("learning_rate", "weight_decay", "max_grad_norm", "ema_decay")


class Dimension(Config):
    """The values of one key; exactly one of these.

    Args:
        uniform, loguniform: real numbers between two ends.
        int, logint: whole numbers between two ends, both included.
        choice: any of these, of any type.
        points: for a grid, how many values a range has there.
    """

    model_config = ConfigDict(populate_by_name=True)

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = Field(None, alias="int")
    logint: tuple[int, int] | None = None
    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    points: int | None = Field(None, ge=2)

    @model_validator(mode="after")
    def _is_one_kind(self) -> Dimension:
        kinds = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = ", ".join(map(_shown, kinds)) or "none"
            raise UserError(
                f"expected exactly one of {', '.join(map(_shown, _KINDS))}; found {given}"
            )
        if not self.is_choice:
            low, high = self.ends
            if not low < high:
                raise UserError(f"{_shown(kinds[0])} goes from {low:g} to {high:g}: nothing to try")
            if self.is_log and low <= 0:
                raise UserError(f"{_shown(kinds[0])} starts at {low:g}; a logarithm needs more")
        elif self.points is not None:
            raise UserError("points goes with a range; a choice has the values it lists")
        return self

    @property
    def is_choice(self) -> bool:
        return self.choice is not None

    @property
    def is_log(self) -> bool:
        return self.loguniform is not None or self.logint is not None

    @property
    def is_whole(self) -> bool:
        return self.integer is not None or self.logint is not None

    @property
    def ends(self) -> tuple[float, float]:
        """Of a range."""
        ends = self.uniform or self.loguniform or self.integer or self.logint
        assert ends is not None
        return ends

    @property
    def shown_values(self) -> list[Any]:
        """What is checked beforehand: the ends of a range, every value of a choice."""
        return list(self.choice) if self.choice is not None else list(self.ends)

    def grid(self, key: str) -> list[Any]:
        """The values a grid tries, as parameters (of a choice, the places in its list)."""
        if self.choice is not None:
            return list(range(len(self.choice)))
        low, high = self.ends
        if self.points is None:
            if not self.is_whole or self.is_log:
                raise UserError(f"space {key}: a grid needs points, the number of values to try")
            return list(range(int(low), int(high) + 1))
        if self.is_log:
            low, high = math.log(low), math.log(high)
        shares = (number / (self.points - 1) for number in range(self.points))
        values = [low + share * (high - low) for share in shares]
        if self.is_log:
            values = [math.exp(value) for value in values]
        values = [min(max(value, self.ends[0]), self.ends[1]) for value in values]
        return sorted({round(value) for value in values}) if self.is_whole else values

    def value(self, parameter: Any) -> Any:
        """The config's value of a parameter."""
        return parameter if self.choice is None else self.choice[parameter]


_KINDS = ("uniform", "loguniform", "integer", "logint", "choice")


def _shown(kind: str) -> str:
    return "int" if kind == "integer" else kind


class Asha(Config):
    """Asynchronous successive halving (Li et al. 2020).

    Args:
        first: steps after which trials are first compared; None: at their first figures.
        factor: of those that come to a rung, one in so many goes on to the next, which is so
            many times as far.
    """

    first: int | None = Field(None, ge=1)
    factor: int = Field(4, ge=2)


class Population(Config):
    """Population-based training (Jaderberg et al. 2017).

    Args:
        every: steps between two comparisons; a multiple of `loop.validate_every`.
        share: of the population that takes over weights and values of as many of the best.
        change: numbers are multiplied or divided by it then; a choice is drawn anew one time
            in four.
    """

    every: int = Field(100, ge=1)
    share: float = Field(0.25, gt=0, le=0.5)
    change: float = Field(1.2, gt=1)


class Resources(Config):
    """What one trial holds while it runs."""

    cpus: float = Field(1, ge=0)
    gpus: float = Field(0, ge=0)

    @model_validator(mode="after")
    def _is_something(self) -> Resources:
        if not (self.cpus or self.gpus):
            raise UserError("a trial needs cpus or gpus")
        return self


class SweepConfig(Config):
    """A sweep.

    Args:
        stage: a training stage, such as ``encoder.train``.
        base: its config where it is not searched; preset and size as elsewhere.
        inputs: role → URI; the newest of its kind otherwise.
        space: key path → values.
        search: how values are chosen: every combination of a "grid", at "random", by a model
            of what was good so far ("tpe"), or by evolution ("pbt").
        trials: their number, or the size of the population; None: all of a grid.
        metrics: figures of the loop's log, of validation or training, and whether less or
            more is better. The first names the winner.
        scheduler: "asha" stops trials that fall behind.
        resources: of a trial.
        concurrent: trials at a time.
        max_failures: times a trial that lost its process goes on from its checkpoint.
        budget_hours: of GPUs (of CPUs, where a trial holds no GPU) after which no more is begun
            and what runs is stopped; more can be given later.
        seed: of the search.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset(
        {"inputs", "resources", "concurrent", "max_failures"}
    )

    stage: str
    base: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    space: dict[str, Dimension] = Field(min_length=1)
    search: Literal["grid", "random", "tpe", "pbt"] = "tpe"
    trials: int | None = Field(None, ge=1)
    metrics: dict[str, Literal["min", "max"]] = Field({"val.loss": "min"}, min_length=1)
    scheduler: Literal["asha", "none"] = "none"
    asha: Asha = Asha()
    pbt: Population = Population()
    resources: Resources = Resources()
    concurrent: int = Field(2, ge=1)
    max_failures: int = Field(2, ge=0)
    budget_hours: float | None = Field(None, gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> SweepConfig:
        if self.trials is None and self.search != "grid":
            raise UserError(f"search={self.search} needs trials, their number")
        if self.scheduler == "asha" and len(self.metrics) > 1:
            raise UserError(
                "scheduler=asha ranks trials by one metric; keep one, or set it to none"
            )
        if self.search == "pbt" and (self.scheduler != "none" or len(self.metrics) > 1):
            raise UserError(
                "search=pbt goes by one metric and has its own schedule; set scheduler=none"
            )
        return self

    def study(self) -> str:
        """Identity of what trials are drawn from: more trials or more budget change nothing."""
        left_out = {"budget_hours"} if self.search == "pbt" else {"budget_hours", "trials"}
        return digest({key: v for key, v in self.identity().items() if key not in left_out})

    def combinations(self) -> list[Params]:
        """The grid in the order in which it is tried, which is random."""
        names = list(self.space)
        product = itertools.product(*(self.space[name].grid(name) for name in names))
        found = [dict(zip(names, values, strict=True)) for values in product]
        random.Random(self.seed).shuffle(found)
        return found

    @property
    def count(self) -> int:
        """Trials there will be."""
        if self.search != "grid":
            assert self.trials is not None
            return self.trials
        everything = math.prod(len(values.grid(key)) for key, values in self.space.items())
        return min(everything, self.trials or everything)

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Key path → value, of a trial's parameters."""
        return {key: self.space[key].value(parameter) for key, parameter in params.items()}

    def tree(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The stage's config with these values, as a YAML file has it."""
        return with_overrides(self.base, values)

    def config_of(self, values: Mapping[str, Any], where: str) -> Any:
        """The stage's config with these values.

        Raises:
            UserError: an unknown key, or a value out of bounds.
        """
        return stage_config(self.stage, self.tree(values), where)


def load_sweep(file: str, overrides: Sequence[str]) -> tuple[SweepConfig, str | None]:
    """Read a sweep's YAML file, or one that is shipped, and apply `key.path=value` overrides.

    Returns:
        The sweep, and the store where the file or an override names one.

    Raises:
        UserError: no such file, not YAML, or anything `check_sweep` finds.
    """
    tree = shipped.read("sweep", file, shipped.SWEEPS, "keys stage and space")
    changes = parse_overrides(overrides)
    store = changes.pop("store", tree.pop("store", None))
    config = make_config(SweepConfig, with_overrides(tree, changes), file)
    check_sweep(config, file)
    return config, store


def check_sweep(config: SweepConfig, where: str) -> None:
    """Whether the stage takes the base and every value of the space, and will give the metrics.

    Raises:
        UserError: names the key at fault, the nearest known one, or the bound.
    """
    base = config.config_of({}, f"{where}: base")
    if not hasattr(base, "loop"):
        raise UserError(f"{where}: stage {config.stage!r} trains no model")
    for key, dimension in config.space.items():
        for value in dimension.shown_values:
            config.config_of({key: value}, f"{where}: space {key}")
    if config.search == "grid":
        for params in config.combinations():
            values = config.values(params)
            config.config_of(values, f"{where}: the combination {values}")
    for metric in config.metrics:
        if metric.startswith("val.") and base.loop.validate_every is None:
            raise UserError(
                f"{where}: {metric} comes of validation; set base.loop.validate_every to the "
                "steps between two"
            )
    if config.search == "pbt":
        if base.loop.patience is not None:
            raise UserError(f"{where}: search=pbt trains all alike; set base.loop.patience=null")
        _check_population(config, base.loop.validate_every or base.loop.log_every, where)


def _check_population(config: SweepConfig, figures_every: int, where: str) -> None:
    for key in config.space:
        of_loop = key.startswith("loop.") and key[5:] in _CHANGEABLE_OF_LOOP
        if not (of_loop or key.startswith(_CHANGEABLE)):
            known = [f"loop.{name}" for name in _CHANGEABLE_OF_LOOP]
            known += [f"{prefix}…" for prefix in _CHANGEABLE]
            raise UserError(
                f"{where}: space {key}: search=pbt changes values in mid-training, and this one "
                f"must stay; it can change {', '.join(known)}"
            )
    if config.pbt.every % figures_every:
        whole = math.ceil(config.pbt.every / figures_every) * figures_every
        raise UserError(
            f"{where}: pbt.every is {config.pbt.every}, and figures come every {figures_every} "
            f"steps; set pbt.every={whole}"
        )
