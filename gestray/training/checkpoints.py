"""Checkpoints of one run in its store: written behind its back, whole or not at all.

A checkpoint is a folder `step-00000100`, whole once it holds `state.json`, which
is written last. A run goes on from the newest whole one, whatever killed it,
and whether Ray ran it or not: nothing else is remembered anywhere.

Ray Train's own bookkeeping is not used. It takes an upload that fails for the
end of the run, keeps the last n checkpoints or the best n but not every k-th, and
writes what it remembers without a second attempt.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import STATE, TrainingState

CHECKPOINTS = "checkpoints"

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8,})")


class Checkpoints:
    """The checkpoints of a run, in time order.

    An upload runs in a thread while training goes on; the next one waits for it, so
    that no more than two are on this machine. One that fails after the store's own
    attempts is given up with a warning: the one before it is there still.

    Args:
        folder: where they lie.
        keep: the newest ones kept.
        keep_every: steps; a checkpoint of a multiple of them stays as well.
        warn: told what went wrong without being the run's end.
    """

    def __init__(
        self,
        folder: Folder,
        keep: int = 2,
        keep_every: int | None = None,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self.folder, self.keep, self.keep_every, self.warn = folder, keep, keep_every, warn
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint-upload")
        self._pending: Future[None] | None = None

    def latest(self) -> int | None:
        """Steps done at the newest whole checkpoint; None where there is none."""
        whole = (step for step in reversed(self._steps()) if self._of(step).exists(STATE))
        return next(whole, None)

    def load(self, step: int, state: TrainingState) -> None:
        """Restore the state of the checkpoint of a step."""
        with tempfile.TemporaryDirectory(prefix="gestray-checkpoint-") as folder:
            state.load(self._of(step).download(Path(folder)))

    def save(self, state: TrainingState, last: bool = False) -> None:
        """Begin to write a checkpoint of the state as it is now.

        Args:
            last: the run's end: return when it is safe, and let a failure be known.

        Raises:
            OSError: `last`, and the store did not take it.
        """
        self.wait()
        local = tempfile.TemporaryDirectory(prefix="gestray-checkpoint-")
        state.save(Path(local.name))
        self._pending = self._thread.submit(self._upload, local, state.step)
        if last:
            self._pending.result()
            self._pending = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._thread.shutdown()

    def clean(self) -> None:
        """Delete all but those that stay for good."""
        steps = self._steps()
        stay = [step for step in steps if self._stays(step)]
        self._prune([step for step in steps if step not in stay])
        if not stay:
            self.folder.delete()

    def wait(self) -> None:
        """Until nothing is being written; a failure is a warning."""
        if self._pending is None:
            return
        try:
            self._pending.result()
        except OSError as error:
            self.warn(
                f"a checkpoint could not be written to {self.folder.uri}; training goes on, and "
                f"the next one will be tried: {error}"
            )
        self._pending = None

    def _upload(self, local: tempfile.TemporaryDirectory[str], step: int) -> None:
        target = self._of(step)
        with local:
            files = sorted(Path(local.name).iterdir(), key=lambda file: file.name == STATE)
            for file in files:
                target.write_bytes(file.read_bytes(), file.name)
        older = [other for other in self._steps() if other < step]
        newest = older[1 - self.keep :] if self.keep > 1 else []
        self._prune([other for other in older if not (self._stays(other) or other in newest)])

    def _prune(self, steps: list[int]) -> None:
        for step in steps:
            try:
                self._of(step).delete()
            except OSError as error:
                self.warn(f"an old checkpoint could not be deleted: {error}")

    def _stays(self, step: int) -> bool:
        return self.keep_every is not None and step % self.keep_every == 0

    def _of(self, step: int) -> Folder:
        return _checkpoint(self.folder, step)

    def _steps(self) -> list[int]:
        names = (_NAME.fullmatch(path.rsplit("/", 1)[-1]) for path in self.folder.list())
        return sorted(int(name[1]) for name in names if name)


def copy_checkpoint(source: Folder, target: Folder, step: int) -> None:
    """Give a run the checkpoint of another, in place of all it had.

    Raises:
        UserError: the other has no whole checkpoint of that step.
    """
    found = _checkpoint(source, step)
    if not found.exists(STATE):
        raise UserError(f"{found.uri}: found no whole checkpoint there to go on from")
    with tempfile.TemporaryDirectory(prefix="gestray-checkpoint-") as local:
        files = found.download(Path(local))
        target.delete()
        for file in sorted(files.iterdir(), key=lambda file: file.name == STATE):
            _checkpoint(target, step).write_bytes(file.read_bytes(), file.name)


def _checkpoint(folder: Folder, step: int) -> Folder:
    return folder.child(f"step-{step:08d}")
