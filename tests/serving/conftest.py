"""A browser, and a store to serve; its models have not learnt, and no cluster made it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from gestray.artifacts import (
    Artifact,
    Stage,
    StageResult,
    StageRun,
    artifacts_of_kind,
    newest,
    run_stage,
)
from gestray.config import Config
from gestray.encoders.config import EncoderTraining, preset
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, save_config, save_model
from serving.config import Limits, Load, ServingConfig
from serving.keys import Key, Keyring, make_key
from serving.library import Model, Mover, load_model, load_mover
from serving.moving import Moving
from serving.shared import Shared
from serving.telemetry import Telemetry
from tests.generators.conftest import generator_task, speech_takes, tokenizer_folder

__all__ = ["generator_task", "speech_takes", "tokenizer_folder"]

T = TypeVar("T")

# Of its own accord Chromium looks for updates and more, which closed networks refuse.
QUIET = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
# WebGL without a graphics card.
WITH_GL = [*QUIET, "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable[..., Any]]:
    """Starts headless Chromium with arguments."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on the path (Debian: `apt-get install chromium`)")
    with playwright.sync_playwright() as driver:
        yield lambda args: driver.chromium.launch(executable_path=path, args=args)


@pytest.fixture(scope="session")
def browser(chromium: Callable[..., Any]) -> Any:
    """Headless Chromium without WebGL, where pages draw stick figures."""
    return chromium([*QUIET, "--disable-3d-apis"])


@pytest.fixture(scope="session")
def browser_with_gl(chromium: Callable[..., Any]) -> Any:
    """Headless Chromium with WebGL, where pages show the avatar."""
    return chromium(
        [*WITH_GL, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    )


def opened(browser: Any, url: str, **options: Any) -> Any:
    """A page, and in `complaints` what went wrong on it."""
    page = browser.new_page(**options)
    page.set_default_timeout(30_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
    page.goto(url)
    return page


def shot(page: Any, name: str) -> None:
    """A picture for the docs, where one is wanted."""
    if folder := os.environ.get("GESTRAY_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives; in a thread, since the browser's driver has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Nothing(Config):
    """A config without keys."""


def _made(
    store: Folder,
    kind: str,
    name: str,
    write: Callable[[StageRun], int],
    config: Config | None = None,
    **inputs: Artifact,
) -> Artifact:
    """An artifact as a stage would make it."""

    def run(stage_run: StageRun) -> StageResult:
        rows = write(stage_run)
        return StageResult(rows, rows)

    needs = {role: artifact.manifest.kind for role, artifact in inputs.items()}
    stage = Stage(f"test.{kind}", kind, type(config or Nothing()), run, needs)
    return run_stage(stage, store, name, config or Nothing(), inputs).artifact


def pair(store: Folder, takes: Artifact, seed: int, work: Path) -> Artifact:
    """An index in the store, of an encoder of random weights."""
    from gestray.encoders.model import DualEncoder
    from gestray.views.catalog import read_catalog, read_columns
    from jobs.encoder import PhraseEmbedder
    from jobs.index import BUILD, BuildConfig
    from jobs.rows import write_rows

    training: EncoderTraining = preset("direct")
    training = training.model_copy(update={"loop": training.loop.model_copy(update={"seed": seed})})
    catalog = read_catalog(takes.folder)

    def untrained(run: StageRun) -> int:
        torch.manual_seed(seed)
        save_model(work / MODEL, DualEncoder(training.model))
        run.folder.write_bytes((work / MODEL).read_bytes(), MODEL)
        save_config(training.model, run.folder)
        return len(catalog)

    encoder = _made(store, "encoder", "direct", untrained, training, takes=takes)

    def embed(run: StageRun) -> int:
        embedder = PhraseEmbedder(encoder.folder, training, None, 32, fine=False)
        tables = (
            embedder(ref, read_columns(takes.folder, ref, embedder.columns)) for ref in catalog
        )
        return write_rows(run.folder, tables, embedder.schema, "embed", len(catalog))

    embeddings = _made(store, "embeddings", "direct", embed, takes=takes, encoder=encoder)
    return run_stage(BUILD, store, "gestures", BuildConfig(), {"embeddings": embeddings}).artifact


@pytest.fixture(scope="session")
def store(
    takes: Folder, generator_task: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    """Takes, an encoder of random weights, its embeddings and their index; a generator."""
    store = Folder(str(tmp_path_factory.mktemp("store")))

    def copy(run: StageRun) -> int:
        run.folder.upload(Path(takes.path()), "")
        return 12

    stored = _made(store, "takes", "takes", copy)
    pair(store, stored, 0, tmp_path_factory.mktemp("encoder"))

    def unlearnt(run: StageRun) -> int:
        torch.manual_seed(1)
        task = generator_task("semtalk")
        path = tmp_path_factory.mktemp("generator") / MODEL
        save_model(path, task.build())
        run.folder.write_bytes(path.read_bytes(), MODEL)
        save_config(task.trained, run.folder)
        return 12

    _made(store, "generator", "semtalk", unlearnt, takes=stored)
    return store


@pytest.fixture(scope="session")
def other_pair(store: Folder, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Another index of the same takes, newer than the one that is served."""
    takes = newest(store, "takes")
    return pair(store, takes, 1, tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="session")
def model(store: Folder) -> Model:
    first = artifacts_of_kind(store, "index")[0]
    return load_model("gestures", first.uri)


@pytest.fixture(scope="session")
def mover(store: Folder) -> Mover:
    (path,) = store.list("generator")
    return load_mover("semtalk", store.child(path).uri)


class InProcess:
    """Answers one by one, in the process of the test: what the deployment does in batches."""

    def __init__(self, model: Model, mover: Mover | None = None, load: Load | None = None) -> None:
        load = load or Load()
        self.models = {model.name: model}
        self.movers = {} if mover is None else {mover.name: mover}
        self.replica, self.telemetry = "here", Telemetry()
        self.moving = Moving(load.moved, load.move_queued, self.telemetry)
        self.shared = Shared(load)
        run(self.shared.begin_with({model.name: model.artifact.uri}))

    @property
    def ready(self) -> bool:
        return bool(self.models)

    def pick(self, model: Model) -> Model:
        return model

    def pairs(self, model: Model) -> list[Model]:
        return [model]

    async def retrieve(self, model: Model, text: str, k: int):
        return model.gestures.search(model.embed_texts([text]), k)[0]


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Where an application listens, in a thread."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        from serving.heads import PromptHead

        server = uvicorn.Server(uvicorn.Config(app, http=PromptHead, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def key() -> tuple[Key, str]:
    return make_key("test", ("retrieve", "generate"), 100_000)


@pytest.fixture(scope="session")
def client(model: Model, mover: Mover, key: tuple[Key, str]) -> Iterator[TestClient]:
    """The API over the store, with a key that may ask for everything."""
    from serving.api import make_api

    limits = Limits(body_bytes=200_000, speech_s=6, film_s=2)
    app = make_api(InProcess(model, mover), ServingConfig(limits=limits), Keyring.of([key[0]]))
    with TestClient(app, headers={"authorization": f"Bearer {key[1]}"}) as client:
        yield client
