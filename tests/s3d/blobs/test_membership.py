"""A process follows the member rows: nodes come into fleet and ring, are drained, and are let go of, while it runs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from s3d.blobs.membership import Connection, Membership
from s3d.metadata import commands
from s3d.metadata.commands import NodeAddress
from s3d.metadata.view import View
from s3d.placement.ring import Ring
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig
from shardd.contract.errors import UnreachableError
from tests.s3d.blobs.conftest import QUICK
from tests.s3d.blobs.fake_node import FakeNode
from tests.s3d.metadata.machine.story import Story


@dataclass(slots=True)
class Node(FakeNode):
    """A node that says whether it was let go of."""

    closed: bool = False
    port: int = 0

    async def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class World:
    """Rows, and a process that follows them. `made`: every client, in the order in which they were."""

    story: Story = field(default_factory=Story)
    made: list[Node] = field(default_factory=list)
    fleet: Fleet = field(default_factory=lambda: Fleet((), limits=QUICK))
    ring: Ring = field(default_factory=lambda: Ring(()))

    @contextmanager
    def view(self) -> Iterator[View]:
        yield self.story.view

    def connect(self, config: NodeConfig) -> Connection:
        self.made.append(Node(config.id, port=config.port))
        return self.made[-1]

    def address(self, node: int, port: int = 0) -> NodeAddress:
        return NodeAddress(node, "host", port or 9_000 + node, 8_000 + node)


@pytest.fixture
def world() -> World:
    made = World()
    made.story.tell(commands.ImportNodes, nodes=tuple(map(made.address, range(1, 6))))
    return made


def membership(world: World) -> Membership:
    return Membership(world.fleet, world.ring, states=world, connect=world.connect)


async def test_nodes_come_are_drained_and_go_while_the_fleet_runs(world: World) -> None:
    follows = membership(world)
    await follows.follow()
    running = asyncio.create_task(world.fleet.run())
    try:
        await world.fleet.first_round()
        assert world.fleet.writable() == {1, 2, 3, 4, 5}
        world.story.tell(commands.AddNode, address=world.address(6))
        await follows.follow()
        await until(lambda: world.fleet.writable() == {1, 2, 3, 4, 5, 6})
        assert sorted(world.ring.walk(b"key")) == [1, 2, 3, 4, 5, 6]
        world.story.tell(commands.SetNodeState, node=6, state="draining", active_min=5)
        await follows.follow()
        assert world.fleet.writable() == {1, 2, 3, 4, 5} and 6 in world.fleet.up(), "it is read"
        assert sorted(world.ring.walk(b"key")) == [1, 2, 3, 4, 5]
        world.story.tell(commands.SetNodeState, node=6, state="removed", active_min=5)
        await follows.follow()
        assert world.fleet.nodes == (1, 2, 3, 4, 5) and [node.node for node in world.made if node.closed] == [
            6
        ]
        with pytest.raises(UnreachableError):
            await world.fleet.stat(NodeId(6), b"b" * 16, 0, deadline_s=1.0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_as_it_was_is_left_alone(world: World) -> None:
    follows = membership(world)
    await follows.follow()
    await follows.follow()
    world.story.tell(commands.RegisterNode, node=1, incarnation=b"another life")
    await follows.follow()
    assert [node.node for node in world.made] == [1, 2, 3, 4, 5] and not any(
        node.closed for node in world.made
    )


async def test_a_node_with_another_address_gets_another_client(world: World) -> None:
    follows = membership(world)
    await follows.follow()
    walk = world.ring.walk(b"key")
    world.story.tell(commands.AddNode, address=world.address(2, 77))
    await follows.follow()
    assert [(node.node, node.port) for node in world.made[5:]] == [(2, 77)]
    assert [node.node for node in world.made if node.closed] == [2] and world.ring.walk(b"key") == walk
    await follows.close()
    assert all(node.closed for node in world.made)


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)
