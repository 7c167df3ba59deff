"""Which index answers for each name, agreed upon by all replicas of a service.

An encoder and its index are one immutable pair in a replica (`serving.library.Model`), so no
answer is ever of two. What is left to agree upon is when: a client that is answered from the
new pair must not be answered from the old one afterwards. So a new pair is first loaded
everywhere, beside the one that answers; when the last replica has it, all are told the same
moment from which it answers. A replica that cannot load it ends the swap before anything
has changed, and one that is lost is not waited for.

This is bookkeeping alone, without clocks of its own and without Ray; `serving.shared` keeps it
for all replicas, and `serving.releases` does in a replica what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

# A replica that was not heard of for so long is lost, seconds.
_LOST_S = 8.0
# Between telling replicas of a switch and the switch: each hears of it within milliseconds.
_LEAD_S = 0.5


@dataclass(frozen=True)
class Release:
    """What answers for a name.

    Args:
        live: URI of the index that answers.
        next: of the one that is to; None where no swap goes on.
        share: of requests, that `next` is to answer.
        ready: whether all replicas have `next`, so that it gets its share.
    """

    live: str
    next: str | None = None
    share: float = 1.0
    ready: bool = False

    @property
    def wanted(self) -> list[str]:
        """What a replica must have loaded."""
        return [self.live] if self.next is None else [self.live, self.next]


@dataclass(frozen=True)
class State:
    """What all replicas are to do.

    Args:
        version: counts changes.
        releases: by name, the default last.
        since: wall clock from which on this holds.
        problem: why the last swap was given up, if it was.
        begun_with: the index of each name with which the service was deployed. It is part of what
            replicas tell a board that begins anew, so that one that is started then does not pass
            for a new deployment and take a swap back.
    """

    version: int = 0
    releases: Mapping[str, Release] = field(default_factory=dict)
    since: float = 0.0
    problem: str | None = None
    begun_with: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Seen:
    at: float
    loaded: Set[str]


class Board:
    """The state, and which replicas have loaded what.

    Args:
        now: a clock in seconds.
        wall: the clock that replicas have as well.
    """

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.state = State()
        self._now, self._wall = now, wall
        self._replicas: dict[str, _Seen] = {}

    def meet(self, replica: str, loaded: Set[str], known: State) -> State:
        """A replica says what it has loaded, and is told the state.

        `known` is the state it last heard of. A board that was lost and begins anew takes its
        state from the first who knows one.
        """
        if known.version > self.state.version:
            self.state = known
        self._replicas[replica] = _Seen(self._now(), frozenset(loaded))
        self._proceed()
        return self.state

    def replicas(self) -> dict[str, list[str]]:
        """What each replica that is not lost has loaded."""
        oldest = self._now() - _LOST_S
        self._replicas = {k: seen for k, seen in self._replicas.items() if seen.at >= oldest}
        return {replica: sorted(seen.loaded) for replica, seen in self._replicas.items()}

    def want(self, name: str, uri: str, share: float) -> State:
        """An index is to answer for a name, or a share of the requests for it; 0 takes it back."""
        before = self.state.releases[name]
        same = uri == before.next and before.ready
        after = Release(before.live, uri, share, ready=same and share < 1)
        if not share or uri == before.live:
            after = Release(before.live)
        self._change(name, after, None)
        self._proceed()
        return self.state

    def fail(self, uri: str, problem: str) -> None:
        """A replica cannot load an index: nobody changes to it."""
        for name, release in self.state.releases.items():
            if release.next == uri and not release.ready:
                self._change(name, Release(release.live), problem)

    def _proceed(self) -> None:
        """Switch to what all replicas have loaded."""
        loaded = [set(each) for each in self.replicas().values()]
        for name, release in list(self.state.releases.items()):
            if release.next is None or release.ready or not loaded:
                continue
            if all(release.next in each for each in loaded):
                whole = release.share >= 1
                after = Release(release.next) if whole else replace(release, ready=True)
                self._change(name, after, None)

    def _change(self, name: str, release: Release, problem: str | None) -> None:
        releases = {**self.state.releases, name: release}
        since = self._wall() + _LEAD_S
        version = self.state.version + 1
        self.state = replace(
            self.state, version=version, releases=releases, since=since, problem=problem
        )
