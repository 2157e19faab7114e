"""What a heartbeat does: stamp, store measurements, answer what the node holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ambient_vcp.domain.errors import ForbiddenError, NotFoundError
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.health import health_of
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.nodes.reputation import score
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.ports.store import NodeLease, Transaction

LEASES_MAX = 256
SAMPLE_MS = 300_000
"""The history keeps one sample in this time, not every heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The node as stored now, its live leases, and whether it has just come back online."""

    node: Node
    leases: tuple[NodeLease, ...]
    now_ms: int
    returned: bool


def beat(
    tx: Transaction,
    *,
    node_id: NodeId,
    telemetry: Telemetry | None,
    report: NodeReport | None,
    network_prefix: str | None,
) -> Beat:
    """Take one heartbeat. ``network_prefix`` is None when it came from the owner, not the node.

    Raises:
        NotFoundError: no such node, or it was deleted.
        ForbiddenError: it was rejected.
    """
    before = tx.nodes.get(node_id)
    if before is None or before.status is NodeStatus.DELETED:
        raise NotFoundError(kind="node", id=node_id)
    if before.status is NodeStatus.REJECTED:
        raise ForbiddenError(reason=f"node {node_id} was rejected by its owner")
    tx.nodes.heartbeat(
        node_id,
        telemetry=telemetry,
        report=report,
        network_prefix=before.network_prefix if network_prefix is None else network_prefix,
    )
    now_ms = tx.now_ms()
    returned = before.status is NodeStatus.OFFLINE
    # What was just written, without reading it again: this is the busiest use case of all.
    node = replace(
        before,
        status=NodeStatus.ONLINE if returned else before.status,
        last_seen_at_ms=now_ms,
        telemetry=before.telemetry if telemetry is None else telemetry,
        telemetry_received_at_ms=before.telemetry_received_at_ms if telemetry is None else now_ms,
        report=before.report if report is None else report,
    )
    if returned or before.last_seen_at_ms // SAMPLE_MS != now_ms // SAMPLE_MS:
        tx.nodes.add_event(
            node_id,
            kind="online" if returned else "heartbeat",
            health_percent=health_of(node.telemetry, score(node.reputation)).percent,
            active_tasks=node.active_leases,
        )
    leases = tuple(tx.tasks.node_leases(node_id, LEASES_MAX)) if node.active_leases else ()
    return Beat(node=node, leases=leases, now_ms=now_ms, returned=returned)
