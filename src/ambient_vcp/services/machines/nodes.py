"""What owners and the operator do with nodes."""

from __future__ import annotations

from ambient_vcp.domain.errors import ForbiddenError, NotFoundError
from ambient_vcp.domain.ids import AccountId, NodeId
from ambient_vcp.domain.nodes.node import Node, NodeStatus
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.machines.enrolment import GONE
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks.settle import attempt_ended
from ambient_vcp.services.tasks.standings import Standings

LEASES_MAX = 1_000


def the_node(tx: Transaction, node_id: NodeId) -> Node:
    """A node that was not deleted; raises NotFoundError."""
    node = tx.nodes.get(node_id)
    if node is None or node.status is NodeStatus.DELETED:
        raise NotFoundError(kind="node", id=node_id)
    return node


def own_node(tx: Transaction, node_id: NodeId, owner_id: AccountId) -> Node:
    """The caller's own node; NotFoundError for anybody else's, too."""
    node = the_node(tx, node_id)
    if node.owner_id != owner_id:
        raise NotFoundError(kind="node", id=node_id)
    return node


def remove(
    tx: Transaction, *, node_id: NodeId, owner_id: AccountId, status: NodeStatus, entropy: Entropy
) -> list[LeaseRef]:
    """Delete or reject a node; its leases are given back. Answers those leases."""
    own_node(tx, node_id, owner_id)
    cut = [entry.lease for entry in tx.tasks.node_leases(node_id, LEASES_MAX)]
    reason = f"node_{status}"
    standings = Standings(tx)
    for lease in cut:
        if tx.tasks.record_failure(lease, reason, "the owner took the node away", b""):
            attempt_ended(tx, lease, reason, standings, entropy)
    standings.save()
    tx.nodes.set_status(node_id, status)
    tx.nodes.add_event(node_id, kind=str(status))
    audit.record(tx, f"node.{status}", actor=owner_id, subject=node_id)
    return cut


def drain(tx: Transaction, *, node_id: NodeId, actor: str, draining: bool) -> Node:
    """Stop or resume giving new work to a node; what it holds it may finish.

    Raises:
        ForbiddenError: it was rejected.
    """
    node = the_node(tx, node_id)
    if node.status in GONE:
        raise ForbiddenError(reason=f"node {node_id} was {node.status}")
    wanted = NodeStatus.DRAINING if draining else NodeStatus.ONLINE
    # An offline node becomes online by being heard from, not by a word of its owner.
    if node.status is not wanted and (draining or node.status is NodeStatus.DRAINING):
        tx.nodes.set_status(node_id, wanted)
        kind = "draining" if draining else "undrained"
        tx.nodes.add_event(node_id, kind=kind)
        audit.record(tx, f"node.{kind}", actor=actor, subject=node_id)
    return the_node(tx, node_id)


def trust(tx: Transaction, *, node_id: NodeId, actor: str, trusted: bool) -> Node:
    """Let a node's re-executions decide disputes, or not any more."""
    the_node(tx, node_id)
    tx.nodes.set_trusted(node_id, trusted=trusted)
    kind = "node.trusted" if trusted else "node.untrusted"
    audit.record(tx, kind, actor=actor, subject=node_id)
    return the_node(tx, node_id)
