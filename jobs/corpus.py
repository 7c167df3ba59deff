"""The synthetic corpus as a stage, so that a pipeline can start from nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.corpora.synthetic import write_corpus
from jobs.display import progress


class SynthConfig(Config):
    """What `gestray corpus synth` writes."""

    takes: int = Field(64, ge=1)
    seconds: float = Field(45.0, ge=10)
    seed: int = 0


def _run(run: StageRun[SynthConfig]) -> StageResult:
    config = run.config
    with progress("write corpus", config.takes) as track:

        def write(folder: Path) -> StageResult:
            summary = write_corpus(
                folder, config.takes, config.seed, config.seconds, lambda done, _: track(done)
            )
            metrics = {
                "hours": summary.seconds / 3600,
                "phrases": summary.phrases,
                "semantic_gestures": summary.semantic_gestures,
                "speakers": summary.speakers,
            }
            return StageResult(summary.takes, summary.takes, 0, metrics)

        if run.folder.is_local:
            return write(Path(run.folder.uri))
        with tempfile.TemporaryDirectory(prefix="gestray-corpus-") as folder:
            result = write(Path(folder))
            run.folder.upload(Path(folder))
            return result


SYNTH = Stage(name="corpus.synth", makes="corpus", config_type=SynthConfig, run=_run)
