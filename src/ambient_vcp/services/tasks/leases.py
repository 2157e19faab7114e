"""What a node does with a lease: confirm it, keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import NodeLease, Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks.progress import refresh_state

CLAIM_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """``renewed`` maps (task, slot) to the new expiry; ``lost`` leases are over: stop working."""

    renewed: dict[tuple[TaskId, int], int]
    lost: tuple[LeaseRef, ...]
    now_ms: int


def claim(
    tx: Transaction,
    *,
    node_id: NodeId,
    at_most: int = CLAIM_MAX,
    leases: Sequence[LeaseRef] | None = None,
) -> list[NodeLease]:
    """Confirm the named leases, or up to ``at_most`` unclaimed ones, oldest first."""
    if leases is None:
        wanted = tx.tasks.unclaimed(node_id, min(at_most, CLAIM_MAX))
    else:
        wanted = [lease for lease in leases if lease.node_id == node_id][:CLAIM_MAX]
    if not wanted:
        return []
    claimed = tx.tasks.claim(wanted)
    records = tx.tasks.load(list({entry.lease.task_id for entry in claimed}))
    for record in records.values():
        refresh_state(tx, record)
    for entry in claimed:
        audit.task_event(
            tx,
            "attempt.started",
            account_id=records[entry.lease.task_id].task.account_id,
            task_id=entry.lease.task_id,
            node_id=node_id,
            fields={"slot": str(entry.lease.slot), "epoch": str(entry.lease.epoch)},
        )
    return claimed


def renew(
    tx: Transaction, *, node_id: NodeId, leases: Sequence[LeaseRef], lease_ms: int
) -> Renewal:
    """Extend the node's live leases; say which are lost."""
    own = [lease for lease in leases if lease.node_id == node_id]
    # Epochs only rise: of two leases on one slot the older cannot be live.
    newest: dict[tuple[TaskId, int], LeaseRef] = {}
    for lease in sorted(own, key=lambda each: each.epoch):
        newest[lease.task_id, lease.slot] = lease
    renewed = tx.tasks.renew(list(newest.values()), lease_ms=lease_ms)
    kept = {newest[place] for place in renewed}
    lost = tuple(lease for lease in own if lease not in kept)
    return Renewal(renewed=renewed, lost=lost, now_ms=tx.now_ms())
