"""Small speech corpora, and generators over tokenizers that have seen data but not trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from gestray.generators.config import GeneratorTraining, TrainedGenerator, preset
from gestray.generators.gesture_memory import Gesture
from gestray.generators.model import CodeGenerator
from gestray.generators.task import GeneratorTask
from gestray.store import Folder
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.views.catalog import read_catalog, read_columns
from tests.conftest import ingested
from tests.jobs.conftest import gestray

__all__ = ["gestray"]


@pytest.fixture(scope="session")
def speech_takes(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Takes of a small synthetic corpus with speech, ingested without a cluster."""
    from gestray.corpora.synthetic import write_corpus

    corpus = tmp_path_factory.mktemp("speech")
    write_corpus(corpus, takes=6, seed=11, seconds=12.0, speech=True)
    return ingested(corpus, Folder(str(tmp_path_factory.mktemp("speech-takes"))))


@pytest.fixture(scope="session")
def tokenizer_folder(
    speech_takes: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Folder]:
    """The folder of a tokenizer of a preset whose layers and codebooks start from the takes."""
    made: dict[str, Folder] = {}

    def folder(name: str) -> Folder:
        if name not in made:
            base = tokenizer_preset(name)
            small = {"width": 48, "code_dim": 16, "codebook_size": 48, "quantizers": 2}
            config = base.model_copy(update={"model": base.model.model_copy(update=small)})
            task = TokenizerTask(config)
            torch.manual_seed(0)
            model, view = task.build(), task.view()
            batches = []
            for ref in read_catalog(speech_takes):
                if count := view.count(ref):
                    columns = read_columns(speech_takes, ref, view.columns)
                    batches.append(task.collate(view.cut(ref, columns, range(count))))
            model.start(batches)
            path = Path(tmp_path_factory.mktemp(name))
            save_model(path / MODEL, model)
            save_config(config.model, Folder(str(path)))
            made[name] = Folder(str(path))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def generator_task(
    speech_takes: Folder, tokenizer_folder: Callable[[str], Folder]
) -> Callable[..., GeneratorTask]:
    """The task of a preset over its tokenizer, narrow; keywords change the method or the loop."""

    def task(
        name: str, steps: int = 4, loop: dict | None = None, **method: object
    ) -> GeneratorTask:
        base = preset(name)
        model = base.model.model_copy(
            update={"width": 32, "method": base.model.method.model_copy(update=method)}
        )
        changes = {"steps": steps, "batch_size": 16, "log_every": 1, **(loop or {})}
        config = GeneratorTraining(
            model=model, loop=base.loop.model_copy(update=changes), stride_s=base.stride_s
        )
        tokenizer = tokenizer_folder(name)
        from gestray.tokenizers.model import MotionTokenizer

        of_codes = MotionTokenizer.from_folder(tokenizer).config
        speakers = tuple(sorted({ref.speaker or "" for ref in read_catalog(speech_takes)}))
        trained = TrainedGenerator(generator=model, tokenizer=of_codes, speakers=speakers)
        return GeneratorTask(config, trained, tokenizer)

    return task


@pytest.fixture(scope="session", params=["semges", "semtalk"])
def generator(
    request: pytest.FixtureRequest, generator_task: Callable[..., GeneratorTask]
) -> CodeGenerator:
    """An untrained generator of each preset: random weights answer as well as learnt ones."""
    torch.manual_seed(1)
    model = generator_task(request.param).build()
    assert isinstance(model, CodeGenerator)
    remember_anything(model)
    return model.eval()


def remember_anything(model: CodeGenerator) -> None:
    """Fill the memory of gestures with motion and words by chance."""
    assert model.network.memory is not None
    gestures, tokens, width = 8, 32, model.network.memory.told.shape[1]
    levels, parts, size, _ = model.books.vectors.shape
    codes = torch.randint(size, (gestures, tokens, parts, levels))
    before = model.books.sums(codes).roll(1, dims=1)
    told = functional.normalize(torch.randn(gestures, width), dim=-1)
    model.keep([Gesture(*each) for each in zip(told, before, codes, strict=True)])
