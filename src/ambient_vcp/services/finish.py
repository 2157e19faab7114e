"""End a task: store the end, close what is still open, tell everybody, keep standing true."""

from __future__ import annotations

from collections.abc import Iterable

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.reputation import (
    Reputation,
    record_dispute,
    record_failure,
    record_success,
)
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import Accept, Effect, Fail, Standing, wants_audit
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import NewSlot, TaskUpdate, Transaction
from ambient_vcp.services import audit

REOPENED_MAX = 1_000


def accept(
    tx: Transaction, record: TaskRecord, verdict: Accept, entropy: Entropy
) -> list[LeaseRef]:
    """End a task with an accepted result. Answers leases that were cut off by it."""
    state = TaskState.FAILED if verdict.reason else TaskState.COMPLETED
    cut = _end(
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
    apply_effects(tx, verdict.effects)
    if state is TaskState.COMPLETED and wants_audit(record.task.spec, entropy.random()):
        open_audit(tx, record, 1)
    return cut


def fail(tx: Transaction, record: TaskRecord, verdict: Fail) -> list[LeaseRef]:
    """End a task without a result: the dead letter keeps every attempt's reason."""
    cut = _end(
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
    return cut


def cancel(tx: Transaction, record: TaskRecord, *, actor: str) -> list[LeaseRef]:
    """End a live task because its owner wants it. Repeating it changes nothing."""
    if record.task.state not in LIVE_STATES:
        return []
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


def open_audit(tx: Transaction, record: TaskRecord, count: int) -> None:
    tx.tasks.add_slots(
        [NewSlot(task_id=record.task.id, purpose=SlotPurpose.AUDIT, not_before_ms=tx.now_ms())]
        * count
    )
    audit.record(tx, "task.audit_opened", actor="control-plane", subject=record.task.id)


def _end(tx: Transaction, record: TaskRecord, update: TaskUpdate) -> list[LeaseRef]:
    if not tx.tasks.update(update):
        return []
    cut = tx.tasks.close_slots(record.task.id)
    audit.task_event(
        tx,
        f"task.{update.state}",
        account_id=record.task.account_id,
        task_id=record.task.id,
        fields={"reason": update.reason or ""},
    )
    for lease in cut:
        tx.events.add(
            "lease.cancelled",
            node_id=lease.node_id,
            task_id=lease.task_id,
            fields={"slot": str(lease.slot), "epoch": str(lease.epoch)},
        )
    return cut


def apply_effects(tx: Transaction, effects: Iterable[Effect]) -> None:
    """Book outcomes on the nodes' standing; a lost dispute re-opens what rests on that node."""
    listed = list(effects)
    nodes = tx.nodes.many(list({effect.node_id for effect in listed}))
    standings: dict[NodeId, Reputation] = {key: n.reputation for key, n in nodes.items()}
    for effect in listed:
        before = standings.get(effect.node_id)
        if before is None:
            continue
        after = _booked(before, effect)
        standings[effect.node_id] = after
        error = effect.standing is not Standing.SUCCESS
        tx.nodes.save_reputation(effect.node_id, after, error=error)
        if effect.standing is Standing.DISPUTE:
            audit.record(tx, "node.dispute_lost", actor="control-plane", subject=effect.node_id)
            _reopen_provisional(tx, effect.node_id)


def _booked(before: Reputation, effect: Effect) -> Reputation:
    match effect.standing:
        case Standing.SUCCESS:
            return record_success(before, effect.compute_time_ms)
        case Standing.FAILURE:
            return record_failure(before)
        case Standing.DISPUTE:
            return record_dispute(before)


def _reopen_provisional(tx: Transaction, node_id: NodeId) -> None:
    """Execute again what only this node vouched for. The receipts stay; their status changes."""
    for task_id in tx.tasks.provisional_of_node(node_id, REOPENED_MAX):
        record = tx.tasks.load([task_id])[task_id]
        tx.tasks.set_assurance(task_id, "disputed")
        open_audit(tx, record, 1)
        audit.task_event(
            tx,
            "task.reopened",
            account_id=record.task.account_id,
            task_id=task_id,
            node_id=node_id,
        )
