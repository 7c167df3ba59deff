"""The pairs of a replica: loaded beside what answers, changed to when all replicas are ready."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gestray.errors import UserError
from serving.board import State
from serving.library import Model
from serving.shared import Remote, Shared

log = logging.getLogger("gestray.releases")

# How long ids of answers from a pair are known after another has taken its place, seconds.
_KNOWN_S = 120.0
_AGAIN_S = 1.0


@dataclass(frozen=True)
class Answering:
    """What answers for a name: one pair, or another for a share of the requests."""

    live: Model
    canary: Model | None = None
    share: float = 0.0

    def pick(self) -> Model:
        """The pair for one request, which has it for as long as it lasts."""
        if self.canary is not None and random.random() < self.share:
            return self.canary
        return self.live


class Releases:
    """What a replica answers from.

    Args:
        replica: its name among the replicas.
        load: makes a model of a name and the URI of its index.
    """

    def __init__(self, replica: str, load: Callable[[str, str], Model]) -> None:
        self.replica, self._load = replica, load
        self._state = State()
        self._loaded: dict[tuple[str, str], Model] = {}
        self._answering: Mapping[str, Answering] = {}
        self._unused_since: dict[tuple[str, str], float] = {}

    @property
    def models(self) -> dict[str, Model]:
        """Those that answer, by name, the default last."""
        return {name: each.live for name, each in self._answering.items()}

    def pick(self, name: str) -> Model:
        """The pair for one request."""
        return self._answering[name].pick()

    def pairs(self, name: str) -> list[Model]:
        """All that ids in answers for a name may be of, the one that answers first."""
        live = self._answering[name].live
        return [live, *(m for (n, _), m in self._loaded.items() if n == name and m is not live)]

    @property
    def loaded(self) -> set[str]:
        """URIs of the indexes that are ready to answer."""
        return {uri for _, uri in self._loaded}

    def load(self, state: State) -> None:
        """Load what a state wants, and answer from it at once: before anybody asks."""
        for name, uri in self._missing(state):
            self._loaded[name, uri] = self._load(name, uri)
        self._apply(state)

    async def watch(self, shared: Shared | Remote) -> None:
        """Do what the board says, as long as the replica lives."""
        while True:
            try:
                state = await shared.meet(self.replica, self.loaded, self._state, wait=True)
                if state.version != self._state.version:
                    await self._follow(state, shared)
                self._forget()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # the actor may be on its way to another node
                log.warning("releases: %s", error)
                await asyncio.sleep(_AGAIN_S)

    async def _follow(self, state: State, shared: Shared | Remote) -> None:
        for name, uri in self._missing(state):
            try:
                self._loaded[name, uri] = await asyncio.to_thread(self._load, name, uri)
            except UserError as error:
                await shared.fail(uri, str(error))
                return
        await asyncio.sleep(min(max(0.0, state.since - time.time()), 2.0))
        self._apply(state)

    def _missing(self, state: State) -> list[tuple[str, str]]:
        wanted = ((name, uri) for name, r in state.releases.items() for uri in r.wanted)
        return [pair for pair in wanted if pair not in self._loaded]

    def _apply(self, state: State) -> None:
        answering = {}
        for name, release in state.releases.items():
            live = self._loaded[name, release.live]
            canary = self._loaded.get((name, release.next or "")) if release.ready else None
            answering[name] = Answering(live, canary, release.share)
        # One reference changes: requests before have the old pairs, requests after the new ones.
        self._answering, self._state = answering, state

    def _forget(self) -> None:
        """Let go of pairs that have not answered for a while."""
        wanted = {(name, uri) for name, r in self._state.releases.items() for uri in r.wanted}
        now = time.monotonic()
        for pair in list(self._loaded):
            if pair in wanted:
                self._unused_since.pop(pair, None)
            elif now - self._unused_since.setdefault(pair, now) > _KNOWN_S:
                del self._loaded[pair], self._unused_since[pair]
