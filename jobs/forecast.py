"""What a pipeline will take on a corpus of any size, from rates that were measured on a small one.

A stage takes its start, and its work: so many units, shared by so many workers, or the one
process that gathers what they make, whichever takes longer. Units go with the hours of the
corpus, samples of a training with its config. docs/scale.md says how good that is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from gestray.config import Config, make_config, read_yaml
from gestray.errors import UserError
from jobs.corpus import TAKES_A_PROCESS, processes
from jobs.pipeline import Pipeline, check_pipeline, expanded
from jobs.rates import MODELS, Rates, StageRate

EXAMPLE_PRICES = Path(__file__).with_name("prices.yaml")


class Node(Config):
    """A kind of machine, and what an hour of it costs."""

    cpus: int = Field(ge=1)
    gpus: int = Field(0, ge=0)
    memory_gb: float = Field(gt=0)
    hour: float = Field(0.0, ge=0)


class Prices(Config):
    """A file of prices: the machines there are by name, and what storage costs."""

    nodes: dict[str, Node] = Field(min_length=1)
    storage_gb_month: float = Field(0.0, ge=0)

    def cheapest(self, gpu: bool) -> tuple[str, Node]:
        """The machine for work on CPUs, or on GPUs: the cheapest an hour and processor.

        Raises:
            UserError: there is none with a GPU.
        """
        fit = {name: node for name, node in self.nodes.items() if not gpu or node.gpus}
        if not fit:
            raise UserError("a stage needs GPUs, but none of the prices' nodes has any")
        return min(
            fit.items(), key=lambda item: item[1].hour / (item[1].gpus if gpu else item[1].cpus)
        )


def read_prices(file: Path) -> Prices:
    """Prices from a YAML file such as `EXAMPLE_PRICES`.

    Raises:
        UserError: there is none, or it is no file of prices.
    """
    tree = read_yaml(file)
    return make_config(Prices, tree if isinstance(tree, dict) else {"nodes": tree}, str(file))


@dataclass(frozen=True)
class StageForecast:
    """What one stage will take.

    Attributes:
        units: of work; `driver` says that gathering limits it and more workers would not help.
        workers: processes that share the work; GPUs where `gpu`.
        node, nodes: the kind of machine and how many.
        written: bytes.
        passes: over the training data, where the config's steps do not go with the corpus.
    """

    name: str
    stage: str
    unit: str
    units: float
    workers: int
    start_s: float
    seconds: float
    driver: bool
    gpu: bool
    node: str
    nodes: int
    written: float
    price: float
    passes: float | None = None


@dataclass(frozen=True)
class Limit:
    """What does not fit a machine any more."""

    what: str
    needs_gb: float
    has_gb: float
    remedy: str


@dataclass(frozen=True)
class Forecast:
    """What a pipeline will take on `hours` of recordings, one stage after the other."""

    hours: float
    stages: tuple[StageForecast, ...]
    storage_month: float
    limits: tuple[Limit, ...] = field(default=())

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def bottleneck(self) -> StageForecast:
        """The stage that takes longest."""
        return max(self.stages, key=lambda stage: stage.seconds)

    def as_json(self) -> dict[str, Any]:
        hours = {
            f"{kind}_hours": sum(s.workers * s.seconds for s in self.stages if s.gpu == gpu) / 3600
            for kind, gpu in (("cpu", False), ("gpu", True))
        }
        return {
            "hours": self.hours,
            "seconds": self.seconds,
            **hours,
            "storage_gb": sum(stage.written for stage in self.stages) / 1e9,
            "price": sum(stage.price for stage in self.stages),
            "storage_price_month": self.storage_month,
            "bottleneck": self.bottleneck.name,
            "limits": [asdict(limit) for limit in self.limits],
            "stages": [asdict(stage) for stage in self.stages],
        }


def forecast(
    pipeline: Pipeline,
    rates: Rates,
    prices: Prices,
    hours: float | None = None,
    workers: int | None = None,
    epochs: float | None = None,
) -> Forecast:
    """What a pipeline will take.

    Args:
        hours: of recordings; those of the corpus that rates were measured on a part of.
        workers: of every stage; otherwise as its config says.
        epochs: passes of every training over its data; otherwise steps as its config says.

    Raises:
        UserError: nothing was measured of one of its stages.
    """
    hours = hours or rates.corpus_hours
    configs = check_pipeline(pipeline)
    stages = []
    for stage in expanded(pipeline):
        rate = rates.of(stage.name, stage.stage)
        if rate is None:
            known = ", ".join(sorted({rate.stage for rate in rates.stages}))
            raise UserError(
                f"stage {stage.name}: the rates have no {stage.stage}; they have {known}. "
                "Measure this pipeline with `gestray plan calibrate`"
            )
        config = configs[stage.name]
        stages.append(_stage(stage.name, rate, config, rates, prices, hours, workers, epochs))
    written = sum(stage.written for stage in stages)
    limits = _limits(rates, prices, hours)
    return Forecast(hours, tuple(stages), written / 1e9 * prices.storage_gb_month, limits)


def _stage(
    name: str,
    rate: StageRate,
    config: Any,
    rates: Rates,
    prices: Prices,
    hours: float,
    workers: int | None,
    epochs: float | None,
) -> StageForecast:
    larger = hours / rates.hours
    loop = getattr(config, "loop", None)
    gpu = _on_gpu(config, rates)
    count = workers or _workers(config, rate, larger)
    # Processes beyond the cores of a machine that was measured as a whole share them.
    if workers is None and not gpu:
        count = min(count, max(rates.cpus, rate.workers))
    passes, first_pass = None, 0.0
    start_s, units = rate.start_s, rate.units * larger
    if loop is not None:
        samples = (rate.whole or 0.0) * larger
        units = epochs * samples if epochs is not None else loop.steps * loop.batch_size
        passes = units / samples if samples else None
        first_pass = min(units, samples)
    elif rate.stage == "corpus.synth":
        # A process takes as long to start as for about so many takes.
        start_s += TAKES_A_PROCESS * rate.unit_s if processes(round(units)) > rate.workers else 0
    shared = (rate.unit_s * units + rate.first_s * first_pass) / count
    gathered = rate.driver_s * units
    # What did not tell its work from its start is taken to be work; of a training, of its steps.
    whole = rate.start_s * (larger if loop is None else 1.0)
    seconds = start_s + max(shared, gathered) if rate.unit else whole
    kind, node = prices.cheapest(gpu)
    nodes = math.ceil(count / (node.gpus if gpu else node.cpus))
    grows = 1.0 if _makes_model(rate) else larger
    return StageForecast(
        name=name,
        stage=rate.stage,
        unit=rate.unit,
        units=units,
        workers=count,
        start_s=start_s,
        seconds=seconds,
        driver=gathered > shared,
        gpu=gpu,
        node=kind,
        nodes=nodes,
        written=rate.written * grows,
        price=seconds / 3600 * nodes * node.hour,
        passes=passes,
    )


def _makes_model(rate: StageRate) -> bool:
    """Whether what the stage writes is as large for any corpus."""
    from jobs.stages import stage_named

    return stage_named(rate.stage).makes in MODELS


def _workers(config: Any, rate: StageRate, larger: float) -> int:
    """Processes that a stage of this config shares its work among."""
    if (loop := getattr(config, "loop", None)) is not None:
        return loop.compute.workers
    if (actors := getattr(config, "actors", None)) is not None and rate.unit:
        return actors
    if rate.stage == "corpus.synth":
        return processes(round(rate.units * larger))
    if rate.stage.startswith("ingest."):
        shards = math.ceil(rate.written * larger / (config.shard_mb * 1e6))
        return max(1, shards)
    return rate.workers


def _on_gpu(config: Any, rates: Rates) -> bool:
    """Whether a stage takes GPUs: where it says so, or takes what there is."""
    if (loop := getattr(config, "loop", None)) is not None:
        device = loop.compute.device
    elif getattr(config, "grounder", "") == "vllm":
        device = config.vllm.device
    else:
        return False
    return device == "gpu" or (device == "auto" and rates.gpus > 0)


def _limits(rates: Rates, prices: Prices, hours: float) -> tuple[Limit, ...]:
    """What one process must hold, and the largest machine cannot."""
    larger, most = hours / rates.hours, max(node.memory_gb for node in prices.nodes.values())
    needs = {
        "the catalogue of takes, in every driver and rank": (
            rates.catalog,
            "split the corpus into several takes artifacts, or use nodes with more memory",
        )
    }
    for rate in rates.stages:
        if rate.memory:
            needs[f"rows of {rate.name}, in the driver of the stage that reads them"] = (
                rate.memory,
                "split the corpus, or use a head with more memory",
            )
        if rate.stage == "index.build":
            needs[f"the index {rate.name}, in every replica"] = (
                rate.written,
                "an index for each part of the corpus, or a machine with more memory",
            )
    return tuple(
        Limit(what, round(size * larger / 1e9, 1), most, remedy)
        for what, (size, remedy) in needs.items()
        if size * larger / 1e9 > most
    )


def compared(forecasts: Sequence[Forecast]) -> list[Mapping[str, Any]]:
    """The sums of several forecasts, for a table of corpora side by side."""
    kept = ("hours", "seconds", "cpu_hours", "gpu_hours", "storage_gb", "price", "bottleneck")
    trees = [forecast.as_json() for forecast in forecasts]
    return [{name: tree[name] for name in kept} | {"limits": tree["limits"]} for tree in trees]
