"""End a task: store the end, close what is still open, tell everybody."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, SlotState, TaskState
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import Accept, Fail, wants_audit
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import TaskUpdate, Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks import audits
from ambient_vcp.services.tasks.standings import Standings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The task's state afterwards; ``cut`` are leases that were live and are over now."""

    state: TaskState
    cut: tuple[LeaseRef, ...] = ()


def accept(
    tx: Transaction,
    record: TaskRecord,
    verdict: Accept,
    standings: Standings,
    entropy: Entropy,
) -> Ending:
    """End a task with an accepted result."""
    state = TaskState.FAILED if verdict.reason else TaskState.COMPLETED
    ending = _end(
        tx,
        record,
        TaskUpdate(
            task_id=record.task.id,
            expected=LIVE_STATES,
            state=state,
            next_check_at_ms=record.task.next_check_at_ms,
            finished=True,
            clear_hold=True,
            reason=verdict.reason,
            detail=verdict.detail,
            accepted=verdict.accepted,
            decision=verdict.decision,
            assurance=verdict.assurance,
        ),
    )
    tx.tasks.set_verdicts(record.task.id, dict(verdict.verdicts))
    standings.book(verdict.effects)
    # A failure of the guest is an answer too: who lies about one must be found as well.
    if wants_audit(record.task.spec, entropy.random()):
        audits.open_audit(tx, record.task.id, 1)
    return ending


def fail(tx: Transaction, record: TaskRecord, verdict: Fail) -> Ending:
    """End a task without a result: the dead letter keeps every attempt's reason."""
    ending = _end(
        tx,
        record,
        TaskUpdate(
            task_id=record.task.id,
            expected=LIVE_STATES,
            state=TaskState.FAILED,
            next_check_at_ms=record.task.next_check_at_ms,
            finished=True,
            clear_hold=True,
            reason=verdict.reason,
            detail=verdict.detail,
        ),
    )
    if verdict.verdicts:
        tx.tasks.set_verdicts(record.task.id, dict(verdict.verdicts))
    return ending


def cancel(tx: Transaction, record: TaskRecord, *, actor: str) -> Ending:
    """End a live task because its owner wants it. Repeating it changes nothing."""
    if record.task.state not in LIVE_STATES:
        return Ending(state=record.task.state)
    audit.record(tx, "task.cancelled", actor=actor, subject=record.task.id)
    return _end(
        tx,
        record,
        TaskUpdate(
            task_id=record.task.id,
            expected=LIVE_STATES,
            state=TaskState.CANCELLED,
            next_check_at_ms=record.task.next_check_at_ms,
            finished=True,
            clear_hold=True,
            reason="cancelled",
        ),
    )


def _end(tx: Transaction, record: TaskRecord, update: TaskUpdate) -> Ending:
    if not tx.tasks.update(update):
        return Ending(state=record.task.state)
    audit.task_event(
        tx,
        f"task.{update.state}",
        account_id=record.task.account_id,
        task_id=record.task.id,
        fields={"reason": update.reason or ""},
    )
    return Ending(state=update.state, cut=close_open(tx, record))


def close_open(tx: Transaction, record: TaskRecord) -> tuple[LeaseRef, ...]:
    """Close what a task still has open and tell the nodes whose leases that ends."""
    if all(slot.state in (SlotState.FILLED, SlotState.CLOSED) for slot in record.slots):
        return ()
    cut = tx.tasks.close_slots(record.task.id)
    for lease in cut:
        tx.events.add(
            "lease.cancelled",
            node_id=lease.node_id,
            task_id=lease.task_id,
            fields={"slot": str(lease.slot), "epoch": str(lease.epoch)},
        )
    return tuple(cut)
