"""Training state as safetensors and JSON: no pickle is ever written or read.

Randomness is not part of it: the loop seeds it anew from (seed, step, rank) at
every step. Nor is the place in the data: it follows from the step.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load, load_file, save_file
from torch import nn

from gestray.config import Config, ConfigT, make_config
from gestray.store import Folder

MODEL = "model.safetensors"
CONFIG = "config.json"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"

M = TypeVar("M", bound=nn.Module)


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, log: list[dict]
) -> None:
    """Write model, optimiser and log after `step` steps."""
    save_model(folder / MODEL, model)
    flat, scalars = {}, {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                flat[f"{index}.{key}"] = value.contiguous()
            else:
                scalars[f"{index}.{key}"] = value
    save_file(flat, folder / _OPTIMIZER)
    state = {"step": step, "log": log, "optimizer_scalars": scalars}
    (folder / _STATE).write_text(json.dumps(state))


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, Any]]]:
    """Restore model and optimiser in place; returns the steps done and the log."""
    load_model(folder / MODEL, model)
    state = json.loads((folder / _STATE).read_text())
    restored: dict[int, dict[str, Any]] = {}
    for name, value in {**load_file(folder / _OPTIMIZER), **state["optimizer_scalars"]}.items():
        index, key = name.split(".", 1)
        restored.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": restored, "param_groups": groups})
    return state["step"], state["log"]


def save_config(config: Config, folder: Folder) -> None:
    """Write a model's config beside its weights."""
    folder.write_bytes(config.model_dump_json(indent=2).encode(), CONFIG)


def load_pretrained(folder: Folder, build: Callable[[ConfigT], M], config_type: type[ConfigT]) -> M:
    """The model that `config.json` and `model.safetensors` of a folder describe.

    It is in evaluation mode on the CPU.
    """
    values = json.loads(folder.read_bytes(CONFIG))
    model = build(make_config(config_type, values, f"{folder.uri}/{CONFIG}"))
    model.load_state_dict(load(folder.read_bytes(MODEL)))
    return model.eval()


def save_model(file: Path, model: nn.Module) -> None:
    """All parameters and buffers; tensors that share memory are stored once each."""
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)


def load_model(file: Path, model: nn.Module) -> None:
    """Restore parameters and buffers in place; names and shapes must match."""
    model.load_state_dict(load_file(file))
