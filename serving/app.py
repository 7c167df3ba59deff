"""The Ray Serve application: replicas that hold the models and answer over HTTP.

Text tower and index live in the deployment that speaks HTTP: a hop to another deployment
would halve what a core answers. Generators live there as well, in a thread of their own, since
a stream's speech and motion go over the socket that its replica holds. `build` is what
`serve deploy` and a RayService call by name; `gestray serve` runs the same application on a Ray
cluster of its own.

    applications:
      - name: gestray
        import_path: serving.app:build
        args: {store: s3://gestures/beat2, keys: /secrets/keys.json}
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig
from starlette.types import ASGIApp

from gestray.config import make_config
from gestray.retrieval.index import Hit
from serving.config import ServingConfig
from serving.keys import Keyring, read_keys
from serving.library import Model, Mover, choose, load_model, load_mover
from serving.logs import log_to
from serving.moving import Moving
from serving.problems import Problem
from serving.releases import Releases
from serving.shared import shared_by_all
from serving.telemetry import Telemetry

NAME = "gestray"
_RETRY_AFTER_S = 1.0
# Serve's router asks busy replicas again after pauses that double. Its own longest, half a second,
# leaves a replica idle while requests wait for it.
_ROUTER_PAUSE_S = 0.05
# Figures that nobody scrapes are left with the others so often.
_FIGURES_S = 15.0


@serve.ingress()
class Gestures:
    """A replica: the models, and the API over them."""

    def __init__(self, config: ServingConfig) -> None:
        import faiss
        import torch

        self.config = config
        log_to(config.log)
        self.telemetry = Telemetry()
        torch.set_num_threads(config.load.threads)
        faiss.omp_set_num_threads(config.load.threads)
        chosen = choose(config)
        context = serve.get_replica_context()
        self.shared = shared_by_all(context.app_name, config.load)
        self.replica = context.replica_id.unique_id
        self.releases = Releases(self.replica, load_model)
        self.shared.agree(self.releases, chosen.models)
        self.movers: Mapping[str, Mover] = {
            name: load_mover(name, uri) for name, uri in chosen.generators.items()
        }
        self.moving = Moving(config.load.moved, config.load.move_queued, self.telemetry)
        # The model computes in a thread of its own, so that health and clips are answered
        # meanwhile; in one thread, because more would only share the same cores.
        self._thread = ThreadPoolExecutor(1, "model")
        load = config.load
        self._batched = serve.batch(
            max_batch_size=load.batch, batch_wait_timeout_s=load.batch_wait_s
        )(self._retrieve)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        from serving.api import make_api

        loop = asyncio.get_running_loop()
        # Tasks that nobody refers to are collected.
        self._tasks = [
            loop.create_task(work) for work in (self.releases.watch(self.shared), self._report())
        ]
        keys = self.config.keys
        keyring = Keyring.of(read_keys(Path(keys))) if keys is not None else None
        return make_api(self, self.config, keyring)

    @property
    def ready(self) -> bool:
        return bool(self.models or self.movers)

    @property
    def models(self) -> Mapping[str, Model]:
        return self.releases.models

    def pick(self, model: Model) -> Model:
        return self.releases.pick(model.name)

    def pairs(self, model: Model) -> Sequence[Model]:
        return self.releases.pairs(model.name)

    async def retrieve(self, model: Model, text: str, k: int) -> list[Hit]:
        done: Done = await self._batched((model, text, k))
        about = {"gestray.model": model.name, "gestray.batch": done.size}
        self.telemetry.worked("embed and search", done.started, done.ended, **about)
        return done.hits

    async def _retrieve(self, asked: list[tuple[Model, str, int]]) -> list[Done]:
        loop, started, size = asyncio.get_running_loop(), time.time_ns(), len(asked)
        found = await loop.run_in_executor(self._thread, answer_batch, asked)
        ended = time.time_ns()
        self.telemetry.batch("retrieval", asked[0][0].name, size, (ended - started) / 1e9)
        return [Done(hits, started, ended, size) for hits in found]

    async def _report(self) -> None:
        """Leave figures for whoever asks another replica."""
        while True:
            with contextlib.suppress(Problem):  # the actor may be on its way to another node
                await self.shared.figures(self.replica, self.telemetry.figures())
            await asyncio.sleep(_FIGURES_S)

    def check_health(self) -> None:
        """Serve calls this; a replica without models never gets here."""
        assert self.ready


class Done(NamedTuple):
    """Hits, and the batch (ns, texts) that they were found in."""

    hits: list[Hit]
    started: int
    ended: int
    size: int


def answer_batch(asked: list[tuple[Model, str, int]]) -> list[list[Hit]]:
    """Hits of each text, those of one model embedded and searched together."""
    answers: list[list[Hit]] = [[] for _ in asked]
    for model in {id(model): model for model, _, _ in asked}.values():
        places = [i for i, (other, _, _) in enumerate(asked) if other is model]
        vectors = model.embed_texts([asked[i][1] for i in places])
        most = max(asked[i][2] for i in places)
        for i, hits in zip(places, model.gestures.search(vectors, most), strict=True):
            answers[i] = hits[: asked[i][2]]
    return answers


def build(args: Mapping[str, Any]) -> Application:
    """The application of a Serve config file's `args`, which are those of `ServingConfig`."""
    return application(make_config(ServingConfig, args, "args of serving.app:build"))


def application(config: ServingConfig) -> Application:
    """The deployment as the config wants it.

    Raises:
        UserError: it would be open to others without keys.
    """
    config.check()
    # Once for all replicas: what is the newest may be another when one of them starts again.
    chosen, load = choose(config), config.load
    config = config.model_copy(
        update={"models": dict(chosen.models), "generators": dict(chosen.generators)}
    )
    scaling: dict[str, Any] = {"num_replicas": load.replicas}
    if load.max_replicas > load.replicas:
        scaling = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=load.replicas,
                max_replicas=load.max_replicas,
                target_ongoing_requests=max(1, load.ongoing // 2),
            )
        }
    # Serve's decorator of ingresses says nothing of types.
    deployment: Any = serve.deployment(Gestures)
    return deployment.options(
        max_ongoing_requests=load.ongoing,
        max_queued_requests=load.queued,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=_RETRY_AFTER_S),
        # Ray's own types say that its fields are mappings.
        request_router_config=RequestRouterConfig(max_backoff_s=_ROUTER_PAUSE_S),  # type: ignore[arg-type]
        graceful_shutdown_timeout_s=load.request_s,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": load.threads},
        **scaling,
    ).bind(config)
