"""What SemGes knows of meaning: one space for words and motion, and gestures looked up in it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from gestray.generators.gesture_memory import Gesture
from gestray.generators.graphs import Graphs
from gestray.generators.network import Noise
from gestray.generators.semges import Coherence
from tests.generators.test_training import a_batch, prepared

WORDS, PARTS, DIM = 6, [0, 2], 4


@pytest.fixture
def coherence() -> Coherence:
    torch.manual_seed(0)
    return Coherence(WORDS, PARTS, DIM, dropout=0.0)


def test_no_direction_of_motion_counts_more_than_another(coherence) -> None:
    torch.manual_seed(1)
    mixed = torch.randn(3, DIM, DIM)
    mixed[:, 0] *= 30
    vectors = torch.einsum("npd,pde->npe", torch.randn(5000, 3, DIM), mixed) + 7
    coherence.start(vectors)
    for part in torch.split(coherence.done(vectors), DIM, dim=1):
        assert part.mean(0).abs().max() < 1e-3
        spread = part.T @ part / len(part)
        assert (spread - spread.diagonal().diag()).abs().max() < 1e-3
        assert spread.diagonal().max() < 1 + 1e-3
    # A direction without any spread stays small.
    still = vectors.clone()
    still[..., 1] = 7
    coherence.start(still)
    assert coherence.done(still).abs().max() < 1e2 and coherence.done(still).isfinite().all()


def test_what_is_said_is_told_from_other_gestures_and_from_nothing_else(coherence) -> None:
    said, there = torch.eye(8)[:5], torch.tensor([True, True, True, False, False])
    same = coherence.loss(said, said, there)
    swapped = coherence.loss(said, said[[1, 0, 2, 3, 4]], there)
    assert same < 1e-3 < swapped
    other = torch.cat([said[:3], torch.randn(2, 8)])
    assert torch.equal(coherence.loss(other, said, there), same)
    assert torch.equal(coherence.loss(said, other, there), same)
    three = coherence.loss(said[:3], said[:3].roll(1, 0), there[:3])
    logits = said[:3] @ said[:3].roll(1, 0).T * 10
    assert torch.allclose(three, functional.cross_entropy(logits, torch.arange(3)))
    nothing = coherence.loss(said.clone().requires_grad_(), said, torch.zeros(5).bool())
    assert nothing == 0
    nothing.backward()


@pytest.mark.parametrize("method", [{"coherence": 0.0}, {"relevance": 0.0}])
def test_nothing_is_looked_up_without_which_or_without_when(generator_task, method) -> None:
    network = prepared(generator_task("semges", **method)).network
    assert network.memory is None
    assert (network.gate is None) == ("relevance" in method)


def test_the_gesture_nearest_to_what_is_said_is_made_while_something_is_meant(
    generator_task, speech_takes, monkeypatch
) -> None:
    task = generator_task("semges")
    model = prepared(task).eval()
    network, books = model.network, model.books
    with torch.no_grad():
        features, codes = task._codes(model, a_batch(task, speech_takes))
        window, _ = task._window(model, a_batch(task, speech_takes), codes, features, 0)
    levels, parts, size, _ = books.vectors.shape
    gestures, tokens = 3, window.known.shape[1]
    torch.manual_seed(2)
    remembered = torch.randint(size, (gestures, tokens, parts, levels))
    done = functional.normalize(torch.randn(gestures, network.memory.told.shape[1]), dim=-1)
    before = books.sums(remembered).roll(1, dims=1)
    model.keep([Gesture(*each) for each in zip(done, before, remembered, strict=True)])

    rows = len(window.known)
    monkeypatch.setattr(
        network.coherence, "said", lambda cue: cue.by(done[1].expand(*cue.since.shape, -1))
    )
    first, last = model.tokens[0], sum(model.tokens[:2])
    hop = last - first
    noise = Noise(
        torch.zeros(rows, hop, parts, size),
        torch.zeros(rows, hop, parts, books.vectors.shape[-1]),
        torch.zeros(rows, hop),
    )
    answers = {}
    for open_ in (True, False):
        sure = torch.full(window.known.shape, 20.0 if open_ else -20.0)
        monkeypatch.setattr(network.gate, "forward", lambda window, sure=sure: sure)
        with torch.no_grad():
            answers[open_] = network.answer(window, first, last, books, noise, Graphs())
    moved = answers[True].vectors[:, :, network.memory.parts]
    kept = books.sums(remembered[1])[:, network.memory.parts]
    assert (moved[..., None, :, :] == kept).all((-1, -2)).any(-1).all()
    assert not torch.equal(answers[True].vectors, answers[False].vectors)
    assert (answers[True].meaning > 0.99).all() and (answers[False].meaning < 0.01).all()
