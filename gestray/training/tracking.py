"""The log of a run, told to what people look at runs with: TensorBoard, MLflow, Weights & Biases.

`log.jsonl` is always written; these come on top, by `loop.track`. Each is imported when it is
asked for and goes where its own environment says: `runs/` or `GESTRAY_TENSORBOARD`,
`MLFLOW_TRACKING_URI`, `WANDB_DIR` and `WANDB_MODE`. They are told figures, the config and the
run's name. Configs hold no credentials, and nothing of the environment is told.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from gestray.config import Config, digest
from gestray.errors import UserError

_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


class Tracker(Protocol):
    """Is told each row of a run's log; a run that is gone on with may tell some again."""

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures after a step."""

    def end(self, whole: bool) -> None:
        """The run is over; `whole`: it ended well."""


@contextmanager
def tracked(names: tuple[str, ...], run: str, uri: str, config: Config) -> Iterator[Any]:
    """A function that tells rows to all trackers named; used once a run.

    Args:
        names: of `loop.track`.
        run: name that people read.
        uri: of what is made; the same run, gone on with, has the same.
        config: of the training.

    Raises:
        UserError: the package of one is not installed.
    """
    check_trackers(names)
    trackers = [_MAKERS[name](run, uri, config) for name in names]

    def tell(row: Mapping[str, Any]) -> None:
        figures = {key: float(value) for key, value in row.items() if key != "step"}
        for tracker in trackers:
            tracker.row(row["step"], figures)

    whole = False
    try:
        yield tell
        whole = True
    finally:
        with ExitStack() as ends:
            for tracker in trackers:
                ends.callback(tracker.end, whole)


def check_trackers(names: tuple[str, ...]) -> None:
    """Whether all are installed.

    Raises:
        UserError: says which extra to install.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise UserError(
                f"loop.track asks for {name}, which is not installed: pip install 'gestray[{name}]'"
            )


class TensorBoard:
    """Event files in `{runs}/{run}`."""

    def __init__(self, run: str, uri: str, config: Config) -> None:
        from tensorboardX import SummaryWriter

        folder = Path(os.environ.get("GESTRAY_TENSORBOARD", "runs")) / run
        # Its files are named by the second: a run gone on with in the same one would overwrite.
        suffix = f".{uuid4().hex[:8]}"
        self.writer = SummaryWriter(str(folder), flush_secs=10, filename_suffix=suffix)
        self.writer.add_text("config", f"```json\n{config.model_dump_json(indent=2)}\n```")

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name.replace(".", "/"), value, step)

    def end(self, whole: bool) -> None:
        self.writer.close()


class MLflow:
    """A run of the experiment ``gestray``, or of `MLFLOW_EXPERIMENT_NAME`."""

    def __init__(self, run: str, uri: str, config: Config) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self._metric = Metric
        self.client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "gestray")
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        known = self.client.search_runs([number], f"tags.`gestray.uri` = '{uri}'", max_results=1)
        if known:
            self.run = known[0].info.run_id
            self.client.update_run(self.run, "RUNNING")
            return
        tags = {"gestray.uri": uri}
        self.run = self.client.create_run(number, tags=tags, run_name=run).info.run_id
        for key, value in flat(config.model_dump(mode="json")).items():
            self.client.log_param(self.run, key, value)

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        import time

        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step) for name, value in figures.items()]
        self.client.log_batch(self.run, metrics=metrics)

    def end(self, whole: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if whole else "FAILED")


class WandB:
    """A run of the project ``gestray``, or of `WANDB_PROJECT`."""

    def __init__(self, run: str, uri: str, config: Config) -> None:
        import wandb

        settings = wandb.Settings(
            console="off", disable_code=True, disable_git=True, x_disable_meta=True
        )
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gestray"),
            name=run,
            id=digest(uri),
            resume="allow",
            config=flat(config.model_dump(mode="json")),
            settings=settings,
        )

    def row(self, step: int, figures: Mapping[str, float]) -> None:
        self.run.log(dict(figures), step=step)

    def end(self, whole: bool) -> None:
        self.run.finish(exit_code=0 if whole else 1)


_MAKERS: dict[str, Any] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
