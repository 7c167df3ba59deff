"""Gestures of training are kept, found by their words, and gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from gestray.generators.config import TrainedGenerator, preset
from gestray.generators.gesture_memory import Cue, GestureMemory, cue_of
from gestray.generators.layers import vectors_of
from gestray.tokenizers.config import TokenizerConfig
from gestray.training.loop import train_alone
from tests.generators.test_training import a_batch, prepared

PARTS, LEVELS, CODES, DIM, WORDS, LENGTH = 3, 2, 16, 4, 6, 5
GESTURES = 4


@pytest.fixture
def books() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(LEVELS, PARTS, CODES, DIM)


@pytest.fixture
def codes() -> torch.Tensor:
    """Of four gestures of five tokens each, with the token before the first."""
    torch.manual_seed(1)
    return torch.randint(CODES, (GESTURES, LENGTH + 1, PARTS, LEVELS))


def empty(size: int = 64) -> GestureMemory:
    tokenizer = TokenizerConfig(
        parts=("face", "upper", "hands"), quantizers=LEVELS, codebook_size=CODES, code_dim=DIM
    )
    config = TrainedGenerator(generator=preset("semtalk").model, tokenizer=tokenizer, speakers=())
    return GestureMemory(config, size, WORDS)


def cue(*said: int) -> Cue:
    """Of whole gestures, each told by a word of its own: the unit vector of that number."""
    words = torch.eye(WORDS)[list(said)][:, None].expand(-1, LENGTH, -1)
    since = torch.arange(LENGTH).expand(len(said), -1)
    return Cue(words, since, torch.ones(len(said), LENGTH, dtype=torch.bool))


def made(memory: GestureMemory, books: torch.Tensor, of: Cue, before: torch.Tensor) -> torch.Tensor:
    """Codes of a gesture, token after token: (B, K, P, L)."""
    likeness, found = memory.likeness(of), []
    nothing = torch.full((len(before), PARTS, LEVELS), -1)
    for token in range(LENGTH):
        no_noise = torch.zeros(len(before), PARTS, CODES)
        found.append(memory.recall(likeness[:, token], before, no_noise, nothing))
        filled = torch.where(found[-1] < 0, 0, found[-1])
        before = vectors_of(books, filled[:, None])[:, 0]
    return torch.stack(found, dim=1)


def test_words_bring_back_their_gesture_and_leave_the_face(books, codes) -> None:
    memory = empty()
    memory.learn(cue(0, 1, 2, 3), vectors_of(books, codes)[:, :-1], codes[:, 1:])
    # Whatever was done before, and whatever of it is known.
    for before in (torch.randn(2, PARTS, DIM), torch.zeros(2, PARTS, DIM)):
        found = made(memory, books, cue(2, 0), before)
        assert torch.equal(found[:, :, 1:], codes[[2, 0], 1:, 1:])
        assert (found[:, :, 0] == -1).all()


def test_a_gesture_once_begun_goes_on(books, codes) -> None:
    """Of two that the same word tells, the one that is on its way; nothing else tells them."""
    memory = empty()
    memory.learn(cue(3, 3, 3, 3), vectors_of(books, codes)[:, :-1], codes[:, 1:])
    begun = vectors_of(books, codes)[:, 0]
    assert torch.equal(made(memory, books, cue(3, 3, 3, 3), begun)[..., 1:, :], codes[:, 1:, 1:])


def test_words_are_compared_by_what_is_not_in_all_of_them(books, codes) -> None:
    memory = empty()
    torch.manual_seed(2)
    common = torch.tensor([3.0, 0, 0, 0, 0, 0])
    words = torch.nn.functional.normalize(
        common + torch.randn(GESTURES, 1, WORDS).expand(-1, LENGTH, -1), dim=-1
    )
    told = replace(cue(0, 1, 2, 3), told=words)
    memory.learn(told, vectors_of(books, codes)[:, :-1], codes[:, 1:])
    apart = words[:, 0] - words.mean((0, 1))
    expected = torch.nn.functional.cosine_similarity(apart[:, None], apart[None], dim=-1)
    # Of tokens as far into their gesture.
    found = memory.likeness(told)[:, 0, : GESTURES * LENGTH : LENGTH] / 20
    assert torch.allclose(found, expected, atol=1e-5)


def test_noise_chooses_among_gestures_that_are_alike(books, codes) -> None:
    memory = empty()
    memory.learn(cue(3, 3, 3, 3), vectors_of(books, codes)[:, :-1], codes[:, 1:])
    likeness, before = memory.likeness(cue(3))[:, 0], torch.zeros(1, PARTS, DIM)
    drawn = torch.zeros(1, PARTS, LEVELS, dtype=torch.long)
    found = {
        tuple(memory.recall(likeness, before, noise[None], drawn).flatten().tolist())
        for noise in 2 * torch.randn(40, PARTS, CODES)
    }
    assert len(found) > 2


def test_the_oldest_make_room(books, codes) -> None:
    memory = empty(size=2 * LENGTH)
    before = vectors_of(books, codes)[:, :-1]
    for gesture in range(GESTURES):
        memory.learn(cue(gesture), before[gesture, None], codes[gesture, None, 1:])
    assert int(memory.seen) == GESTURES * LENGTH
    kept = {int(word) for word in memory.told.argmax(1)}
    assert kept == {2, 3}
    assert torch.equal(
        made(memory, books, cue(3), before[3, None, 0])[..., 1:, :], codes[3, None, 1:, 1:]
    )


def _two_of_four(rank: int, folder: str, before: torch.Tensor, codes: torch.Tensor) -> None:
    store = dist.FileStore(f"{folder}/meet", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    memory, mine = empty(size=3 * LENGTH), slice(2 * rank, 2 * rank + 2)
    for _ in range(2):
        memory.learn(cue(*range(GESTURES)[mine]), before[mine], codes[mine, 1:])
    save_file(memory.state_dict(), f"{folder}/{rank}.safetensors")
    dist.destroy_process_group()


def test_every_rank_remembers_what_one_process_would(tmp_path, books, codes) -> None:
    before, alone = vectors_of(books, codes)[:, :-1], empty(size=3 * LENGTH)
    for _ in range(2):
        alone.learn(cue(0, 1, 2, 3), before, codes[:, 1:])
    torch.multiprocessing.spawn(_two_of_four, (str(tmp_path), before, codes), nprocs=2)
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert found.keys() == alone.state_dict().keys()
        assert all(torch.equal(found[name], kept) for name, kept in alone.state_dict().items())


def test_tokens_without_meaning_words_or_a_past_are_left(books, codes) -> None:
    memory, before = empty(), vectors_of(books, codes)[:, :-1]
    before[:, 1] = 0
    told = cue(0, 1, 2, 3)
    words = told.told.clone()
    told.meant[:, 3] = False
    words[:, 4] = 0
    memory.learn(replace(told, told=words), before, codes[:, 1:])
    assert sorted(memory.since[memory.since >= 0].tolist()) == sorted([0, 2] * GESTURES)


def test_who_remembers_nothing_does_what_was_drawn() -> None:
    memory, drawn = empty(), torch.randint(CODES, (2, PARTS, LEVELS))
    likeness = memory.likeness(cue(0, 1))[:, 0]
    noise = torch.randn(2, PARTS, CODES)
    assert torch.equal(memory.recall(likeness, torch.randn(2, PARTS, DIM), noise, drawn), drawn)


def test_a_cue_is_the_words_of_its_own_gesture() -> None:
    words = torch.eye(9)[None]  # token by token another word
    meaning = torch.tensor([[0, 0, 0, 1, 1, 0, 0, 0, 1.0]])
    leads = torch.tensor([[0, 1, 1, 1, 1, 0, 1, 1, 1]]).bool()
    found = cue_of(words, meaning, leads, lead=2)
    assert found.since.tolist() == [[0, 0, 1, 2, 3, 0, 0, 1, 2]]
    assert torch.equal(found.meant, leads)
    first = torch.tensor([0, 0, 0, 1, torch.e ** (-1 / 3), 0, 0, 0, 0])
    for token in (1, 2, 3, 4):
        assert torch.allclose(found.told[0, token], first / first.norm())
    for token in (6, 7, 8):
        assert torch.equal(found.told[0, token], words[0, 8])
    assert not found.told[0, [0, 5]].any()


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_training_fills_the_memory_with_what_was_meant(generator_task, speech_takes, name) -> None:
    task = generator_task(name, steps=6)
    model = train_alone(task, task.config.loop, speech_takes)
    memory = model.network.memory
    there = memory.since >= 0
    assert 0 < int(memory.seen) == int(there.sum())
    assert torch.allclose(memory.told[there].norm(dim=1), torch.ones(()))
    batch = a_batch(task, speech_takes)
    seen = int(memory.seen)
    task.loss(model.eval(), batch, 0)
    assert int(memory.seen) == seen, "validation is not learnt from"


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_without_labels_or_memory_nothing_is_kept(generator_task, speech_takes, name) -> None:
    assert prepared(generator_task(name, remembers=0)).network.memory is None
    task = generator_task(name)
    for label in (0, -1):
        model, batch = prepared(task), a_batch(task, speech_takes)
        batch["meaning"] = torch.full_like(batch["meaning"], label)
        task.loss(model, batch, 0)
        # What SemTalk's own gate says of takes without labels is remembered as meant.
        assert int(model.network.memory.seen) == 0 or (name, label) == ("semtalk", -1)
