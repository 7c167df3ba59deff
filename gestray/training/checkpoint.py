"""Models and the state of a training as safetensors and JSON: no pickle is ever written or read.

Randomness is no part of the state: the loop seeds it anew from (seed, step, rank)
at every step. Nor is the place in the data: it follows from the step. Where
checkpoints lie, and which of them stay, is `gestray.training.checkpoints`' matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gestray.config import Config, ConfigT, make_config
from gestray.errors import UserError
from gestray.store import Folder

MODEL = "model.safetensors"
CONFIG = "config.json"
STATE = "state.json"
_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "average.safetensors"
_BEST = "best.safetensors"

M = TypeVar("M", bound=nn.Module)


@dataclass
class TrainingState:
    """All that a training has become, and all that it needs to go on.

    Args:
        model: as it learns.
        optimizers: between them of all weights, each weight in one.
        average: moving average of the model's weights, where there is one.
        step: steps done.
        log: rows logged.
        best_loss: least validation loss so far.
        best: weights that had it, where they are kept.
        stale: validations since then.
        stopped: whether training has ended before its last step.
    """

    model: nn.Module
    optimizers: tuple[torch.optim.Optimizer, ...]
    average: AveragedModel | None = None
    step: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float | None = None
    best: dict[str, Tensor] | None = None
    stale: int = 0
    stopped: bool = False

    @property
    def candidate(self) -> nn.Module:
        """The model as it would be kept now: the average, where there is one."""
        return self.model if self.average is None else self.average.module

    def save(self, folder: Path) -> None:
        """Write everything to files in a local folder."""
        save_model(folder / MODEL, self.model)
        flat, scalars = {}, {}
        for first, optimizer in self._numbered():
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    name = f"{first + index}.{key}"
                    if isinstance(value, Tensor):
                        flat[name] = value.contiguous()
                    else:
                        scalars[name] = value
        save_file(flat, folder / _OPTIMIZER)
        if self.average is not None:
            save_model(folder / _AVERAGE, self.average)
        if self.best is not None:
            save_file(self.best, folder / _BEST)
        values = {name: getattr(self, name) for name in _PLAIN}
        (folder / STATE).write_text(json.dumps({**values, "optimizer_scalars": scalars}))

    def _numbered(self) -> Iterator[tuple[int, torch.optim.Optimizer]]:
        """Each optimiser with the number that its first weight has among all of them."""
        first = 0
        for optimizer in self.optimizers:
            yield first, optimizer
            first += sum(len(group["params"]) for group in optimizer.param_groups)

    def load(self, folder: Path) -> None:
        """Restore everything in place; names and shapes must match."""
        load_model(folder / MODEL, self.model)
        state = json.loads((folder / STATE).read_text())
        restored: dict[int, dict[str, Any]] = {}
        for name, value in {**load_file(folder / _OPTIMIZER), **state["optimizer_scalars"]}.items():
            index, key = name.split(".", 1)
            restored.setdefault(int(index), {})[key] = value
        for first, optimizer in self._numbered():
            groups = optimizer.state_dict()["param_groups"]
            numbers = range(sum(len(group["params"]) for group in groups))
            own = {own: restored[first + own] for own in numbers if first + own in restored}
            optimizer.load_state_dict({"state": own, "param_groups": groups})
        if self.average is not None:
            load_model(folder / _AVERAGE, self.average)
        if (folder / _BEST).exists():
            self.best = load_file(folder / _BEST)
        for name in _PLAIN:
            setattr(self, name, state[name])


_PLAIN = ("step", "log", "best_loss", "stale", "stopped")


def save_config(config: Config, folder: Folder) -> None:
    """Write a model's config beside its weights."""
    folder.write_bytes(config.model_dump_json(indent=2).encode(), CONFIG)


def load_pretrained(folder: Folder, build: Callable[[ConfigT], M], config_type: type[ConfigT]) -> M:
    """The model that `config.json` and `model.safetensors` of a folder describe.

    It is in evaluation mode on the CPU.

    Raises:
        UserError: the weights are not those of such a model, as after an update of gestray.
    """
    values = json.loads(folder.read_bytes(CONFIG))
    model = build(make_config(config_type, values, f"{folder.uri}/{CONFIG}"))
    try:
        model.load_state_dict(load(folder.read_bytes(MODEL)))
    except (RuntimeError, SafetensorError) as error:
        raise _other_weights(folder, " ".join(str(error).split())) from None
    return model.eval()


def check_pretrained(
    folder: Folder, build: Callable[[ConfigT], nn.Module], config_type: type[ConfigT]
) -> None:
    """Refuse what `load_pretrained` would, having read no more of the weights than their header.

    Raises:
        UserError: as `load_pretrained`; or there are no weights.
    """
    for name in (CONFIG, MODEL):
        if not folder.exists(name):
            raise UserError(f"{folder.uri}: found no {name}; make the artifact again")
    values = json.loads(folder.read_bytes(CONFIG))
    config = make_config(config_type, values, f"{folder.uri}/{CONFIG}")
    wanted = {name: list(value.shape) for name, value in build(config).state_dict().items()}
    found, end, size = _header(folder)
    missing, unknown = sorted(wanted.keys() - found), sorted(found.keys() - wanted)
    other = [name for name in wanted.keys() & found if wanted[name] != found[name]]
    if missing or unknown or other:
        names = ", ".join([*missing, *unknown, *other][:3])
        raise _other_weights(
            folder,
            f"{len(missing)} tensors are missing, {len(unknown)} unknown, {len(other)} of "
            f"another shape, such as {names}",
        )
    if size != end:
        raise _other_weights(folder, f"found {size} bytes, expected {end}")


def _header(folder: Folder) -> tuple[dict[str, list[int]], int, int]:
    """Shapes of the tensors in a file of weights, its length by them, and its length.

    https://github.com/huggingface/safetensors#format
    """
    with folder.filesystem.open_input_file(folder.path(MODEL)) as file:
        size = file.size()
        length = int.from_bytes(file.read(8), "little")
        try:
            header: dict[str, Any] = json.loads(file.read(length) if length <= size else b"")
            header.pop("__metadata__", None)
            shapes = {name: each["shape"] for name, each in header.items()}
            end = max((each["data_offsets"][1] for each in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _other_weights(folder, "its header cannot be read") from None
    return shapes, 8 + length + end, size


def _other_weights(folder: Folder, why: str) -> UserError:
    return UserError(
        f"{folder.uri}/{MODEL}: not the weights of a model that its {CONFIG} describes "
        f"({why[:200]}): train it again with this version of gestray"
    )


def save_model(file: Path, model: nn.Module) -> None:
    """All parameters and buffers; tensors that share memory are stored once each."""
    save_file(_contiguous(model), file)


def model_bytes(model: nn.Module) -> bytes:
    """What `save_model` writes."""
    return save(_contiguous(model))


def _contiguous(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def load_model(file: Path, model: nn.Module) -> None:
    """Restore parameters and buffers in place; names and shapes must match."""
    model.load_state_dict(load_file(file))
