"""What a run reads, settled before it starts: the order of its samples, and its validation."""

from __future__ import annotations

from dataclasses import dataclass

from gestray.store import Folder
from gestray.training.config import LoopConfig
from gestray.training.task import Task
from gestray.training.validation import SPLIT, ValidationData, validation_chunks
from gestray.views.batching import BatchPlan
from gestray.views.catalog import read_catalog
from gestray.views.stream import SampleStream


@dataclass(frozen=True)
class TrainingData:
    """What a run reads, settled before it starts.

    Args:
        stream: the training samples in their order; its batches are the micro-batches.
        validation: what is validated on, where the config asks for it.
    """

    stream: SampleStream
    validation: ValidationData | None


def training_data(task: Task, config: LoopConfig, takes: Folder) -> TrainingData:
    """The task's samples of a `takes` artifact, in the order the config's seed gives.

    Raises:
        UserError: the corpus has no sample for this task, or none to validate on.
    """
    catalog = tuple(read_catalog(takes))
    size = config.batch_size // config.accumulate

    def stream(split: str, batch_size: int, lanes: int, by_length: bool = False) -> SampleStream:
        view = task.view(split)
        counts = tuple(view.count(ref) for ref in catalog)
        lengths = tuple(tuple(view.lengths(ref)) for ref in catalog) if by_length else None
        plan = BatchPlan(counts, batch_size, lanes, config.seed, lengths=lengths)
        return SampleStream(takes, catalog, view, plan)

    validation = None
    if config.validate_every is not None:
        view = task.view(SPLIT)
        counts = tuple(view.count(ref) for ref in catalog)
        chunks = validation_chunks(counts, size, config.validate_batches, config.seed)
        validation = ValidationData(stream(SPLIT, 1, 1), chunks)
    return TrainingData(stream("train", size, config.lanes, config.by_length), validation)
