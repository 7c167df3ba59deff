"""The mind of a sweep: which trial comes next, which goes on, and what is remembered of each.

All that a study knows lies in one JSON file a trial, written whenever it learns something, so
a sweep that was killed goes on from there: Optuna, which draws values and ranks trials, is told
everything anew. Ray Tune would run trials as well, but restores a sweep by unpickling
its store, and its ASHA forgets what it has seen.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from gestray.artifacts import StageResult
from gestray.store import Folder
from jobs.sweeps.config import Dimension, SweepConfig
from jobs.sweeps.records import (
    RECORD,
    Record,
    State,
    final_values,
    kept_figures,
    read_records,
    trial_folder,
)

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Assignment:
    """What a process is to do: a trial, from where it is up to a step.

    Args:
        values: key path → value of the stage's config.
        until: the last step; None: to its end.
        source: a trial and a step whose checkpoint it starts from in place of its own.
    """

    number: int
    values: dict[str, Any]
    until: int | None = None
    source: tuple[int, int] | None = None


class Study:
    """Trials one after another; `jobs.sweeps.population` has those that live together.

    Args:
        config: the sweep.
        folder: of the study; a trial's files lie in `folder_of`.
    """

    def __init__(self, config: SweepConfig, folder: Folder) -> None:
        self.config, self.folder = config, folder
        self.loop = config.config_of({}, "base").loop
        self.metric, self.mode = next(iter(config.metrics.items()))
        self.records = read_records(folder)
        self._in_work: dict[int, float] = {}
        self._study = self._told_anew()

    def next(self) -> Assignment | None:
        """The next trial to run, now in work; None: nothing to begin now."""
        for record in self.records:
            if record.state == "running" and record.number not in self._in_work:
                return self._assigned(record)
        if len(self.records) >= self.config.count or self.is_spent:
            return None
        record = Record(number=len(self.records), params=self._draw(len(self.records)))
        self.records.append(record)
        self._write(record)
        return self._assigned(record)

    def report(
        self, number: int, step: int, figures: dict[str, float], seconds: float
    ) -> str | None:
        """A trial's figures at a step, after so many seconds of this attempt.

        Returns:
            Why it must stop, or None.
        """
        record = self.records[number]
        record.figures[step] = figures
        self._in_work[number] = seconds
        why = "out of budget" if self.is_spent else None
        if why is None and len(self.config.metrics) == 1:
            trial = self._trial(number)
            trial.report(self._value(record, step), step)
            if trial.should_prune() and step < self.loop.steps:
                why = "behind others"
            record.rungs = dict(self._frozen(number).system_attrs)
        self._write(record)
        return why

    def end(
        self,
        number: int,
        seconds: float,
        state: State,
        why: str | None = None,
        result: StageResult | None = None,
    ) -> None:
        """A process is done with a trial, which is complete, stopped, failed or gone on with."""
        record = self.records[number]
        self._in_work.pop(number, None)
        record.seconds += seconds
        record.state, record.why, record.result = state, why, result
        self._write(record)
        self._tell(record)

    def lost(self, number: int, why: str) -> None:
        """The process of a trial was lost, or something but the trial failed."""
        record = self.records[number]
        seconds = self._in_work.get(number, 0.0)
        record.failures += 1
        gone_on_with = record.failures <= self.config.max_failures
        self.end(number, seconds, "running" if gone_on_with else "failed", why)

    def all_records(self) -> list[Record]:
        """Every trial so far."""
        return self.records

    @property
    def is_spent(self) -> bool:
        """Whether the budget is."""
        if self.config.budget_hours is None:
            return False
        return self.spent_hours() >= self.config.budget_hours

    def spent_hours(self) -> float:
        """Of GPUs, or of CPUs where a trial holds no GPU."""
        held = self.config.resources
        seconds = sum(record.seconds for record in self.records) + sum(self._in_work.values())
        return seconds * (held.gpus or held.cpus) / 3600

    def folder_of(self, number: int) -> Folder:
        return trial_folder(self.folder, number)

    def _assigned(self, record: Record) -> Assignment:
        self._in_work[record.number] = 0.0
        return Assignment(record.number, self.config.values(record.params))

    def _write(self, record: Record) -> None:
        data = record.model_dump_json(indent=1).encode()
        self.folder_of(record.number).write_bytes(data, RECORD)

    # Optuna's side.

    def _draw(self, number: int) -> dict[str, Any]:
        """Parameters of a new trial: a function of the seed, its number and what is known."""
        study = self._study
        if self.config.search == "grid":
            study.enqueue_trial(self.config.combinations()[number])
        study.sampler = _sampler(self.config, number)
        return study.ask(_distributions(self.config)).params

    def _trial(self, number: int) -> optuna.Trial:
        import optuna

        return optuna.Trial(self._study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _value(self, record: Record, step: int) -> float:
        """What the first metric would be, were the trial to end at this step."""
        return kept_figures(record, self.loop.keep, step)[self.metric]

    def _tell(self, record: Record) -> None:
        from optuna.trial import TrialState

        if record.state == "running":
            return
        states = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
        state = states.get(record.state, TrialState.FAIL)
        values = final_values(record, self.config, self.loop.keep)
        if state == TrialState.COMPLETE and values is None:
            state = TrialState.FAIL
        told = values if state == TrialState.COMPLETE else None
        self._study.tell(record.number, told, state)

    def _told_anew(self) -> optuna.Study:
        """A study that knows all records."""
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        first = self.config.asha.first or self.loop.validate_every or self.loop.log_every
        asha = self.config.scheduler == "asha"
        study = optuna.create_study(
            directions=[_direction(mode) for mode in self.config.metrics.values()],
            pruner=optuna.pruners.SuccessiveHalvingPruner(first, self.config.asha.factor)
            if asha
            else optuna.pruners.NopPruner(),
        )
        single = len(self.config.metrics) == 1
        for record in self.records:
            study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.RUNNING,
                    params=record.params,
                    distributions=_distributions(self.config),
                    system_attrs=record.rungs,
                    intermediate_values={
                        step: self._value(record, step) for step in sorted(record.figures)
                    }
                    if single
                    else None,
                )
            )
        self._study = study
        for record in self.records:
            self._tell(record)
        return study


def importances_of(config: SweepConfig, records: list[Record]) -> tuple[int, dict[str, float]]:
    """How much each key decides the first metric, as shares of one, and at which step.

    By PED-ANOVA (Watanabe et al. 2023) at the last step that all trials with figures have
    reached: trials that were stopped early count like the others.
    """
    import optuna

    metric, mode = next(iter(config.metrics.items()))
    usable = [r for r in records if r.figures and not r.changes]
    common = set.intersection(*(set(r.figures) for r in usable)) if usable else set()
    if len(config.space) < 2 or len(usable) < 4 or not common:
        return 0, {}
    step = max(common)
    study = optuna.create_study(direction=_direction(mode))
    for record in usable:
        value = record.figures[step][metric]
        if math.isfinite(value):
            study.add_trial(
                optuna.trial.create_trial(
                    params=record.params, distributions=_distributions(config), value=value
                )
            )
    if len({trial.value for trial in study.trials}) < 2:
        return 0, {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return step, optuna.importance.get_param_importances(study, evaluator=evaluator)


def _direction(mode: str) -> Literal["minimize", "maximize"]:
    return cast(Literal["minimize", "maximize"], f"{mode}imize")


def _distributions(config: SweepConfig) -> dict[str, Any]:
    return {key: _distribution(dimension) for key, dimension in config.space.items()}


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if dimension.choice is not None:
        return CategoricalDistribution(tuple(range(len(dimension.choice))))
    low, high = dimension.ends
    if dimension.is_whole:
        return IntDistribution(int(low), int(high), log=dimension.is_log)
    return FloatDistribution(low, high, log=dimension.is_log)


def _sampler(config: SweepConfig, number: int) -> Any:
    """Seeded by the trial: a study that goes on draws what it would have drawn."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = seed_of(config.seed, number)
    if config.search == "tpe":
        return TPESampler(seed=seed, multivariate=True)
    return RandomSampler(seed)


def seed_of(*parts: int) -> int:
    """A seed from several numbers."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "little")
