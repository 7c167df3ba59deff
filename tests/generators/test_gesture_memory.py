"""Gestures of training are kept whole, found by their words, and played to their end."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from gestray.generators.codebooks import Codebooks
from gestray.generators.config import TrainedGenerator, preset
from gestray.generators.gesture_memory import (
    Cue,
    Gesture,
    GestureMemory,
    Recall,
    cue_of,
    gestures_of,
)
from gestray.generators.graphs import Graphs
from gestray.generators.model import CodeGenerator
from gestray.generators.remember import remember, taught_by
from gestray.generators.session import Session
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerConfig
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.views.catalog import read_catalog, read_columns
from gestray.views.windows import motion_of
from tests.generators.test_training import prepared

PARTS, LEVELS, CODES, DIM, WORDS, LENGTH = 3, 2, 16, 4, 6, 5
GESTURES = 4


@pytest.fixture
def books() -> Codebooks:
    torch.manual_seed(0)
    return Codebooks(torch.randn(LEVELS, PARTS, CODES, DIM))


@pytest.fixture
def codes() -> torch.Tensor:
    """Of four gestures of five tokens each, with the token before the first."""
    torch.manual_seed(1)
    return torch.randint(CODES, (GESTURES, LENGTH + 1, PARTS, LEVELS))


def empty(gestures: int = 0, tokens: int = 0) -> GestureMemory:
    tokenizer = TokenizerConfig(
        parts=("face", "upper", "hands"), quantizers=LEVELS, codebook_size=CODES, code_dim=DIM
    )
    config = TrainedGenerator(
        generator=preset("semtalk").model, tokenizer=tokenizer, speakers=(), gestures=gestures,
        gesture_tokens=tokens,
    )  # fmt: skip
    return GestureMemory(config, WORDS)


def filled(books: Codebooks, codes: torch.Tensor, told: torch.Tensor) -> GestureMemory:
    """Of the four gestures, each told by its vector."""
    memory, before = empty(), books.sums(codes)[:, :-1]
    memory.keep([Gesture(*each) for each in zip(told, before, codes[:, 1:], strict=True)])
    return memory


def words(*said: int) -> torch.Tensor:
    """Each gesture is told by a word of its own: the unit vector of that number."""
    return torch.eye(WORDS)[list(said)]


def cue(told: torch.Tensor, meant: int = LENGTH) -> Cue:
    """Of whole gestures, of which the first tokens are known to be meant."""
    since = torch.arange(LENGTH).expand(len(told), -1)
    return Cue(told[:, None].expand(-1, LENGTH, -1), since, since < meant)


def made(
    memory: GestureMemory, books: Codebooks, of: Cue, before: torch.Tensor, noise: float = 0.0
) -> torch.Tensor:
    """Codes of a gesture, token after token: (B, K, P, L); −1 where nothing is remembered."""
    recall, found = Recall(memory, of, books, Graphs()), []
    for token in range(of.since.shape[1]):
        gumbel = noise * torch.randn(len(before), PARTS, CODES)
        codes = torch.full((len(before), PARTS, LEVELS), -1)
        done = recall.tokens(token, before, gumbel)
        if done is not None:
            codes[:, memory.parts] = torch.where(
                done[:, None, None] < 0, -1, memory.codes[done.clamp(min=0)]
            )
        found.append(codes)
        before = recall(token, before, gumbel, books.sums(0 * codes))
    return torch.stack(found, dim=1)


def test_words_bring_back_their_gesture_and_leave_the_face(books, codes) -> None:
    memory = filled(books, codes, words(0, 1, 2, 3))
    # Whatever was done before, and whatever of it is known.
    for before in (torch.randn(2, PARTS, DIM), torch.zeros(2, PARTS, DIM)):
        found = made(memory, books, cue(words(2, 0)), before)
        assert torch.equal(found[:, :, 1:], codes[[2, 0], 1:, 1:])
        assert (found[:, :, 0] == -1).all()


def test_of_gestures_that_the_same_word_tells_the_one_goes_on_that_is_begun(books, codes) -> None:
    memory = filled(books, codes, words(3, 3, 3, 3))
    begun = books.sums(codes)[:, 0]
    found = made(memory, books, cue(words(3, 3, 3, 3)), begun)
    assert torch.equal(found[..., 1:, :], codes[:, 1:, 1:])


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_gesture_once_begun_is_played_to_its_end_and_no_further(books, codes, noise) -> None:
    """Hands that are left in the air stay there; nothing is meant from the second token on."""
    memory = filled(books, codes, words(0, 1, 2, 3))
    asked = cue(words(1, 2), meant=1)
    longer = Cue(*(torch.cat([x, x[:, -2:]], 1) for x in (asked.told, asked.since, asked.meant)))
    found = made(memory, books, longer, torch.zeros(2, PARTS, DIM), noise)
    assert torch.equal(found[:, :LENGTH, 1:], codes[[1, 2], 1:, 1:])
    assert (found[:, LENGTH:] == -1).all()


def test_a_memory_that_is_loaded_plays_on_what_is_begun(books, codes) -> None:
    memory = empty(GESTURES, GESTURES * LENGTH)
    memory.load_state_dict(filled(books, codes, words(0, 1, 2, 3)).state_dict())
    found = made(memory, books, cue(words(1, 2), meant=1), torch.zeros(2, PARTS, DIM))
    assert torch.equal(found[:, :, 1:], codes[[1, 2], 1:, 1:])


def test_nobody_begins_a_gesture_that_is_not_asked_for(books, codes) -> None:
    """Not even where the motion is that before a gesture, or one that a row beside it plays."""
    memory = filled(books, codes, words(0, 1, 2, 3))
    asked = cue(words(1, 2), meant=0)
    asked.meant[1] = True
    found = made(memory, books, asked, books.sums(codes)[:2, 0])
    assert (found[0] == -1).all()
    assert torch.equal(found[1, :, 1:], codes[2, 1:, 1:])


def test_words_change_a_gesture_while_it_is_meant_and_no_longer(books, codes) -> None:
    """Of two side by side, of which only the second is still meant when other words come."""
    memory = filled(books, codes, words(0, 1, 2, 3))
    asked = cue(words(0, 0))
    told, meant = asked.told.clone(), asked.meant.clone()
    told[:, 1:] = words(3)[0]
    meant[0, 1:] = False
    found = made(memory, books, replace(asked, told=told, meant=meant), torch.zeros(2, PARTS, DIM))
    assert torch.equal(found[0, :, 1:], codes[0, 1:, 1:])
    assert torch.equal(found[1, :1, 1:], codes[0, 1:2, 1:])
    assert torch.equal(found[1, 1:, 1:], codes[3, 2:, 1:])


@pytest.mark.parametrize("sure", [20.0, -20.0])
def test_what_a_network_moves_is_a_gesture_while_one_is_meant(generator, monkeypatch, sure) -> None:
    network, books = generator.network, generator.books
    monkeypatch.setattr(
        network.gate, "forward", lambda window: torch.full(window.known.shape, sure)
    )
    session = Session(generator, [0], [0], 1.0)
    with torch.inference_mode():
        window, noise = session._window(), session._draw()
        last = session.past + session.hop
        answer = network.answer(window, session.past, last, books, noise, Graphs())
    parts = network.memory.parts
    kept_NPD = Codebooks(books.vectors[:, parts]).sums(network.memory.codes)
    moved_KPD = answer.vectors[0, :, parts]
    remembered_K = (moved_KPD[:, None] == kept_NPD).all((-1, -2)).any(-1)
    assert torch.equal(remembered_K, torch.full((session.hop,), sure > 0))


def test_words_are_compared_by_what_is_not_in_all_of_them(books, codes) -> None:
    torch.manual_seed(2)
    common = torch.tensor([3.0, 0, 0, 0, 0, 0])
    told = functional.normalize(common + torch.randn(GESTURES, WORDS), dim=-1)
    memory = filled(books, codes, told)
    apart = told - told.mean(0)
    expected = functional.cosine_similarity(apart[:, None], apart[None], dim=-1)
    assert torch.allclose(memory.likeness(cue(told))[:, 0] / 20, expected, atol=1e-5)


def test_noise_chooses_among_gestures_that_are_alike(books, codes) -> None:
    memory = filled(books, codes, words(3, 3, 3, 3))
    torch.manual_seed(3)
    found = made(memory, books, cue(words(*[3] * 40)), torch.zeros(40, PARTS, DIM), noise=2.0)
    assert len({tuple(row.flatten().tolist()) for row in found[:, 0, 1:]}) > 2


def test_who_remembers_nothing_does_what_was_drawn(books) -> None:
    found = made(empty(), books, cue(words(0, 1)), torch.randn(2, PARTS, DIM))
    assert (found == -1).all()


def test_a_cue_is_the_words_of_its_own_gesture() -> None:
    said = torch.eye(9)[None]  # token by token another word
    meaning = torch.tensor([[0, 0, 0, 1, 1, 0, 0, 0, 1.0]])
    leads = torch.tensor([[0, 1, 1, 1, 1, 0, 1, 1, 1]]).bool()
    found = cue_of(said, meaning, leads, lead=2)
    assert found.since.tolist() == [[0, 0, 1, 2, 3, 0, 0, 1, 2]]
    assert torch.equal(found.meant, leads)
    first = torch.tensor([0, 0, 0, 1, torch.e ** (-1 / 3), 0, 0, 0, 0])
    for token in (1, 2, 3, 4):
        assert torch.allclose(found.told[0, token], first / first.norm())
    for token in (6, 7, 8):
        assert torch.equal(found.told[0, token], said[0, 8])
    assert not found.told[0, [0, 5]].any()


def test_a_gesture_is_of_a_recording_until_hands_are_back_or_set_off_again() -> None:
    leads = torch.tensor([[1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0]]).bool()
    said = torch.eye(14)[None].clone()
    said[0, 12] = 0  # with this one nothing is said
    of = cue_of(said, leads.float(), leads, lead=1)
    told = said[0], leads[0].float(), leads[0]
    vectors = torch.arange(14.0)[:, None, None]
    codes = torch.arange(14)[:, None, None]
    # The first began before the recording did.
    spans = [(5, 8), (8, 11)]
    gestures = gestures_of(*told, (1, 2), vectors, codes)
    for found, (first, last) in zip(gestures, spans, strict=True):
        assert found.codes.flatten().tolist() == list(range(first, last))
        assert found.before.flatten().tolist() == list(range(first - 1, last - 1))
        assert torch.allclose(found.told, of.told[0, first])


def trained(task, takes) -> CodeGenerator:
    """A generator of random weights, given the gestures of the takes."""
    model = prepared(task).eval()
    remember(task, model, takes, taught_by(task, takes))
    return model


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_gestures_of_training_are_remembered_whole(generator_task, speech_takes, name) -> None:
    task = generator_task(name)
    model = trained(task, speech_takes)
    memory, network = model.network.memory, model.network
    refs = [ref for ref in read_catalog(speech_takes) if ref.split == "train"]
    labelled, played = 0, set()
    for ref in refs:
        take = read_columns(speech_takes, ref, [*model.tokenizer.columns, "semantics"])
        motion = {
            n: torch.from_numpy(motion_of(ref, take, n)[None].copy())
            for n in model.tokenizer.columns
        }
        codes = torch.stack(list(model.tokenizer.encode(**motion).values()), dim=2)[0]
        played |= {
            tuple(pair.flatten().tolist()) for pair in codes[:, memory.parts].unfold(0, 2, 1)
        }
        labelled += sum(
            not label["label"].startswith(("00_", "01_")) for label in take["semantics"][0].as_py()
        )
    # Two that follow closely are one.
    assert 0.7 * labelled < model.config.gestures <= labelled
    assert model.config.gesture_tokens == len(memory.codes)
    begins = (memory.since == 0).nonzero().flatten().tolist()
    for first, last in pairwise([*begins, len(memory.since)]):
        assert network.lead < last - first, "from where hands set off until they are back"
        gesture = memory.codes[first:last].unfold(0, 2, 1)
        assert {tuple(pair.flatten().tolist()) for pair in gesture} <= played
    assert torch.allclose(memory.told.norm(dim=1), torch.ones(()))


def test_what_is_remembered_is_loaded_again(generator_task, speech_takes, tmp_path) -> None:
    model = trained(generator_task("semtalk"), speech_takes)
    save_model(tmp_path / MODEL, model)
    save_config(model.config, Folder(str(tmp_path)))
    again = CodeGenerator.from_folder(Folder(str(tmp_path)))
    assert model.network.memory.state_dict().keys() == again.network.memory.state_dict().keys()
    for name, kept in model.network.memory.state_dict().items():
        assert torch.equal(again.network.memory.state_dict()[name], kept)


def test_of_many_gestures_some_of_all_takes_are_kept(
    generator_task, speech_takes, monkeypatch
) -> None:
    task, numbers = generator_task("semtalk", remembers=4), count(1.0)
    parts, levels, dim = 4, 2, 8

    def ten_gestures(*about: object) -> list[Gesture]:
        number = [torch.full((1, parts, levels), next(numbers)) for _ in range(10)]
        return [Gesture(torch.zeros(1), torch.zeros(1, parts, dim), codes) for codes in number]

    monkeypatch.setattr("gestray.generators.remember._gestures", ten_gestures)
    kept = trained(task, speech_takes).network.memory.codes[:, 0, 0]
    takes = (int(next(numbers)) - 1) // 10
    assert takes > 1
    assert kept.tolist() == [1 + n * 10 * takes // 4 for n in range(4)]


def without_labels(takes: Folder, folder: Path) -> Folder:
    """The same takes, at which no annotator has looked."""
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(takes.uri, folder)
    for file in folder.rglob("*.parquet"):
        table = pq.read_table(file)
        if "semantics" in table.column_names:
            at = table.column_names.index("semantics")
            nulls = pa.nulls(len(table), table.schema.field(at).type)
            pq.write_table(
                table.set_column(at, table.schema.field(at), nulls), file, row_group_size=1
            )
    return Folder(str(folder))


def test_without_labels_the_gate_of_another_tells_what_is_meant(
    generator_task, speech_takes, tmp_path
) -> None:
    plain = without_labels(speech_takes, tmp_path / "plain")
    task = generator_task("semtalk")
    labelled = trained(task, speech_takes)
    save_model(tmp_path / MODEL, labelled)
    save_config(labelled.config, Folder(str(tmp_path)))
    given = replace(task, gate=Folder(str(tmp_path)))
    with torch.no_grad():
        # The last has learnt from nobody.
        for of, bias, gestures in ((given, -1e4, False), (given, 0.0, True), (task, 0.0, False)):
            model = prepared(of).eval()
            model.network.gate.score.weight.mul_(1e3)  # sure of itself, as by chance it is
            model.network.gate.score.bias.fill_(bias)
            remember(of, model, plain, taught_by(of, plain))
            assert bool(model.config.gestures) == gestures


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_who_is_to_remember_nothing_has_no_memory(generator_task, name) -> None:
    assert prepared(generator_task(name, remembers=0)).network.memory is None


def test_the_token_most_alike_is_that_of_the_formula(books, codes) -> None:
    """Distances one by one, of motion near the remembered one and far from it."""
    torch.manual_seed(4)
    memory = filled(books, codes, words(3, 3, 3, 3))
    since = torch.randint(LENGTH, (64,))
    before = memory.before[torch.randint(len(memory.before), (64,))]
    before = before + 0.3 * torch.rand(64, 1) * memory.spread.sqrt() * torch.randn(before.shape)
    likeness, gumbel = torch.randn(64, GESTURES), torch.randn(64, CODES)
    apart = torch.stack([(each - memory.before).square().sum(-1) for each in before])
    apart = apart / memory.spread
    later = (since[:, None] - memory.since).abs().clamp(max=4)
    scores = (likeness + gumbel[:, torch.arange(GESTURES) % CODES])[:, memory.gesture]
    scores = scores + 16 * torch.exp(-apart / 0.05) - 0.2 * apart - later
    found = memory.most_alike(since, likeness, before, gumbel)
    assert torch.equal(found, scores.argmax(-1))
