"""What moves without anybody asking: expired leases, timeouts, silent nodes."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.nodes.node import NodeStatus
from ambient_vcp.domain.tasks.deadlines import timed_out
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import Fail
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks import finish
from ambient_vcp.services.tasks.progress import refresh_state
from ambient_vcp.services.tasks.settle import attempt_ended
from ambient_vcp.services.tasks.standings import Standings


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one sweep did. ``more`` says that a bound was hit and another sweep should follow."""

    expired: int
    timed_out: int
    offline: int
    cancelled: tuple[LeaseRef, ...]
    more: bool


def sweep(tx: Transaction, *, settings: WorkSettings, entropy: Entropy) -> SweepReport:
    """One bounded sweep. Repeating it, or running several at once, changes nothing more."""
    cancelled: list[LeaseRef] = []
    standings = Standings(tx)
    expired = tx.tasks.expire(settings.batch_max)
    for lease in expired:
        audit.record(
            tx,
            "lease.expired",
            actor="control-plane",
            subject=lease.task_id,
            fields={"slot": str(lease.slot), "epoch": str(lease.epoch), "node": lease.node_id},
        )
        cancelled += attempt_ended(tx, lease, "lease_expired", standings, entropy).cut
    standings.save()
    due = tx.tasks.due(settings.batch_max)
    ended = 0
    for task_id in due:
        record = tx.tasks.load([task_id], lock=True)[task_id]
        if record.task.state not in LIVE_STATES:
            continue
        late = timed_out(record, tx.now_ms())
        if late is None:
            refresh_state(tx, record)
            continue
        cancelled += finish.fail(tx, record, Fail(reason=late.reason, detail=late.detail)).cut
        ended += 1
    silent = tx.nodes.silent(older_than_ms=settings.offline_after_ms, at_most=settings.batch_max)
    for node_id in silent:
        tx.nodes.set_status(node_id, NodeStatus.OFFLINE)
        tx.nodes.add_event(node_id, kind="offline")
    return SweepReport(
        expired=len(expired),
        timed_out=ended,
        offline=len(silent),
        cancelled=tuple(cancelled),
        more=settings.batch_max in (len(expired), len(due), len(silent)),
    )
