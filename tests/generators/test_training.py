"""Generators learn: every loss reaches what it should, runs resume to the bit, gates transfer."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.gesture_memory import cue_of
from gestray.generators.model import CodeGenerator
from gestray.generators.task import GeneratorTask, _take_gate, huber
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.training.loop import train_alone
from gestray.views.catalog import read_catalog, read_columns


def a_batch(task: GeneratorTask, takes: Folder, count: int = 12) -> dict:
    view = task.view()
    tables = [
        view.cut(ref, read_columns(takes, ref, view.columns), range(4))
        for ref in read_catalog(takes)
        if view.count(ref)
    ]
    import pyarrow as pa

    return task.collate(pa.concat_tables(tables).slice(0, count))


def moved_by(model: CodeGenerator, loss: torch.Tensor) -> set[str]:
    """Names of the network's modules, two deep, that a loss has gradients for."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {
        ".".join(name.split(".")[1:3])
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


def prepared(task: GeneratorTask) -> CodeGenerator:
    torch.manual_seed(0)
    model = task.build()
    assert isinstance(model, CodeGenerator)
    return model.train()


def test_the_relevance_loss_reaches_the_generator(generator_task, speech_takes):
    """In the published code it is computed from numbers without a gradient."""
    task = generator_task("semges")
    model = prepared(task)
    _, losses = task.loss(model, a_batch(task, speech_takes), 0)
    reached = moved_by(model, losses["relevance"])
    assert {"heads.to_logits", "fusion.blocks", "heard.from_speech", "heard.from_words"} <= reached
    assert not any(name.startswith("streams") for name in reached)


def test_relevance_falls_when_the_generator_follows_its_gradient(generator_task, speech_takes):
    task = generator_task("semges")
    model = prepared(task)
    batch = a_batch(task, speech_takes)
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.5)
    found = []
    for _ in range(40):
        torch.manual_seed(0)
        loss = task.loss(model, batch, 0)[1]["relevance"]
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(found[-5:]) < 0.9 * found[0]


def test_relevance_judges_the_frames_of_the_hop(generator_task, speech_takes):
    task = generator_task("semges")
    model, batch = prepared(task).eval(), a_batch(task, speech_takes)
    (past, hop, _), per_token = model.tokens, model.tokenizer.config.frames_per_token
    with torch.no_grad():
        features, codes = task._codes(model, batch)
        _, lesson = task._window(model, batch, codes, features, 0)
        by_part = zip(model.tokenizer.config.parts, lesson.motion.unbind(2), strict=True)
        whole = huber(
            model.tokenizer.frames_of(dict(by_part)), features, slice(None), model.tokenizer
        )
        judged = lesson.motion_error(lesson.vectors)
    assert torch.allclose(judged, whole[:, past * per_token : (past + hop) * per_token], atol=1e-6)
    assert not torch.allclose(judged, whole[:, : hop * per_token], atol=1e-3)


def test_coherence_teaches_what_is_said_alone(generator_task, speech_takes):
    task = generator_task("semges")
    model = prepared(task)
    _, losses = task.loss(model, a_batch(task, speech_takes), 0)
    assert moved_by(model, losses["coherence"]) == {"coherence.of_words"}


def test_motion_does_not_move_the_gate(generator_task, speech_takes):
    task = generator_task("semtalk")
    model = prepared(task)
    _, losses = task.loss(model, a_batch(task, speech_takes), 0)
    assert set(losses) == {"base", "sparse", "gate", "rhythm", "gate_accuracy"}
    for name in ("base", "sparse", "rhythm"):
        assert not any(part.startswith("gate") for part in moved_by(model, losses[name])), name
    assert all(part.startswith("gate") for part in moved_by(model, losses["gate"]))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("semges", {"coherence": 0.0}),
        ("semges", {"relevance": 0.0}),
        ("semges", {"remembers": 0}),
        ("semtalk", {"gate": "random"}),
        ("semtalk", {"gate": "off"}),
        ("semtalk", {"weighs_features": False}),
        ("semtalk", {"weighs_losses": False}),
        ("semtalk", {"rhythm": 0.0}),
        ("semtalk", {"remembers": 0}),
    ],
)
def test_an_ablation_is_a_line_of_config(generator_task, speech_takes, name, method):
    """And leaves nothing behind: ranks wait for the gradient of every parameter there is."""
    full, less = generator_task(name), generator_task(name, **method)
    batch, losses = a_batch(full, speech_takes), []
    for task in (full, less):
        model = prepared(task)
        torch.manual_seed(3)
        loss, parts = task.loss(model, batch, 0)
        assert loss.isfinite() and all(part.isfinite() for part in parts.values())
        loss.backward()
        learns = [(key, p.grad) for key, p in model.named_parameters() if p.requires_grad]
        assert not [key for key, gradient in learns if gradient is None]
        losses.append(loss.item())
    assert losses[0] != losses[1] or "remembers" in method


def test_hands_set_off_before_what_they_mean(generator_task, speech_takes, monkeypatch):
    """Labels begin with the stroke; who hears the words only then has the hands elsewhere."""
    task = generator_task("semtalk")
    model = prepared(task).eval()
    batch = a_batch(task, speech_takes)
    with torch.no_grad():
        features, codes = task._codes(model, batch)
        window, _ = task._window(model, batch, codes, features, 0)
        sure = torch.full(window.known.shape, -20.0)
        sure[:, 9] = 20.0
        monkeypatch.setattr(model.network.gate, "forward", lambda window: sure)
        network, whole = model.network, (0, sure.shape[1])
        moves = network(window, torch.zeros_like(sure))
        leads = (moves.leads > 0.5)[0].nonzero().flatten().tolist()
        assert (moves.meaning > 0.5)[0].nonzero().flatten().tolist() == [9]
        assert leads == [5, 6, 7, 8, 9], "0.533 s are four tokens"
        silent = replace(window, words=replace(window.words, row=0 * window.words.row))
        meant = (network.sparse(each, moves, *whole) for each in (silent, window))
        apart = (next(meant) - next(meant)).abs().amax(-1)
    changed = apart.amax((0, 2)) > 1e-4
    assert changed[5:10].all() and not changed[:5].any()


@pytest.mark.parametrize(("name", "teaches"), [("semges", "coherence"), ("semtalk", "sparse")])
def test_takes_without_labels_teach_the_motion_and_not_the_gate(
    generator_task, speech_takes, name, teaches
):
    task = generator_task(name)
    model = prepared(task)
    batch = a_batch(task, speech_takes)
    batch["meaning"] = torch.full_like(batch["meaning"], -1)
    loss, losses = task.loss(model, batch, 0)
    assert losses["gate"] == 0 and losses[teaches] > 0 and loss.isfinite()


def test_weights_of_losses_are_those_of_the_gate_too(generator_task, speech_takes):
    """The paper: loss weighting supervises the gate's scores."""
    found, plain = {}, generator_task("semtalk")
    batch = a_batch(plain, speech_takes)
    for weighs in (True, False):
        model = prepared(generator_task("semtalk", weighs_losses=weighs)).eval()
        window, lesson = plain._window(model, batch, *reversed(plain._codes(model, batch)), 0)
        found[weighs] = model.network.losses(window, lesson)["gate"]
        logits, means = model.network.gate(window), lesson.means.float()
    lost = functional.binary_cross_entropy_with_logits(logits, means, reduction="none")
    assert 0 < means.mean() < 1
    assert torch.allclose(found[False], lost.mean())
    weight = 1 + 4 * means
    assert torch.allclose(found[True], (lost * weight).sum() / weight.sum())


def test_weights_of_features_are_those_of_what_is_looked_up_by_too(generator_task, monkeypatch):
    """In use as in what is remembered."""
    seen = []

    def cue_seen(words, counts, *of):
        seen.append(counts)
        return cue_of(words, counts, *of)

    monkeypatch.setattr("gestray.generators.semtalk.cue_of", cue_seen)
    meaning, words = torch.tensor([0.2, 0.9]), torch.randn(2, 8)
    for weighs, counted in ((True, meaning), (False, torch.ones(2))):
        model = prepared(generator_task("semtalk", weighs_features=weighs)).eval()
        told, counts = model.network.told_of(words, torch.zeros(2, 1, 1), meaning)
        assert torch.equal(told, words) and torch.equal(counts, counted)
        model.generate(Speech(torch.randn(16_000).numpy(), ()))
    (weighed, *_), (alike, *_) = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert not (weighed == 1).any() and (alike == 1).all()


def test_a_gate_hears_other_words_each_time_it_learns(generator_task, speech_takes):
    task = generator_task("semtalk")
    model = prepared(task)
    batch = a_batch(task, speech_takes)
    window, _ = task._window(model, batch, *reversed(task._codes(model, batch)), 0)
    heard = model.network.gate.heard
    assert not torch.equal(heard.word_vectors(window), heard.word_vectors(window))
    silent = (window.words.row == 0).unflatten(1, (-1, heard.frames_per_token)).all(-1)
    assert silent.any() and not heard.word_vectors(window)[silent].any()
    heard.eval()
    assert torch.equal(heard.word_vectors(window), heard.word_vectors(window))
    model.network.heard.train()
    told = model.network.heard.word_vectors
    assert torch.equal(told(window), told(window)), "only the gate's"


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(
    generator_task, speech_takes, tmp_path, name
):
    task = generator_task(name, steps=6, loop={"checkpoint_every": 3})
    whole, rest = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "rest"))
    undisturbed = train_alone(task, task.config.loop, speech_takes, checkpoints=whole).state_dict()
    shutil.copytree(whole.path("step-00000003"), rest.path("step-00000003"))
    resumed = train_alone(task, task.config.loop, speech_takes, checkpoints=rest).state_dict()
    assert undisturbed.keys() == resumed.keys()
    assert all(torch.equal(value, undisturbed[key]) for key, value in resumed.items())


def test_the_tokenizer_stays_as_it_was(generator_task, speech_takes):
    from gestray.tokenizers.model import MotionTokenizer

    task = generator_task("semges", steps=3)
    model = train_alone(task, task.config.loop, speech_takes)
    before = MotionTokenizer.from_folder(task.tokenizer).state_dict()
    assert all(
        torch.equal(value, before[key]) for key, value in model.tokenizer.state_dict().items()
    )


def test_a_gate_is_carried_to_another_generator_and_kept(generator_task, speech_takes, tmp_path):
    task = generator_task("semtalk", steps=2)
    trained = train_alone(task, task.config.loop, speech_takes)
    save_model(tmp_path / MODEL, trained)
    save_config(trained.config, Folder(str(tmp_path)))
    taken = replace(generator_task("semtalk", steps=2, threshold=0.4), gate=Folder(str(tmp_path)))
    other = train_alone(taken, taken.config.loop, speech_takes)
    theirs, ours = trained.network.gate.state_dict(), other.network.gate.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    with pytest.raises(UserError, match="found no gate, expected generators of the method semtalk"):
        _take_gate(prepared(generator_task("semges")), trained)
