"""What all replicas of a service share: recent motions.

A request for a motion's file may come to another replica than made it. So motions lie in one
small Ray actor beside the replicas, which outlives each of them. It holds nothing that must
survive: with its node, recent motions are gone and new ones are kept again.
"""

from __future__ import annotations

from typing import Any, Protocol

from serving.config import Load
from serving.motions import Kept
from serving.shelf import Shelf

_NAME = "gestray-shared"


class Shared:
    """The same for all replicas; its methods are coroutines, since they may be far away."""

    def __init__(self, load: Load) -> None:
        self._motions = Shelf(load.kept_bytes, load.kept_s)

    async def keep(self, motion_id: str, kept: Kept) -> None:
        """Keep a motion for a while."""
        self._motions.put(motion_id, kept, kept.size)

    async def kept(self, motion_id: str) -> Kept | None:
        """A motion; None where there is none, or no longer."""
        return self._motions.get(motion_id)


class Actor(Protocol):
    """A Ray actor's handle."""

    def __getattr__(self, method: str) -> Any: ...


class Remote:
    """`Shared` that is an actor, called as if it were here."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def keep(self, motion_id: str, kept: Kept) -> None:
        await self._actor.keep.remote(motion_id, kept)

    async def kept(self, motion_id: str) -> Kept | None:
        return await self._actor.kept.remote(motion_id)


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
            max_concurrency=100,
        ).remote(load)
    )
