"""Owns which nodes this process deals with: the member rows, looked at again and again; never changes a row."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, Protocol

from s3d.blobs.states import States
from s3d.metadata.rows import ACTIVE, NodeRow
from s3d.placement.ring import Ring
from s3d.shards.fleet import Fleet
from s3d.shards.port import NodeClient
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig


class Member(NamedTuple):
    """A node that may hold shards. `joined_us`: when it joined a cluster that stood already, else 0."""

    node: NodeId
    host: str
    port: int
    s3_port: int
    zone: str
    state: str
    joined_us: int

    @property
    def active(self) -> bool:
        """It takes new shards; one that is not is drained."""
        return self.state == ACTIVE

    @property
    def config(self) -> NodeConfig:
        """Where it is reached; where its folder is, it alone knows."""
        return NodeConfig(self.node, self.host, self.port, Path(), self.s3_port, self.zone)


class Connection(NodeClient, Protocol):
    """A client that is let go of when its node is no member any more."""

    async def close(self) -> None:
        """Ends it; requests in flight fail."""


def member_of(row: NodeRow) -> Member:
    """What a row says of a member."""
    node = NodeId(row.node)
    return Member(node, row.host, row.port, row.s3_port, row.zone, row.state, row.joined_us)


class Membership:
    """Keeps `fleet` and `ring` as the rows say: members are in the fleet, the active ones in the ring too.

    `connect` makes the client of a node.
    """

    def __init__(
        self, fleet: Fleet, ring: Ring, *, states: States, connect: Callable[[NodeConfig], Connection]
    ) -> None:
        self.members: tuple[Member, ...] = ()
        self._fleet = fleet
        self.ring = ring
        self._states = states
        self._connect = connect
        self._clients: dict[NodeId, Connection] = {}

    async def follow(self) -> None:
        """Look at the rows, and do as they say. RowError where they are damaged: all stays as it was.

        New nodes are connected to before the ring names them, and what goes has left the ring before its client does.
        """
        with self._states.view() as view:
            members = tuple(member_of(row) for row in view.nodes() if row.member)
        if members == self.members:
            return
        known = {member.node: member for member in self.members}
        for member in members:
            if member.node not in known or known[member.node].config != member.config:
                await self._admit(member)
        self._fleet.retire(member.node for member in members if not member.active)
        if _placing(members) != _placing(self.members):
            active = [member.config for member in members if member.active]
            self.ring.adopt(await asyncio.to_thread(Ring, active))
        for node in known.keys() - {member.node for member in members}:
            self._fleet.dismiss(node)
            await self._clients.pop(node).close()
        self.members = members

    async def close(self) -> None:
        """Let go of every node."""
        for client in self._clients.values():
            await client.close()

    async def _admit(self, member: Member) -> None:
        client = self._connect(member.config)
        before = self._clients.get(member.node)
        self._clients[member.node] = client
        self._fleet.admit(client)
        if before is not None:
            await before.close()


def _placing(members: Collection[Member]) -> set[tuple[NodeId, str]]:
    """All that the ring is made of."""
    return {(member.node, member.zone) for member in members if member.active}
