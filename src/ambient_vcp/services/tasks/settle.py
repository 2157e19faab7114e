"""Judge a task after something happened to one of its slots."""

from __future__ import annotations

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import (
    Accept,
    Fail,
    OpenSlots,
    after_failure,
    failure_effect,
    judge,
    judge_audit,
)
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import NewSlot, Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks import audits, finish
from ambient_vcp.services.tasks.finish import Ending
from ambient_vcp.services.tasks.progress import refresh_state
from ambient_vcp.services.tasks.standings import Standings


def settle(tx: Transaction, record: TaskRecord, standings: Standings, entropy: Entropy) -> Ending:
    """Judge a locked task that just got a result; ``record`` already holds it."""
    task = record.task
    trusted = standings.trusted(attempt.node_id for attempt in record.attempts)
    if task.accepted is not None:
        cut = _settle_audit(tx, record, trusted, standings)
        return Ending(state=task.state, cut=cut)
    if task.finished_at_ms is not None:
        return Ending(state=task.state)
    verdict = judge(record, trusted)
    match verdict:
        case Accept():
            return finish.accept(tx, record, verdict, standings, entropy)
        case Fail():
            return finish.fail(tx, record, verdict)
        case OpenSlots(count=count):
            _open_deciders(tx, record, count)
            record = tx.tasks.load([task.id])[task.id]
        case _:
            pass
    return Ending(state=refresh_state(tx, record))


def attempt_ended(
    tx: Transaction, lease: LeaseRef, reason: str, standings: Standings, entropy: Entropy
) -> Ending:
    """After a failed or expired attempt: the slot waits again, or the task fails."""
    record = tx.tasks.load([lease.task_id], lock=True)[lease.task_id]
    task, slot = record.task, record.slots[lease.slot]
    audit.task_event(
        tx,
        "attempt.ended",
        account_id=task.account_id,
        task_id=task.id,
        node_id=lease.node_id,
        fields={"slot": str(lease.slot), "epoch": str(lease.epoch), "reason": reason},
    )
    effect = failure_effect(lease.node_id, reason)
    if effect is not None:
        standings.book([effect])
    if task.finished_at_ms is not None and slot.purpose is not SlotPurpose.AUDIT:
        return Ending(state=task.state)
    verdict = after_failure(record, slot, tx.now_ms(), entropy.random())
    if not isinstance(verdict, Fail):
        tx.tasks.reopen_slot(task.id, lease.slot, not_before_ms=verdict.not_before_ms)
        return Ending(state=refresh_state(tx, tx.tasks.load([task.id])[task.id]))
    if slot.purpose is SlotPurpose.AUDIT:
        # An audit that nobody can run proves nothing: the result stays what it was.
        return Ending(state=task.state, cut=finish.close_open(tx, record))
    return finish.fail(tx, record, verdict)


def _open_deciders(tx: Transaction, record: TaskRecord, count: int) -> None:
    task = record.task
    new = NewSlot(task_id=task.id, purpose=SlotPurpose.DECIDER, not_before_ms=tx.now_ms())
    tx.tasks.add_slots([new] * count)
    audit.record(tx, "task.disagreement", actor="control-plane", subject=task.id)
    audit.task_event(tx, "task.disagreement", account_id=task.account_id, task_id=task.id)


def _settle_audit(
    tx: Transaction, record: TaskRecord, trusted: frozenset[NodeId], standings: Standings
) -> tuple[LeaseRef, ...]:
    task, verdict = record.task, judge_audit(record, trusted)
    assert task.accepted is not None
    if verdict.verdicts:
        tx.tasks.set_verdicts(task.id, dict(verdict.verdicts))
    if verdict.more:
        audits.open_audit(tx, task.id, verdict.more)
    if verdict.assurance is not None:
        tx.tasks.set_assurance(task.id, verdict.assurance)
        kind = f"task.assurance_{verdict.assurance}"
        audit.record(tx, kind, actor="control-plane", subject=task.id)
        audit.task_event(
            tx,
            f"task.{verdict.assurance}",
            account_id=task.account_id,
            task_id=task.id,
            node_id=verdict.refuted_node,
        )
    # Decided: one more audit would book the same outcomes a second time.
    cut = finish.close_open(tx, record) if verdict.verdicts else ()
    standings.book(verdict.effects)
    return cut
