"""A refusal is held; whoever was let in is not, and a crowd cannot fill the memory with waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from serving import refusals
from serving.refusals import HeldRefusals
from tests.serving.conftest import run


async def _answer(app, status: int) -> list[int]:
    """The statuses that a client sees."""
    seen: list[int] = []

    async def send(message) -> None:
        if "status" in message:
            seen.append(message["status"])

    await app({"type": "http", "asked": status}, None, send)
    return seen


async def _asked(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": scope["asked"]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def slept(monkeypatch) -> Iterator[list[float]]:
    """What was waited for; the waiting ends when the loop is idle."""
    pauses: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await pause(0)

    monkeypatch.setattr(refusals.asyncio, "sleep", sleep)
    return pauses


@pytest.mark.parametrize(("status", "held"), [(200, False), (422, False), (429, True)])
def test_only_refusals_are_held(slept, status, held):
    assert run(_answer(HeldRefusals(_asked), status)) == [status]
    assert slept == ([refusals.HELD_S] if held else [])


def test_no_more_are_held_than_there_is_room_for(slept, monkeypatch):
    monkeypatch.setattr(refusals, "MOST_HELD", 3)
    app = HeldRefusals(_asked)

    async def crowd() -> list[list[int]]:
        return await asyncio.gather(*(_answer(app, 429) for _ in range(5)))

    assert run(crowd()) == [[429]] * 5
    assert len(slept) == 3
    assert app.held == 0


def test_one_who_leaves_makes_room(monkeypatch):
    app = HeldRefusals(_asked)

    async def leave() -> None:
        asking = asyncio.create_task(_answer(app, 429))
        await asyncio.sleep(0)
        assert app.held == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(leave())
    assert app.held == 0


def test_retry_after_is_longer_than_a_refusal_is_held():
    from serving.app import _RETRY_AFTER_S

    assert refusals.HELD_S < _RETRY_AFTER_S
