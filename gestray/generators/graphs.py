"""Functions of tensors as graphs that ONNX Runtime runs: a hop in two thirds of the time.

A hop is thousands of operations on a few tokens each, and PyTorch spends most of it on getting
from one to the next. As a graph of known shapes the same operations follow each other without
Python in between, and many become one. Results differ from PyTorch's by rounding.

What a graph is traced from stays in it: the weights, and arguments other than tensors. So graphs
are made of a model that is done learning, and thrown away when it goes on.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from gestray.generators.codebooks import Codebooks

Result = TypeVar("Result")


class Graphs:
    """Runs functions: as a graph where one was traced for such arguments, else as they are.

    Arguments and results are tensors, and constants; or tuples, dicts and dataclasses of these.
    `Codebooks` are constants, too, and not told apart: there is one of a model. A function does
    nothing but give its result.

    Attributes:
        traces: what is called becomes a graph: who calls goes every way there is.
    """

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _Graph] = {}
        self.traces = False

    def __call__(self, function: Callable[..., Result], *args: Any) -> Result:
        """What the function gives for these arguments."""
        if not self._graphs and not self.traces:
            return function(*args)
        tensors: list[Tensor] = []
        key = (function, _taken_apart(args, tensors), *(x.shape for x in tensors))
        graph = self._graphs.get(key)
        if graph is None and self.traces:
            graph = self._graphs[key] = _Graph(function, args, tensors)
        if graph is None or any(x.device.type != "cpu" for x in tensors):
            return function(*args)
        return cast(Result, graph(tensors))

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """In here, whatever is called becomes a graph."""
        self.traces = True
        try:
            with torch.no_grad():
                yield
        finally:
            self.traces = False


class _Graph:
    """A function for arguments of certain shapes."""

    def __init__(self, function: Callable[..., Any], args: Any, tensors: list[Tensor]) -> None:
        import onnxruntime

        traced = _Traced(function, args)
        names = [f"input_{number}" for number in range(len(tensors))]
        options = onnxruntime.SessionOptions()
        # The products are too small for two threads to be quicker.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # Of shapes that are taken for constant, as they are here; and of the older exporter,
            # whose graphs of a generator take 1 to 5 s where those of the newer one take 12.
            warnings.simplefilter("ignore")
            path = Path(folder) / "graph.onnx"
            torch.onnx.export(
                traced, tuple(tensors), path, input_names=names, opset_version=18, dynamo=False
            )
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        # Inputs that nothing depends on are left out.
        used = {each.name for each in self._session.get_inputs()}
        self._inputs = [(n, name) for n, name in enumerate(names) if name in used]
        self._result = traced.result

    def __call__(self, tensors: list[Tensor]) -> Any:
        given = {name: tensors[number].numpy() for number, name in self._inputs}
        found = iter(self._session.run(None, given))
        return _put_together(self._result, lambda _: torch.from_numpy(next(found)))


class _Traced(nn.Module):
    """The function of the tensors alone."""

    def __init__(self, function: Callable[..., Any], args: Any) -> None:
        super().__init__()
        self._function, self._args = function, args
        owner = getattr(function, "__self__", None)
        if isinstance(owner, nn.Module):
            self.owner = owner  # whose weights are then weights of this
        self.result: Any = None
        self.eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        self.result = self._function(*_put_together(self._args, lambda _: next(given)))
        found: list[Tensor] = []
        _taken_apart(self.result, found)
        return tuple(found)


def _taken_apart(value: Any, tensors: list[Tensor]) -> Hashable:
    """What is left of a value without its tensors, which are appended to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return Tensor
    if isinstance(value, Codebooks):
        return Codebooks
    if dataclasses.is_dataclass(value):
        value = value.__dict__
    if isinstance(value, dict):
        return tuple((name, _taken_apart(each, tensors)) for name, each in value.items())
    if isinstance(value, tuple | list):
        return tuple(_taken_apart(each, tensors) for each in value)
    return cast(Hashable, value)


def _put_together(value: Any, tensor: Callable[[Tensor], Tensor]) -> Any:
    """The value with other tensors in place of its own, in order."""
    if isinstance(value, Tensor):
        return tensor(value)
    if isinstance(value, Codebooks):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {name: _put_together(each, tensor) for name, each in value.__dict__.items()}
        return dataclasses.replace(value, **parts)
    if isinstance(value, dict):
        return {name: _put_together(each, tensor) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_put_together(each, tensor) for each in value)
    return value
