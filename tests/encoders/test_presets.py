"""Every method learns: from a corpus that speaks, alone and on two workers."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import torch

from gestray.encoders.config import PRESETS, EncoderTraining
from gestray.encoders.task import AnchorTexts, EncoderTask
from gestray.store import Folder
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.training.loop import train_alone
from gestray.training.on_ray import train_on_ray
from gestray.views.catalog import read_catalog
from gestray.views.phrases import phrases_of
from tests.encoders.test_encoders import SMALL_TOKENIZER
from tests.jobs.test_encoder import training_of
from tests.training.toy import one_thread


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """An untrained tokenizer, saved: what is tested is that its tokens get through."""
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    torch.manual_seed(1)
    model = MotionTokenizer(SMALL_TOKENIZER)
    for number, stream in enumerate(model.streams.values()):
        for codebook in stream.quantizer.codebooks:
            codebook.initted.fill_(True)
            codebook.embed.copy_(torch.randn_like(codebook.embed) * (1 + number))
    save_model(folder / MODEL, model)
    save_config(SMALL_TOKENIZER, Folder(str(folder)))
    return Folder(str(folder))


def task_of(name: str, takes: Folder, tokenizer: Folder, **changes: object) -> EncoderTask:
    """A small task of a method, with anchors that say something of their phrase."""
    training: EncoderTraining = training_of(name, **changes)
    anchors = {}
    if training.model.objectives.needs_anchors:
        for ref in read_catalog(takes):
            for number, phrase in enumerate(phrases_of(ref, training.phrases)):
                intent = None if number % 3 == 0 else f"the speaker says {phrase.text.split()[0]}"
                anchors[phrase.phrase_id] = AnchorTexts(f"form {number % 7}", intent)
    uses_tokens = training.model.motion.input == "tokens"
    return EncoderTask(training, anchors, tokenizer if uses_tokens else None)


def loop_of(steps: int, **changes: object) -> LoopConfig:
    values = {"learning_rate": 3e-3, "warmup_steps": 3, "log_every": 1}
    return LoopConfig(steps=steps, batch_size=16, **{**values, **changes})


@pytest.mark.parametrize("name", PRESETS)
def test_every_method_lowers_its_loss_in_thirty_steps(name, spoken_takes, tokenizer):
    task = task_of(name, spoken_takes, tokenizer)
    log: list[dict] = []
    model = train_alone(task, loop_of(30), spoken_takes, log.append)
    losses = [row["loss"] for row in log]
    assert statistics.mean(losses[-6:]) < 0.9 * statistics.mean(losses[:3])
    weights = {
        objective for objective in log[0] if hasattr(task.config.model.objectives, objective)
    }
    asked = task.config.model.objectives
    assert weights == {name for name in weights if getattr(asked, name)}
    assert all(value.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("name", ["jegal", "tmr"])
def test_training_twice_gives_the_same_weights(name, spoken_takes, tokenizer):
    models = [
        train_alone(task_of(name, spoken_takes, tokenizer), loop_of(3), spoken_takes)
        for _ in range(2)
    ]
    for one, other in zip(*(model.state_dict().items() for model in models), strict=True):
        assert torch.equal(one[1], other[1]), one[0]


def test_a_tokenizer_is_taken_over_and_stays_as_it_is(spoken_takes, tokenizer):
    trained = MotionTokenizer.from_folder(tokenizer).state_dict()
    task = task_of("gesturediffuclip", spoken_takes, tokenizer)
    model = train_alone(task, loop_of(3), spoken_takes)
    for name, value in model.motion.source.tokenizer.state_dict().items():
        assert torch.equal(value, trained[name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "text"},
        {"query": "speech"},
        {"fusion": "average"},
        {"fusion": "pairs"},
        {"text": {"train": "lora", "layers": 1, "heads": 2}},
        {"motion": {"width": 16, "layers": 1, "feedforward": 16, "pool": "attention"}},
        {"objectives": {"contrast": "siglip", "coupling": 1.0, "chunk": 4}},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items())[:40],
)
def test_every_part_of_a_method_can_be_another(changes, spoken_takes, tokenizer):
    """Three steps each; every parameter that may learn has moved."""
    task = task_of("jegal", spoken_takes, tokenizer, **changes)
    torch.manual_seed(0)
    before = task.build()
    loop = loop_of(3)
    model = train_alone(task, loop, spoken_takes)
    assert {name for name, _ in before.named_parameters()} == {
        name for name, _ in model.named_parameters()
    }
    moved = [name for name, value in model.named_parameters() if value.requires_grad]
    first = train_alone(task, loop_of(1, learning_rate=1e-12), spoken_takes).state_dict()
    stuck = [name for name in moved if torch.equal(first[name], model.state_dict()[name])]
    # An attention's key has no use for a bias, which adds the same to every score.
    assert [name for name in stuck if "bias" not in name] == []


@pytest.mark.ray
def test_one_and_two_workers_agree_on_words(spoken_takes, tokenizer, tmp_path, ray_cluster):
    """A method of words, whose batches have as many words as they have: within 1e-4.

    The one is this process.
    """
    task = task_of("jegal", spoken_takes, tokenizer, modality_dropout=0.0)
    loop, alone = loop_of(8, compute=ComputeConfig(workers=2)), []
    log = train_on_ray(task, loop, spoken_takes, Folder(str(tmp_path)), lambda row: None)
    with one_thread():
        train_alone(task, loop, spoken_takes, alone.append)
    one, two = (
        torch.tensor([r["loss"] for r in rows], dtype=torch.float64) for rows in (alone, log)
    )
    torch.testing.assert_close(two, one, rtol=1e-4, atol=0)
    assert one.unique().numel() == 8
