"""Take results from nodes: check the signature, record under the live lease, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.ids import Digest, NodeId, TaskId
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.records import AttemptResult, TaskRecord
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
from ambient_vcp.domain.verification.result_checks import check_result
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.signer import SignatureVerifier
from ambient_vcp.ports.store import NewSlot, Transaction
from ambient_vcp.services import audit, finish
from ambient_vcp.services.progress import refresh_state

LOG_BYTES_MAX = 64 * 1024


class AnswerStatus(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    TOO_LATE = "too_late"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailure:
    """The node could not run it. ``reason`` is one of :class:`Reason` that are not answers."""

    reason: Reason
    detail: str
    log: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    lease: LeaseRef
    result: AttemptResult | NodeFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one submission. ``cancelled`` are other nodes' leases that it cut off."""

    lease: LeaseRef
    status: AnswerStatus
    code: str = ""
    message: str = ""
    task_status: str = ""
    cancelled: tuple[LeaseRef, ...] = ()


def hand_in(
    tx: Transaction,
    *,
    node: Node,
    submissions: Sequence[Submission],
    verifier: SignatureVerifier,
    entropy: Entropy,
) -> list[Answer]:
    """Record and judge what a node hands in; one answer each, in order.

    A submission is refused alone: the others of the batch are not touched by it.
    """
    records = tx.tasks.load(list({s.lease.task_id for s in submissions}), lock=True)
    answers = []
    for submission in submissions:
        record = records.get(submission.lease.task_id)
        if record is None or submission.lease.node_id != node.id:
            answers.append(_refused(submission.lease, "not_found", "there is no such lease"))
            continue
        answer = _one(tx, node, record, submission, verifier, entropy)
        if answer.status is AnswerStatus.ACCEPTED:
            records.update(tx.tasks.load([submission.lease.task_id]))
        answers.append(answer)
    return answers


def _one(
    tx: Transaction,
    node: Node,
    record: TaskRecord,
    submission: Submission,
    verifier: SignatureVerifier,
    entropy: Entropy,
) -> Answer:
    lease = submission.lease
    match submission.result:
        case NodeFailure() as failure:
            return _failed(tx, record, lease, failure, entropy)
        case AttemptResult() as result:
            try:
                check_result(record.task.spec, lease, result, node, verifier)
            except VcpError as error:
                return _refused(lease, error.code, str(error))
            return _recorded(tx, record, lease, result, entropy)


def _refused(lease: LeaseRef, code: str, message: str) -> Answer:
    return Answer(lease=lease, status=AnswerStatus.REFUSED, code=code, message=message)


def _recorded(
    tx: Transaction, record: TaskRecord, lease: LeaseRef, result: AttemptResult, entropy: Entropy
) -> Answer:
    if result.output is None and tx.blobs.size(result.outcome.output_digest) is None:
        return _refused(lease, "output_missing", "upload the output before the result")
    if not tx.tasks.record_result(lease, result):
        return _not_live(tx, record, lease, result)
    if result.output is None:
        tx.blobs.link_task(
            lease.task_id, [(result.outcome.output_digest, result.outcome.output_size_bytes)]
        )
    audit.record(
        tx,
        "result.recorded",
        actor=lease.node_id,
        subject=lease.task_id,
        fields={
            "slot": str(lease.slot),
            "epoch": str(lease.epoch),
            "output_digest": result.outcome.output_digest,
            "trace_digest": result.trace_digest,
        },
    )
    cancelled = settle(tx, lease.task_id, entropy)
    return Answer(
        lease=lease,
        status=AnswerStatus.ACCEPTED,
        task_status=_status(tx, lease.task_id),
        cancelled=tuple(cancelled),
    )


def _status(tx: Transaction, task_id: TaskId) -> str:
    return tx.tasks.load([task_id])[task_id].task.state


def _not_live(
    tx: Transaction, record: TaskRecord, lease: LeaseRef, result: AttemptResult
) -> Answer:
    """Not the live lease: a repeated result, or one that came too late."""
    attempt = next(
        (a for a in record.attempts if (a.slot, a.epoch) == (lease.slot, lease.epoch)), None
    )
    if attempt is None or attempt.node_id != lease.node_id:
        return _refused(lease, "stale_lease", "this lease was never yours")
    same = attempt.result is not None and attempt.result.signature == result.signature
    if same:
        return Answer(lease=lease, status=AnswerStatus.DUPLICATE, task_status=record.task.state)
    if tx.tasks.record_late(lease, result):
        audit.record(tx, "result.too_late", actor=lease.node_id, subject=lease.task_id)
    return Answer(
        lease=lease,
        status=AnswerStatus.TOO_LATE,
        code="stale_lease",
        message="the lease is over; the result is kept as evidence",
        task_status=record.task.state,
    )


def _failed(
    tx: Transaction, record: TaskRecord, lease: LeaseRef, failure: NodeFailure, entropy: Entropy
) -> Answer:
    log = failure.log[:LOG_BYTES_MAX]
    if not tx.tasks.record_failure(lease, failure.reason, failure.detail[:500], log):
        return Answer(
            lease=lease,
            status=AnswerStatus.TOO_LATE,
            code="stale_lease",
            task_status=record.task.state,
        )
    cancelled = attempt_ended(tx, lease, failure.reason, entropy)
    return Answer(
        lease=lease,
        status=AnswerStatus.ACCEPTED,
        task_status=_status(tx, lease.task_id),
        cancelled=tuple(cancelled),
    )


def attempt_ended(
    tx: Transaction, lease: LeaseRef, reason: str, entropy: Entropy
) -> list[LeaseRef]:
    """After a failed or expired attempt: the slot waits again, or the task fails."""
    record = tx.tasks.load([lease.task_id], lock=True)[lease.task_id]
    audit.task_event(
        tx,
        "attempt.ended",
        account_id=record.task.account_id,
        task_id=lease.task_id,
        node_id=lease.node_id,
        fields={"slot": str(lease.slot), "epoch": str(lease.epoch), "reason": reason},
    )
    effect = failure_effect(lease.node_id, reason)
    if effect is not None:
        finish.apply_effects(tx, [effect])
    slot = record.slots[lease.slot]
    if record.task.finished_at_ms is not None and slot.purpose is not SlotPurpose.AUDIT:
        return []
    verdict = after_failure(record, slot, tx.now_ms(), entropy.random())
    if not isinstance(verdict, Fail):
        tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=verdict.not_before_ms)
        refresh_state(tx, tx.tasks.load([lease.task_id])[lease.task_id])
        return []
    if slot.purpose is SlotPurpose.AUDIT:
        # An audit that nobody can run proves nothing: the result stays what it was.
        tx.tasks.close_slots(lease.task_id)
        return []
    return finish.fail(tx, record, verdict)


def settle(tx: Transaction, task_id: TaskId, entropy: Entropy) -> list[LeaseRef]:
    """Judge a task after a result was recorded."""
    record = tx.tasks.load([task_id], lock=True)[task_id]
    trusted = _trusted(tx, record)
    if record.task.accepted is not None:
        _settle_audit(tx, record, trusted)
        return []
    if record.task.finished_at_ms is not None:
        return []
    verdict = judge(record, trusted)
    match verdict:
        case Accept():
            return finish.accept(tx, record, verdict, entropy)
        case Fail():
            return finish.fail(tx, record, verdict)
        case OpenSlots(count=count):
            _open_deciders(tx, record, count)
            record = tx.tasks.load([task_id])[task_id]
        case _:
            pass
    refresh_state(tx, record)
    return []


def _open_deciders(tx: Transaction, record: TaskRecord, count: int) -> None:
    now_ms = tx.now_ms()
    new = NewSlot(task_id=record.task.id, purpose=SlotPurpose.DECIDER, not_before_ms=now_ms)
    tx.tasks.add_slots([new] * count)
    audit.record(tx, "task.disagreement", actor="control-plane", subject=record.task.id)
    audit.task_event(
        tx, "task.disagreement", account_id=record.task.account_id, task_id=record.task.id
    )


def _settle_audit(tx: Transaction, record: TaskRecord, trusted: frozenset[NodeId]) -> None:
    verdict = judge_audit(record, trusted)
    if verdict.verdicts:
        tx.tasks.set_verdicts(record.task.id, dict(verdict.verdicts))
    if verdict.more:
        finish.open_audit(tx, record, verdict.more)
    if verdict.assurance is not None:
        tx.tasks.set_assurance(record.task.id, verdict.assurance)
        audit.record(
            tx,
            f"task.assurance_{verdict.assurance}",
            actor="control-plane",
            subject=record.task.id,
        )
        audit.task_event(
            tx,
            f"task.{verdict.assurance}",
            account_id=record.task.account_id,
            task_id=record.task.id,
            node_id=verdict.refuted_node,
        )
    finish.apply_effects(tx, verdict.effects)


def _trusted(tx: Transaction, record: TaskRecord) -> frozenset[NodeId]:
    nodes = tx.nodes.many(list({attempt.node_id for attempt in record.attempts}))
    return frozenset(node.id for node in nodes.values() if node.trusted)


def output_digest_of(record: TaskRecord) -> Digest | None:
    """Digest of the accepted output, if the task has one."""
    for attempt in record.attempts:
        if (attempt.slot, attempt.epoch) == record.task.accepted and attempt.result is not None:
            return attempt.result.outcome.output_digest
    return None
