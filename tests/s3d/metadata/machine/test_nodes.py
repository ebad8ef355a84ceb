"""Owns the proof of what commands about nodes do: the file's nodes come first, rows rule from then on."""

from typing import Any

import pytest

from s3d.metadata import commands, rows, tables
from s3d.metadata.commands import NodeAddress
from s3d.metadata.keys import node_key
from tests.s3d.metadata.machine.story import Story


def address(node: int, port: int = 0) -> NodeAddress:
    return NodeAddress(node, "host", port or 9_000 + node, 8_000 + node, "")


FILE = tuple(map(address, range(1, 6)))


@pytest.fixture
def story() -> Story:
    return Story()


def states(story: Story) -> dict[int, str]:
    return {row.node: row.state for row in story.view.nodes() if row.member}


def move(story: Story, node: int, state: str, **more: Any) -> str:
    return story.tell(commands.SetNodeState, node=node, state=state, active_min=5, **more).error


def test_the_first_import_makes_members_a_later_one_only_corrects_addresses(story: Story) -> None:
    assert story.tell(commands.ImportNodes, nodes=FILE).changed
    assert not story.tell(commands.ImportNodes, nodes=FILE).changed
    assert states(story) == dict.fromkeys(range(1, 6), "active")
    assert {row.joined_us for row in story.view.nodes()} == {0}
    assert story.tell(commands.ImportNodes, nodes=(*FILE[:4], address(5, 77), address(6))).changed
    assert states(story) == dict.fromkeys(range(1, 6), "active")
    assert [row.port for row in story.view.nodes()] == [9_001, 9_002, 9_003, 9_004, 77]


def test_rows_from_before_membership_are_no_members_and_keep_their_lives(story: Story) -> None:
    story.tables.put(tables.NODES, node_key(1), rows.encode_row(node_key(1), rows.NodeRow(1, b"a life", 5)))
    assert states(story) == {}
    assert story.tell(commands.ImportNodes, nodes=FILE).changed
    row = story.view.node(1)
    assert row is not None and row.member and (row.incarnation, row.since_us) == (b"a life", 5)
    story.tell(commands.RegisterNode, node=1, incarnation=b"another")
    row = story.view.node(1)
    assert row is not None and row.member and row.incarnation == b"another"


def test_a_node_joins_is_drained_removed_and_joins_again(story: Story) -> None:
    story.tell(commands.ImportNodes, nodes=FILE)
    assert story.tell(commands.AddNode, address=address(6)).changed
    assert not story.tell(commands.AddNode, address=address(6)).changed
    first = story.view.node(6)
    assert first is not None and first.joined_us > 0
    assert move(story, 6, "removed") == "OperationAborted", "it is not drained"
    assert move(story, 6, "draining") == ""
    assert states(story)[6] == "draining"
    assert move(story, 6, "removed") == ""
    assert 6 not in states(story)
    assert move(story, 6, "draining") == "OperationAborted", "it is no member"
    assert story.tell(commands.ImportNodes, nodes=(*FILE, address(6))).changed is False
    assert story.tell(commands.AddNode, address=address(6)).changed
    again = story.view.node(6)
    assert again is not None and again.member and again.joined_us > first.joined_us


def test_as_many_nodes_stay_active_as_a_blob_has_shards(story: Story) -> None:
    story.tell(commands.ImportNodes, nodes=FILE)
    assert move(story, 2, "draining") == "OperationAborted"
    assert move(story, 2, "removed", lost=True) == "OperationAborted"
    story.tell(commands.AddNode, address=address(6))
    assert move(story, 2, "removed", lost=True) == ""
    assert states(story) == dict.fromkeys((1, 3, 4, 5, 6), "active")
    assert move(story, 3, "draining") == "OperationAborted"


def test_an_address_is_of_one_member(story: Story) -> None:
    story.tell(commands.ImportNodes, nodes=FILE)
    outcome = story.tell(commands.AddNode, address=address(6, 9_003))
    assert (outcome.error, outcome.detail) == ("OperationAborted", "node 3 has that address")
