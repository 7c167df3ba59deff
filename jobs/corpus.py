"""The synthetic corpus as a stage, so that a pipeline can start from nothing."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pydantic import Field
from rich.table import Table

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.corpora.synthetic import CorpusSummary, write_corpus
from gestray.work import Work, note
from jobs.display import metrics_table, progress
from jobs.side_by_side import usable_cores


class SynthConfig(Config):
    """What `gestray corpus synth` writes."""

    takes: int = Field(64, ge=1)
    seconds: float = Field(45.0, ge=10)
    seed: int = 0
    speech: bool = False


# A process takes as long to start as for about so many takes.
TAKES_A_PROCESS = 16


def processes(takes: int) -> int:
    """How many processes to make `takes` takes in: one a usable CPU, where that pays."""
    return min(usable_cores(), max(takes // TAKES_A_PROCESS, 1))


def _run(run: StageRun[SynthConfig]) -> StageResult:
    config = run.config
    told: list[tuple[int, float]] = []
    with progress("write corpus", config.takes) as track:

        def tell(done: int, _: int) -> None:
            told.append((done, time.perf_counter()))
            track(done)

        def write(folder: Path) -> StageResult:
            summary = write_corpus(
                folder,
                config.takes,
                config.seed,
                config.seconds,
                config.speech,
                processes(config.takes),
                tell,
            )
            _note(told, processes(config.takes))
            metrics = {
                "hours": summary.seconds / 3600,
                "phrases": summary.phrases,
                "semantic_gestures": summary.semantic_gestures,
                "beats": summary.beats,
                "plain_share": summary.plain_share,
                "speakers": summary.speakers,
            }
            return StageResult(summary.takes, summary.takes, 0, metrics)

        if run.folder.is_local:
            return write(Path(run.folder.uri))
        with tempfile.TemporaryDirectory(prefix="gestray-corpus-") as folder:
            result = write(Path(folder))
            run.folder.upload(Path(folder))
            return result


def _note(told: list[tuple[int, float]], workers: int) -> None:
    """Of the first take on: what came before was the start of the processes."""
    (first, began), (last, ended) = told[0], told[-1]
    if last > first:
        busy_s = (ended - began) * workers
        note(Work(unit="takes", units=last - first, workers=workers, busy_s=busy_s))


def summary_tables(summary: CorpusSummary) -> list[Table]:
    """What was written, for people: the whole, and the gesture types by frequency."""
    figures: dict[str, object] = {
        "takes": summary.takes,
        "splits": ", ".join(f"{count} {name}" for name, count in summary.splits.items()),
        "hours": summary.seconds / 3600,
        "speakers": summary.speakers,
        "utterances": summary.phrases,
        "of these": ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items()),
        "semantic gestures": summary.semantic_gestures,
        "groups of beats": summary.beats,
        "speaking time, hours": summary.speaking_s / 3600,
        "… in utterances with beats or no gesture": f"{summary.plain_share:.1%}",
        "… outside of semantic strokes": f"{summary.outside_strokes_share:.1%}",
        "gesture types": f"{sum(map(bool, summary.types.values()))} of {len(summary.types)}",
        "… in training takes": summary.train_types,
    }
    types = Table(title="semantic gestures by type", title_justify="left", show_header=False)
    columns = 4
    for _ in range(columns):
        types.add_column(style="dim")
        types.add_column(justify="right")
    by_count = sorted(summary.types.items(), key=lambda item: -item[1])
    rows = -(-len(by_count) // columns)
    for row in range(rows):
        cells = by_count[row::rows]
        types.add_row(*(cell for name, count in cells for cell in (name, str(count))))
    return [metrics_table("synthetic corpus", figures), types]


SYNTH = Stage(name="corpus.synth", makes="corpus", config_type=SynthConfig, run=_run)
