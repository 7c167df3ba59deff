"""Swaps: all replicas change to a pair together, or none does; nobody is answered by two."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gestray.artifacts import Artifact
from gestray.errors import UserError
from gestray.store import Folder
from serving.board import Board, Release, State
from serving.config import Load
from serving.library import Model, load_model
from serving.releases import Releases
from serving.shared import Shared
from tests.serving.conftest import run


@pytest.fixture
def board() -> Board:
    clock = [0.0]
    board = Board(lambda: clock[0], lambda: 100 + clock[0])
    board.clock = clock
    board.state = State(1, {"g": Release("old")})
    return board


def test_nobody_changes_before_everybody_has_it(board: Board) -> None:
    for replica in "ab":
        board.meet(replica, {"old"}, board.state)
    wanted = board.want("g", "new", 1)
    assert wanted.releases["g"] == Release("old", "new", 1, ready=False)
    assert board.meet("a", {"old", "new"}, wanted).releases["g"].live == "old"
    changed = board.meet("b", {"old", "new"}, wanted)
    assert changed.releases["g"] == Release("new")
    assert changed.since > 100 and changed.version > wanted.version


def test_who_is_lost_is_not_waited_for_and_who_joins_is(board: Board) -> None:
    for replica in "ab":
        board.meet(replica, {"old"}, board.state)
    board.want("g", "new", 1)
    board.clock[0] += 7
    board.meet("a", {"old", "new"}, board.state)
    board.meet("c", {"old"}, board.state)
    board.clock[0] += 2  # b was not heard of for nine seconds
    assert board.meet("a", {"old", "new"}, board.state).releases["g"].live == "old"
    assert board.meet("c", {"old", "new"}, board.state).releases["g"].live == "new"
    assert set(board.replicas()) == {"a", "c"}


def test_a_share_is_tried_taken_back_and_made_whole(board: Board) -> None:
    board.meet("a", {"old"}, board.state)
    board.want("g", "new", 0.1)
    tried = board.meet("a", {"old", "new"}, board.state).releases["g"]
    assert tried == Release("old", "new", 0.1, ready=True)
    assert board.want("g", "new", 0.5).releases["g"] == Release("old", "new", 0.5, ready=True)
    assert board.want("g", "new", 0).releases["g"] == Release("old")
    board.want("g", "new", 0.1)
    assert board.want("g", "new", 1).releases["g"] == Release("new")


def test_a_pair_that_one_cannot_load_is_given_up(board: Board) -> None:
    for replica in "ab":
        board.meet(replica, {"old"}, board.state)
    board.want("g", "new", 1)
    board.meet("a", {"old", "new"}, board.state)
    board.fail("new", "it is damaged")
    assert board.meet("b", {"old"}, board.state).releases["g"] == Release("old")
    assert board.state.problem == "it is damaged"


def test_a_board_that_was_lost_is_told_by_whoever_comes_first(board: Board) -> None:
    known = State(7, {"g": Release("newer")})
    assert board.meet("a", {"newer"}, known) == known
    assert board.meet("b", {"newer"}, State(1)) == known


def test_a_service_keeps_what_was_swapped_until_it_is_deployed_with_others() -> None:
    async def story() -> list[State]:
        shared = Shared(Load())
        first = await shared.begin_with({"g": "old"})
        await shared.meet("a", {"old", "new"}, first)
        swapped = await shared.want("g", "new", 1)
        again = await shared.begin_with({"g": "old"})  # a replica that was lost has begun anew
        return [swapped, again, await shared.begin_with({"g": "third"})]

    swapped, again, other = run(story())
    assert again == swapped and again.releases["g"] == Release("new")
    assert other.releases["g"] == Release("third") and other.version > again.version


class Asked:
    """A name for a model that remembers who was asked for it."""

    def __init__(self, name: str, uri: str) -> None:
        self.name, self.uri = name, uri


def test_a_replica_that_starts_beside_a_board_that_was_lost_takes_no_swap_back() -> None:
    async def story() -> list[State]:
        shared = Shared(Load())
        first = await shared.begin_with({"g": "old"})
        await shared.meet("a", {"old", "new"}, first)
        await shared.want("g", "new", 1)
        swapped = await shared.meet("a", {"old", "new"}, first)
        anew = Shared(Load())  # the actor's node was lost
        await anew.meet("a", {"new"}, swapped)
        started = await anew.begin_with({"g": "old"})  # of a replica that was lost with it
        return [swapped, started, await anew.begin_with({"g": "third"})]

    swapped, started, deployed = run(story())
    assert started.releases["g"].live == swapped.releases["g"].live == "new"
    assert deployed.releases["g"].live == "third"


def test_replicas_follow_the_board_and_answer_from_it_together() -> None:
    def load(name: str, uri: str) -> Any:
        if uri == "broken":
            raise UserError("it is damaged")
        return Asked(name, uri)

    async def story() -> None:
        shared = Shared(Load())
        replicas = [Releases(name, load) for name in "abc"]
        state = await shared.begin_with({"g": "old"})
        for each in replicas:
            each.load(state)
            await shared.meet(each.replica, each.loaded, state)
        watching = [asyncio.create_task(each.watch(shared)) for each in replicas]

        async def until(live: str) -> None:
            async with asyncio.timeout(5):
                while {each.models["g"].uri for each in replicas} != {live}:
                    await asyncio.sleep(0.005)

        seen: set[tuple[str, ...]] = set()

        async def look() -> None:
            while True:
                seen.add(tuple(each.pick("g").uri for each in replicas))
                await asyncio.sleep(0.001)

        looking = asyncio.create_task(look())
        await shared.want("g", "new", 1)
        await until("new")
        assert len(seen - {("old",) * 3, ("new",) * 3}) <= 2  # one moment, for each loop in turn
        assert [pair.uri for pair in replicas[0].pairs("g")] == ["new", "old"]
        await shared.want("g", "broken", 1)
        while (await shared.models())[0].problem is None:
            await asyncio.sleep(0.005)
        assert replicas[0].models["g"].uri == "new"
        await shared.want("g", "old", 0.3)
        async with asyncio.timeout(5):
            for each in replicas:  # they change at one moment, but in turns of their loops
                while each.pick("g").uri != "old":
                    await asyncio.sleep(0)
        drawn = [replicas[1].pick("g").uri for _ in range(2000)]
        assert 0.2 < drawn.count("old") / len(drawn) < 0.4
        for task in (*watching, looking):
            task.cancel()

    run(story())


def test_a_pair_is_of_one_encoder_and_its_own_index(
    model: Model, other_pair: Artifact, store: Folder
) -> None:
    other = load_model("gestures", other_pair.uri)
    assert model.source["encoder"] != other.source["encoder"]
    for each in (model, other):
        text = each.gestures.rows["text"][4].as_py()
        [hits] = each.texts.search(each.embed_texts([text]), 1)
        assert hits[0].score == pytest.approx(1, abs=1e-3)  # its own vectors, not the other's
