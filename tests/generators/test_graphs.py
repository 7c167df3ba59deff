"""Graphs give what functions give, where they are of use, and are gone when they no longer hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gestray.generators.contract import Gesturing, Speech
from gestray.generators.graphs import Graphs
from gestray.generators.model import CodeGenerator, Live
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word


@dataclass(frozen=True)
class Pair:
    one: Tensor
    other: Tensor | None
    name: str = ""


def mixed(pair: Pair, times: int, more: dict[str, Tensor]) -> tuple[Pair, dict[str, Tensor], None]:
    total = pair.one if pair.other is None else pair.one + pair.other
    return Pair(total * times, pair.other, pair.name), {"more": more["x"].cumsum(0)}, None


def arguments(rows: int = 2, times: int = 3, other: bool = True) -> tuple:
    one, two = torch.randn(rows, 4), torch.randn(4)
    return Pair(one, two if other else None, "a"), times, {"x": torch.randn(rows, 3), "y": two}


def agree(found: tuple, expected: tuple) -> None:
    (pair, more, nothing), (known, known_more, _) = found, expected
    torch.testing.assert_close(pair.one, known.one)
    assert (pair.other is None) == (known.other is None)
    if pair.other is not None:
        torch.testing.assert_close(pair.other, known.other)
    torch.testing.assert_close(more["more"], known_more["more"])
    assert pair.name == known.name and nothing is None


def test_a_graph_takes_and_gives_what_its_function_does():
    graphs = Graphs()
    with graphs.tracing():
        for given in (arguments(), arguments(other=False)):
            agree(graphs(mixed, *given), mixed(*given))
    assert len(graphs) == 2
    for given in (arguments(), arguments(other=False)):
        agree(graphs(mixed, *given), mixed(*given))


@pytest.mark.parametrize("change", [{"rows": 5}, {"times": 2}, {"other": False}])
def test_what_was_not_traced_is_run_as_it_is(change):
    graphs = Graphs()
    with graphs.tracing():
        graphs(mixed, *arguments())
    given = arguments(**change)
    agree(graphs(mixed, *given), mixed(*given))
    assert len(graphs) == 1


def test_of_equal_arguments_the_function_decides():
    graphs, x = Graphs(), torch.randn(3)
    with graphs.tracing():
        graphs(torch.sin, x)
    assert torch.equal(graphs(torch.cos, x), x.cos())
    torch.testing.assert_close(graphs(torch.sin, x + 1), (x + 1).sin())


def speech(seconds: float) -> Speech:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype("f4")
    starts = np.arange(0.3, seconds - 0.4, 0.4)
    words = [Word(("stop", "so", "big")[n % 3], float(s), s + 0.3) for n, s in enumerate(starts)]
    return Speech(samples, tuple(words))


@pytest.fixture
def quick(generator: CodeGenerator) -> Iterator[CodeGenerator]:
    """Each generator of which half the tokens mean something, quickened."""
    network, meaning = generator.network, generator.generate(speech(4.0)).meaning
    assert meaning is not None
    method = network.method
    network.method = method.model_copy(update={"threshold": float(np.median(meaning))})
    generator.quicken()
    yield generator
    network.method, generator.graphs = method, Graphs()


def apart(a: Gesturing, b: Gesturing) -> np.ndarray:
    """How far each frame of two motions is apart."""
    return np.abs(a.poses - b.poses).max(axis=1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_quickened_generator_moves_as_before(quick, temperature):
    graphs, quick.graphs = quick.graphs, Graphs()
    before = quick.generate(speech(6.0), seed=2, temperature=temperature)
    quick.graphs = graphs
    now = quick.generate(speech(6.0), seed=2, temperature=temperature)
    # The last bits may differ, and with them, rarely, a code.
    assert (apart(now, before) < 1e-4).mean() > 0.9
    assert np.allclose(now.meaning, before.meaning, atol=1e-4)
    if before.trans is not None:
        assert (np.abs(now.trans - before.trans).max(axis=1) < 1e-3).mean() > 0.9


def test_nothing_of_a_hop_is_left_to_pytorch(quick, monkeypatch):
    """Once motion has motion behind it: graphs are of the very shapes that a stream has."""
    live, whole = Live(quick, None, 0, 1.0), speech(8.0)
    live.hear(Speech(whole.samples[: 3 * SAMPLE_RATE], whole.words))
    assert list(live.moves())

    def refuses(*_, **__):
        raise AssertionError("run by PyTorch")

    for name in ("gelu", "silu", "linear", "layer_norm", "scaled_dot_product_attention"):
        monkeypatch.setattr(functional, name, refuses)
    for name in ("baddbmm", "exp", "atan2"):
        monkeypatch.setattr(torch, name, refuses)
    live.hear(Speech(whole.samples[3 * SAMPLE_RATE :]))
    assert len(Gesturing.joined(list(live.moves()))) > 120


def test_a_quickened_stream_in_pieces_is_the_recording_to_the_bit(quick):
    whole, known = speech(3.0), quick.generate(speech(3.0), seed=1)
    pieces = [
        Speech(
            whole.samples[first : first + 1700],
            tuple(w for w in whole.words if first <= w.start_s * SAMPLE_RATE < first + 1700),
        )
        for first in range(0, len(whole.samples), 1700)
    ]
    assert np.array_equal(Gesturing.joined(list(quick.stream(pieces, seed=1))).poses, known.poses)


def test_streams_side_by_side_are_as_before(quick):
    given = [speech(2.0), speech(1.0)], [None, None], [1, 2]
    now = quick.generate_many(*given)
    quick.graphs = Graphs()
    for a, b in zip(now, quick.generate_many(*given), strict=True):
        assert np.array_equal(a.poses, b.poses)


@pytest.mark.parametrize("learns", ["train", "load", "keep"])
def test_graphs_of_a_model_that_learns_are_gone(quick, learns, monkeypatch):
    assert len(quick.graphs)
    if learns == "train":
        quick.train().eval()
    elif learns == "load":
        quick.load_state_dict(quick.state_dict())
    else:
        monkeypatch.setattr(quick.network.memory, "keep", lambda gestures: None)
        config = quick.config
        quick.keep([])
        quick.config = config
    assert not len(quick.graphs)
