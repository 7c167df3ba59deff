"""What answers ask of whoever has the models, and refusals that all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol, TypeVar

from gestray.retrieval.index import Hit
from serving.library import Model, Mover
from serving.moving import Moving
from serving.problems import Problem
from serving.shared import Remote, Shared
from serving.telemetry import Telemetry

Named = TypeVar("Named", Model, Mover)


class Service(Protocol):
    """Who has the models."""

    @property
    def ready(self) -> bool:
        """Whether models are loaded and warm."""

    @property
    def models(self) -> Mapping[str, Model]:
        """By name, the default last."""

    def pick(self, model: Model) -> Model:
        """What answers one request for a model: it, or the one that is tried in its place."""

    def pairs(self, model: Model) -> Sequence[Model]:
        """All that ids in answers of a model may be of."""

    @property
    def movers(self) -> Mapping[str, Mover]:
        """Generators by name, the default last."""

    @property
    def moving(self) -> Moving:
        """Computes motion."""

    def retrieve(self, model: Model, text: str, k: int) -> Awaitable[list[Hit]]:
        """The gestures that say a text best."""

    @property
    def replica(self) -> str:
        """Which of those that answer."""

    @property
    def telemetry(self) -> Telemetry:
        """Its figures and traces."""

    @property
    def shared(self) -> Shared | Remote:
        """Recent motions and streams, of all replicas."""


def find(service: Service, kind: str, found: Mapping[str, Named], name: str | None) -> Named:
    """The model of a name; the default where there is no name.

    Raises:
        Problem: there is none, or none yet.
    """
    if not service.ready:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "the models are being loaded", {"retry-after": "2"}
        )
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, f"this server has no model for {kind}")
    if name is None:
        return list(found.values())[-1]
    if name not in found:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"there is no model {name[:64]!r} for {kind}; there are {', '.join(found)}",
        )
    return found[name]


def at_most(what: str, found: float, most: float, unit: str) -> None:
    """Refuse what is more than a limit.

    Raises:
        Problem: names what was found, and the limit.
    """
    if found > most:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{what}: found {found:g} {unit}, at most {most:g}"
        )
