"""Owns what commands about nodes do: who is a member, where it is reached, in which life; never touches a blob."""

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import AddNode, ImportNodes, NodeAddress, RegisterNode, SetNodeState
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import ACTIVE, DRAINING, REMOVED, NodeRow


def register_node(step: Step, command: RegisterNode) -> Outcome:
    """The outcome's `changed` tells a life of the node that was not known."""
    known = _known(step, command.node)
    row = msgspec.structs.replace(known, incarnation=command.incarnation, since_us=step.time_us)
    return _put(step, [row] if known.incarnation != command.incarnation else [])


def import_nodes(step: Step, command: ImportNodes) -> Outcome:
    """`changed`: whether a node became a member, or has another address."""
    started = any(row.port for row in step.view.nodes())
    rows = [(_known(step, address.node), address) for address in command.nodes]
    placed = [(row, _placed(row, address)) for row, address in rows if row.member or not started]
    return _put(step, [new for old, new in placed if new != old])


def add_node(step: Step, command: AddNode) -> Outcome:
    """Errors as AddNode says. A member that is active already keeps the time at which it joined."""
    address = command.address
    for row in step.view.nodes():
        if row.member and row.node != address.node and (row.host, row.port) == (address.host, address.port):
            raise Refused("OperationAborted", f"node {row.node} has that address")
    known = _known(step, address.node)
    row = _placed(known, address)
    if not known.member or known.state != ACTIVE:
        row = msgspec.structs.replace(row, state=ACTIVE, joined_us=step.time_us)
    return _put(step, [row] if row != known else [])


def set_node_state(step: Step, command: SetNodeState) -> Outcome:
    """Errors as SetNodeState says."""
    known = _known(step, command.node)
    if not known.member:
        raise Refused("OperationAborted", f"node {command.node} is no member")
    if command.state == REMOVED and known.state != DRAINING and not command.lost:
        raise Refused("OperationAborted", f"node {command.node} is not drained")
    others = [
        row for row in step.view.nodes() if row.member and row.state == ACTIVE and row.node != command.node
    ]
    if len(others) < command.active_min:
        raise Refused(
            "OperationAborted", f"{len(others)} other nodes are active, and {command.active_min} are needed"
        )
    row = msgspec.structs.replace(known, state=command.state)
    return _put(step, [row] if row != known else [])


def _known(step: Step, node: int) -> NodeRow:
    """What the state has of a node; a row without a life where it has nothing."""
    return step.view.node(node) or NodeRow(node, b"", 0)


def _placed(row: NodeRow, address: NodeAddress) -> NodeRow:
    return msgspec.structs.replace(
        row, host=address.host, port=address.port, s3_port=address.s3_port, zone=address.zone
    )


def _put(step: Step, rows: list[NodeRow]) -> Outcome:
    for row in rows:
        step.put(tables.NODES, keys.node_key(row.node), row)
    return Outcome(index=step.index, changed=bool(rows))
