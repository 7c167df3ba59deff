"""What all replicas of a service share: recent motions, what streams have heard, what answers.

A request for a motion's file may come to another replica than made it, and a stream may go on
at another than it began at. So both lie in one small Ray actor beside the replicas, which outlives
each of them. It holds nothing that must survive: with its node, recent motions are gone and new
ones are kept again, and replicas tell it which models answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.core import Metric

from gestray.speech.words import Word
from serving.board import Board, Release, State
from serving.config import Load
from serving.kept import Kept
from serving.problems import Problem
from serving.shelf import Shelf

if TYPE_CHECKING:
    from serving.releases import Releases

_NAME = "gestray-shared"
# How long a stream can be resumed after its connection was lost.
_RESUME_S = 60.0
# A replica that waits for news is heard of so often, seconds.
_NEWS_S = 2.0
# Figures of a replica that leaves none for so long are those of one that is lost.
_FIGURES_S = 60.0
# Of whatever is small, bytes; roughly.
_SMALL = 256


@dataclass(frozen=True)
class Piece:
    """What a stream has heard at once: sound, and words that begin in it or later.

    Args:
        is_text: whether the sound is of a text, and the client was sent it.
    """

    pcm16: bytes
    words: tuple[Word, ...] = ()
    is_text: bool = False


@dataclass
class StreamLog:
    """All that a stream has heard.

    Args:
        start: the message that it began with.
        key: whose it is.
        turn: of the connections that it had, the one that may add.
        ended: nothing more comes.
        size: bytes in memory, roughly.
    """

    start: dict[str, Any]
    key: str | None
    pieces: list[Piece] = field(default_factory=list)
    turn: int = 0
    ended: bool = False
    size: int = 0

    @property
    def samples(self) -> int:
        """That were heard."""
        return sum(len(piece.pcm16) for piece in self.pieces) // 2

    @property
    def words(self) -> int:
        """That its client said: those of texts are the server's."""
        return sum(len(piece.words) for piece in self.pieces if not piece.is_text)

    @property
    def texts(self) -> int:
        """That were spoken."""
        return sum(piece.is_text for piece in self.pieces)


class Shared:
    """The same for all replicas; its methods are coroutines, since they may be far away."""

    def __init__(self, load: Load) -> None:
        self._motions = Shelf(load.kept_bytes, load.kept_s)
        self._streams = Shelf(load.kept_bytes, _RESUME_S)
        self._figures: dict[str, tuple[float, list[Metric]]] = {}
        self._board, self._news = Board(time.monotonic, time.time), asyncio.Condition()

    async def keep(self, motion_id: str, kept: Kept) -> None:
        """Keep a motion for a while."""
        self._motions.put(motion_id, kept, kept.size)

    async def kept(self, motion_id: str) -> Kept | None:
        """A motion; None where there is none, or no longer."""
        return self._motions.get(motion_id)

    async def begin(self, stream: str, log: StreamLog) -> None:
        """Keep the log of a stream, until nothing was added to it for a minute."""
        self._streams.put(stream, log, log.size)

    async def add(self, stream: str, turn: int, piece: Piece, ended: bool) -> bool:
        """Log what was heard; False where another connection has the stream now, or none can."""
        log: StreamLog | None = self._streams.get(stream)
        if log is None or log.turn != turn:
            return False
        log.pieces.append(piece)
        log.ended, log.size = ended, log.size + len(piece.pcm16) + _SMALL
        return self._streams.put(stream, log, log.size)

    async def take_over(self, stream: str, key: str | None) -> StreamLog | None:
        """The log of a stream, which the caller may add to from now on.

        None where there is no such stream, or it is another's.
        """
        log: StreamLog | None = self._streams.get(stream)
        if log is None or log.key != key:
            return None
        log.turn += 1
        return replace(log, pieces=list(log.pieces))

    async def begin_with(self, releases: Mapping[str, str]) -> State:
        """The state of models; of a service that is deployed with these indexes, if it is new."""
        state = self._board.state
        if state.begun_with != dict(releases):
            known = {name: Release(uri) for name, uri in releases.items()}
            self._board.state = State(state.version + 1, known, begun_with=dict(releases))
        return self._board.state

    async def meet(self, replica: str, loaded: Set[str], known: State, wait: bool = False) -> State:
        """See `serving.board`; with `wait`, until there is news or a moment has passed."""
        async with self._news:
            before = self._board.state.version
            state = self._board.meet(replica, loaded, known)
            if state.version != before:
                self._news.notify_all()
            if wait and state.version == known.version:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_NEWS_S):
                        await self._news.wait()
            return self._board.state

    async def want(self, name: str, uri: str, share: float) -> State:
        """An index is to answer for a name, or for a share of the requests for it."""
        async with self._news:
            self._board.want(name, uri, share)
            self._news.notify_all()
            return self._board.state

    async def fail(self, uri: str, problem: str) -> None:
        """A replica cannot load an index."""
        async with self._news:
            self._board.fail(uri, problem)
            self._news.notify_all()

    async def models(self) -> tuple[State, dict[str, list[str]]]:
        """The state of models, and what each replica has loaded."""
        return self._board.state, self._board.replicas()

    async def figures(self, replica: str, own: list[Metric]) -> dict[str, list[Metric]]:
        """A replica leaves its figures, and is told those of all."""
        now = time.monotonic()
        self._figures[replica] = (now, own)
        self._figures = {k: v for k, v in self._figures.items() if now - v[0] < _FIGURES_S}
        return {replica: found for replica, (_, found) in self._figures.items()}


class Actor(Protocol):
    """A Ray actor's handle."""

    def __getattr__(self, method: str) -> Any: ...


class Remote:
    """`Shared` that is an actor, called as if it were here."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def _ask(self, method: str, *values: Any) -> Any:
        from ray.exceptions import RayActorError

        try:
            return await getattr(self._actor, method).remote(*values)
        except RayActorError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "what replicas share is on its way to another node",
                {"retry-after": "2"},
            ) from None

    async def keep(self, motion_id: str, kept: Kept) -> None:
        await self._ask("keep", motion_id, kept)

    async def kept(self, motion_id: str) -> Kept | None:
        return await self._ask("kept", motion_id)

    async def begin(self, stream: str, log: StreamLog) -> None:
        await self._ask("begin", stream, log)

    async def add(self, stream: str, turn: int, piece: Piece, ended: bool) -> bool:
        return await self._ask("add", stream, turn, piece, ended)

    async def take_over(self, stream: str, key: str | None) -> StreamLog | None:
        return await self._ask("take_over", stream, key)

    async def meet(self, replica: str, loaded: Set[str], known: State, wait: bool = False) -> State:
        return await self._ask("meet", replica, loaded, known, wait)

    async def want(self, name: str, uri: str, share: float) -> State:
        return await self._ask("want", name, uri, share)

    async def fail(self, uri: str, problem: str) -> None:
        await self._ask("fail", uri, problem)

    async def models(self) -> tuple[State, dict[str, list[str]]]:
        return await self._ask("models")

    async def figures(self, replica: str, own: list[Metric]) -> dict[str, list[Metric]]:
        return await self._ask("figures", replica, own)

    def agree(self, releases: Releases, first: Mapping[str, str]) -> None:
        """Load what all replicas answer from, before this one answers; blocks.

        While it loads, another may be asked for: it is among the replicas when nothing is missing.
        """
        import ray

        state = ray.get(self._actor.begin_with.remote(first))
        while True:
            releases.load(state)
            told = ray.get(self._actor.meet.remote(releases.replica, releases.loaded, state))
            if told.version == state.version:
                return
            state = told


def shared_by_all(app: str, load: Load) -> Remote:
    """The one of a Serve application, which the first replica that asks brings into being."""
    import ray

    # Ray's types say that a decorated class is a class still.
    made: Any = ray.remote(Shared)
    return Remote(
        made.options(
            name=f"{_NAME}-{app}",
            namespace="serve",
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=1000,
        ).remote(load)
    )
