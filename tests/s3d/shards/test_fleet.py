"""Proves who is seen as up, how soon, and which puts are waited for."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from s3d.shards.fleet import Extent, Fleet
from s3d.shards.health import FleetLimits
from s3d.shards.verdict import VerdictLimits
from shardd.contract.blobs import NodeId, new_blob_id, unit_crc
from shardd.contract.cluster import ErasureConfig
from shardd.contract.errors import (
    DeadlineError,
    ShardError,
    ShardNotFoundError,
    StorageFullError,
    UnreachableError,
)
from shardd.contract.messages import GetUnits, PutExtent, Status
from tests.s3d.blobs.fake_node import FakeNode

LIMITS = FleetLimits(
    heartbeat_s=0.02,
    silence_s=0.1,
    stall_s=0.1,
    standstill_s=0.3,
    slow_s=0.9,
    watch_s=0.02,
    put_deadline_s=9.0,
)
BLOB = new_blob_id(1)


@asynccontextmanager
async def running(
    count: int = 5, limits: FleetLimits = LIMITS
) -> AsyncIterator[tuple[Fleet, list[FakeNode]]]:
    nodes = [FakeNode(NodeId(number)) for number in range(1, count + 1)]
    fleet = Fleet(nodes, limits=limits)
    task = asyncio.create_task(fleet.run())
    try:
        await until(fleet, {node.node for node in nodes})
        yield fleet, nodes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fleet: Fleet, up: set[NodeId]) -> None:
    async with asyncio.timeout(5):
        while fleet.up() != up:
            await asyncio.sleep(0.002)


async def status_of(fleet: Fleet, node: NodeId, state: str) -> None:
    async with asyncio.timeout(5):
        while (status := fleet.statuses()[node]) is None or status.state != state:
            await asyncio.sleep(0.002)


def extent(node: int, shard: int = 0) -> Extent:
    crcs = unit_crc(BLOB, shard, 0, b"unit").to_bytes(4, "big")
    return Extent(NodeId(node), PutExtent(BLOB, shard, 0, 1, 4, crcs, True), [b"unit"])


def kinds(outcomes: list[ShardError | None]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


async def test_nobody_is_up_before_the_first_answer() -> None:
    fleet = Fleet([FakeNode(NodeId(1))])
    assert not fleet.up() and not fleet.writable() and fleet.statuses() == {1: None}
    assert not fleet.can_write(ErasureConfig(data=1, parity=0))


async def test_the_first_round_ends_when_each_node_was_asked_whatever_it_said() -> None:
    nodes = [FakeNode(NodeId(number)) for number in (1, 2, 3)]
    nodes[1].dead = True
    fleet = Fleet(nodes, limits=LIMITS)
    task = asyncio.create_task(fleet.run())
    async with asyncio.timeout(5):
        await fleet.first_round()
    assert fleet.up() == {1, 3}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_refused_request_takes_its_node_down_at_once_and_a_status_brings_it_back() -> None:
    async with running(limits=FleetLimits(heartbeat_s=0.05)) as (fleet, nodes):
        nodes[1].dead = True
        with pytest.raises(UnreachableError):
            await fleet.get(NodeId(2), GetUnits(BLOB, 0, 0, 0, 1), deadline_s=1)
        assert fleet.up() == {1, 3, 4, 5} and fleet.statuses()[NodeId(2)] is None
        nodes[1].dead = False
        await until(fleet, {NodeId(number) for number in range(1, 6)})


async def test_silence_takes_a_node_down() -> None:
    async with running() as (fleet, nodes):
        nodes[2].silent = True
        await until(fleet, {NodeId(number) for number in (1, 2, 4, 5)})
        nodes[2].silent = False
        await until(fleet, {NodeId(number) for number in range(1, 6)})


async def test_a_late_process_does_not_blame_its_nodes() -> None:
    """The deadline of the heartbeat passes while this process has no time, so it says nothing about the node."""
    times = iter([float(number) for number in range(0, 10_000, 5)])
    nodes = [FakeNode(NodeId(1))]
    fleet = Fleet(nodes, limits=LIMITS, clock=lambda: next(times))
    task = asyncio.create_task(fleet.run())
    await until(fleet, {NodeId(1)})
    nodes[0].silent = True
    for _ in range(30):
        await asyncio.sleep(0.01)
    assert fleet.up() == {1}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Counting(FakeNode):
    asked = 0

    async def status(self, *, deadline_s: float) -> Status:
        self.asked += 1
        return await super().status(deadline_s=deadline_s)


async def test_a_node_that_answers_is_asked_how_it_is_once_in_a_while() -> None:
    node, now = _Counting(NodeId(1)), [100.0]
    fleet = Fleet([node], limits=LIMITS, clock=lambda: now[0])
    task = asyncio.create_task(fleet.run())
    await until(fleet, {NodeId(1)})
    for _ in range(10):
        await asyncio.sleep(LIMITS.heartbeat_s)
    assert node.asked == 1
    now[0] += LIMITS.status_life_s + 1
    while node.asked == 1:
        await asyncio.sleep(LIMITS.heartbeat_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_miss_is_no_fault_of_the_node() -> None:
    async with running() as (fleet, _):
        with pytest.raises(ShardNotFoundError):
            await fleet.get(NodeId(2), GetUnits(BLOB, 0, 0, 0, 1), deadline_s=1)
        assert len(fleet.up()) == 5


async def test_a_full_node_is_up_and_takes_nothing() -> None:
    async with running() as (fleet, nodes):
        nodes[0].full = True
        async with asyncio.timeout(5):
            while NodeId(1) in fleet.writable():
                await asyncio.sleep(0.002)
        assert NodeId(1) in fleet.up()
        assert kinds(await fleet.put_all([extent(1)])) == [StorageFullError]


@pytest.mark.parametrize(("down", "answer"), [(0, True), (2, True), (3, False), (5, False)])
async def test_it_knows_whether_a_put_would_be_acknowledged(down: int, answer: bool) -> None:
    async with running() as (fleet, nodes):
        for node in nodes[:down]:
            node.dead = True
        await until(fleet, {node.node for node in nodes[down:]})
        assert fleet.can_write(ErasureConfig()) is answer


async def test_outcomes_stand_in_the_order_of_the_extents() -> None:
    async with running() as (fleet, nodes):
        nodes[1].dead = True
        nodes[3].full = True
        outcomes = await fleet.put_all([extent(5), extent(4, 1), extent(2, 2), extent(1, 3)])
        assert kinds(outcomes) == [type(None), StorageFullError, UnreachableError, type(None)]


async def test_a_node_that_stands_still_while_others_move_is_given_up() -> None:
    patient = FleetLimits(heartbeat_s=0.02, silence_s=0.1, stall_s=0.1, standstill_s=60, watch_s=0.02)
    async with running(limits=patient) as (fleet, nodes):
        nodes[0].silent_puts = True
        async with asyncio.timeout(3):
            assert kinds(await fleet.put_all([extent(1), extent(2, 1)], spare=bool)) == [
                DeadlineError,
                type(None),
            ]
        assert len(fleet.up()) == 5


async def test_a_put_that_waits_long_is_not_given_up_while_its_node_moves() -> None:
    """A node with a long queue answers others in the meantime: it does not stand still."""
    limits = FleetLimits(heartbeat_s=0.02, silence_s=0.1, stall_s=0.25, watch_s=0.02)
    async with running(limits=limits) as (fleet, nodes):
        nodes[0].slow_s = 0.6
        slow = asyncio.create_task(fleet.put_all([extent(1), extent(2, 1)]))
        while not nodes[0].puts:
            await asyncio.sleep(0)
        nodes[0].slow_s = 0.01
        shard = 2
        while not slow.done():
            await fleet.put_all([extent(1, shard)])
            shard += 1
        assert kinds(slow.result()) == [type(None), type(None)] and shard > 10


@pytest.mark.parametrize(("busy", "patience_s"), [(False, LIMITS.standstill_s), (True, LIMITS.slow_s)])
async def test_when_all_stand_still_they_are_given_up_later(busy: bool, patience_s: float) -> None:
    """Much later, where they say themselves that their disks are busy."""
    async with running() as (fleet, nodes):
        for node in nodes:
            node.silent_puts, node.busy = True, busy
        await status_of(fleet, nodes[0].node, "busy" if busy else "ok")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert kinds(await fleet.put_all([extent(1), extent(2, 1)])) == [DeadlineError] * 2
        assert patience_s <= loop.time() - began_s < LIMITS.put_deadline_s
        assert len(fleet.writable()) == 5


async def test_what_cannot_be_spared_is_waited_for_longer() -> None:
    limits = FleetLimits(heartbeat_s=0.02, silence_s=0.1, stall_s=0.05, standstill_s=0.4, watch_s=0.02)
    async with running(limits=limits) as (fleet, nodes):
        nodes[0].slow_s = nodes[1].slow_s = 0.2
        asked: list[set[int]] = []

        def spare(numbers: Collection[int]) -> bool:
            asked.append(set(numbers))
            return numbers <= {1}

        outcomes = await fleet.put_all([extent(1), extent(2, 1), extent(3, 2)], spare=spare)
        assert kinds(outcomes) == [type(None)] * 3 and {0, 1} in asked
        nodes[0].silent_puts = nodes[1].silent_puts = True
        outcomes = await fleet.put_all([extent(1, 3), extent(2, 4), extent(3, 5)], spare=spare)
        assert kinds(outcomes) == [DeadlineError, DeadlineError, type(None)]


async def test_puts_to_a_node_that_goes_down_end() -> None:
    async with running(limits=FleetLimits(heartbeat_s=0.02, silence_s=0.1, stall_s=60, watch_s=0.02)) as (
        fleet,
        nodes,
    ):
        nodes[0].silent = True
        async with asyncio.timeout(3):
            assert kinds(await fleet.put_all([extent(1), extent(2, 1)], spare=bool)) == [
                DeadlineError,
                type(None),
            ]


async def prompt(fleet: Fleet, nodes: set[int]) -> None:
    async with asyncio.timeout(5):
        while fleet.prompt() != nodes:
            await asyncio.sleep(0.002)


async def test_a_node_that_is_quiet_while_others_answer_is_slow_until_it_answers() -> None:
    limits = FleetLimits(heartbeat_s=0.02, silence_s=30, quiet_s=0.05)
    async with running(limits=limits) as (fleet, nodes):
        nodes[2].slow_s = 0.6
        await prompt(fleet, {1, 2, 4, 5})
        assert len(fleet.up()) == 5 and fleet.writable() == {1, 2, 4, 5}
        assert fleet.choices()[-1] == fleet.up()
        nodes[2].slow_s = 0.0
        await prompt(fleet, {1, 2, 3, 4, 5})


async def test_when_most_are_quiet_it_is_the_machine() -> None:
    limits = FleetLimits(heartbeat_s=0.02, silence_s=30, quiet_s=0.05)
    async with running(limits=limits) as (fleet, nodes):
        for node in nodes[:4]:
            node.slow_s = 0.3
        for _ in range(40):
            await asyncio.sleep(0.01)
            assert len(fleet.prompt()) == 5


async def test_one_busy_node_is_left_alone_and_five_are_not() -> None:
    async with running() as (fleet, nodes):
        nodes[0].busy = True
        await prompt(fleet, {2, 3, 4, 5})
        assert not fleet.choices()[0] & {1} and 1 in fleet.up()
    async with running() as (fleet, nodes):
        for node in nodes:
            node.busy = True
        for node in nodes:
            await status_of(fleet, node.node, "busy")
        await asyncio.sleep(5 * LIMITS.heartbeat_s)
        assert len(fleet.writable()) == 5


async def test_a_node_whose_puts_stood_still_is_tried_again_and_condemned_sooner() -> None:
    limits = FleetLimits(heartbeat_s=0.02, stall_s=1.0, trial_s=0.05, watch_s=0.01)
    verdict = VerdictLimits(back_off_first_s=0.1, trial_s=30)
    async with running(limits=limits) as (fleet, nodes):
        fleet._health[NodeId(1)].verdict.limits = verdict
        nodes[0].silent_puts = True
        loop = asyncio.get_running_loop()
        for at_least_s, at_most_s in ((1.0, 10.0), (0.05, 0.99)):
            began_s = loop.time()
            outcomes = await fleet.put_all([extent(1), extent(2, 1)], spare=bool)
            assert kinds(outcomes) == [DeadlineError, type(None)]
            assert at_least_s <= loop.time() - began_s < at_most_s
            assert fleet.prompt() == {2, 3, 4, 5}
            await prompt(fleet, {1, 2, 3, 4, 5})


async def test_a_late_get_asks_how_the_node_is_at_once() -> None:
    limits = FleetLimits(heartbeat_s=3, silence_s=3, quiet_s=0.05)
    async with running(limits=limits) as (fleet, nodes):
        nodes[0].silent = True
        fleet.late(NodeId(1), asyncio.get_running_loop().time())
        async with asyncio.timeout(1):
            while 1 in fleet.prompt():
                await asyncio.sleep(0.002)
