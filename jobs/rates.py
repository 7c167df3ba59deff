"""What each stage of a pipeline took, told apart into its start and its work: a file of rates.

They come from any artifacts of the pipeline, whose manifests hold what was measured
(`gestray.work`); `gestray plan calibrate` makes such artifacts of a part of a corpus.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from pydantic import Field

from gestray.artifacts import Artifact
from gestray.config import Config, make_config, read_yaml
from gestray.errors import UserError
from gestray.store import Folder
from gestray.work import Work
from jobs.rows import ROWS
from jobs.side_by_side import usable_cores

#: Artifacts whose size does not go with the corpus.
MODELS = frozenset({"tokenizer", "encoder", "generator", "evaluation", "fgd", "sweep"})


class StageRate(Config):
    """What a stage took.

    Args:
        start_s: until it works, and after it has: what does not grow with the corpus.
        unit: of its work: takes, rows, or samples of a training.
        units: of the whole stage. 0: it did not tell its work from its start.
        whole: units of one pass over the data, of a training.
        unit_s: of one worker for one unit.
        first_s: of one worker for one unit beyond that, in a training's first pass over the data.
        driver_s: of the process that gathers what workers make, for one unit.
        workers: that worked at the same time.
        written: bytes of its artifact.
        memory: bytes of its rows in memory, where it has any.
    """

    name: str
    stage: str
    start_s: float = Field(ge=0)
    unit: str = ""
    units: float = Field(0.0, ge=0)
    whole: float | None = Field(None, gt=0)
    unit_s: float = Field(0.0, ge=0)
    first_s: float = Field(0.0, ge=0)
    driver_s: float = Field(0.0, ge=0)
    workers: int = Field(1, ge=1)
    written: int = Field(ge=0)
    memory: int = Field(0, ge=0)


class Rates(Config):
    """A file of rates.

    Args:
        measured: when.
        machine: where, in words.
        cpus, gpus: that the machine has.
        hours: of recordings that the stages saw.
        corpus_hours: of the corpus that these were a part of.
        catalog: bytes that the catalogue of these recordings takes in memory.
        stages: in the pipeline's order.
    """

    measured: str
    machine: str
    cpus: int = Field(ge=1)
    gpus: int = Field(0, ge=0)
    hours: float = Field(gt=0)
    corpus_hours: float = Field(gt=0)
    catalog: int = Field(0, ge=0)
    stages: tuple[StageRate, ...]

    def of(self, name: str, stage: str) -> StageRate | None:
        """The rate of a pipeline's stage: by its name, or of the first that does the same."""
        same = [rate for rate in self.stages if rate.stage == stage]
        return next((rate for rate in same if rate.name == name), same[0] if same else None)


def read_rates(file: Path) -> Rates:
    """The rates of a file that `write_rates` wrote.

    Raises:
        UserError: there is none, or it is no file of rates.
    """
    tree = read_yaml(file, "; make it with `gestray plan calibrate`")
    return make_config(Rates, tree if isinstance(tree, dict) else {"stages": tree}, str(file))


def write_rates(rates: Rates, file: Path) -> None:
    """Write a file that people can read and mend."""
    head = "# What stages took, for `gestray plan PIPELINE --rates` (see docs/scale.md).\n"
    tree = rates.model_dump(mode="json")
    file.write_text(head + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def rates_of(artifacts: Sequence[Artifact], share: float = 1.0) -> Rates:
    """What the artifacts of a pipeline say of its stages.

    Args:
        artifacts: of one run of a pipeline, in its order.
        share: of the corpus that its takes are.

    Raises:
        UserError: none of them are takes, so that nothing says of how much the others are.
    """
    takes = [artifact for artifact in artifacts if artifact.manifest.kind == "takes"]
    if not takes:
        raise UserError("found no takes among the artifacts, expected the ones of a whole pipeline")
    hours = takes[0].manifest.metrics["motion_hours"]
    return Rates(
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {platform.processor() or 'CPU'}",
        cpus=usable_cores(),
        gpus=_gpus(),
        hours=hours,
        corpus_hours=hours / share,
        catalog=_catalog_bytes(takes[0].folder),
        stages=tuple(_rate(artifact) for artifact in artifacts),
    )


def _rate(artifact: Artifact) -> StageRate:
    manifest = artifact.manifest
    values: dict[str, Any] = {
        "name": manifest.name,
        "stage": manifest.stage,
        "start_s": round(manifest.seconds, 3),
        "written": _bytes(artifact.folder),
        "memory": _row_bytes(artifact.folder),
    }
    if manifest.work:
        [work] = manifest.work
        values |= {
            "start_s": round(max(0.0, manifest.seconds - work.seconds), 3),
            "unit": work.unit,
            "units": _all_units(artifact, work),
            "whole": work.whole,
            "unit_s": float(f"{work.busy_s / work.units:.4g}"),
            "first_s": float(f"{work.first_s / work.whole:.4g}") if work.whole else 0.0,
            "driver_s": float(f"{work.driver_s / work.units:.4g}"),
            "workers": work.workers,
        }
    return StageRate(**values)


def _all_units(artifact: Artifact, work: Work) -> float:
    """Of the whole stage: the first ones may have gone into its start."""
    if work.unit == "samples":
        return work.units
    return max(work.units, artifact.manifest.rows_in)


def _bytes(folder: Folder) -> int:
    import pyarrow.fs as pafs

    selector = pafs.FileSelector(folder.path(), recursive=True)
    return sum(info.size or 0 for info in folder.filesystem.get_file_info(selector))


def _row_bytes(folder: Folder) -> int:
    if not folder.exists(ROWS):
        return 0
    found = pq.read_metadata(folder.path(ROWS), filesystem=folder.filesystem)
    return sum(found.row_group(n).total_byte_size for n in range(found.num_row_groups))


def _catalog_bytes(takes: Folder) -> int:
    """What `read_catalog` holds, which every stage that reads takes has in its driver."""
    import tracemalloc

    from gestray.views.catalog import read_catalog

    tracemalloc.start()
    catalog = read_catalog(takes)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del catalog
    return held


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
