"""Take results from nodes: check the signature, record under the live lease, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.tasks.records import AttemptResult, TaskRecord, with_result
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.result_checks import check_result
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.signer import SignatureVerifier
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks.settle import attempt_ended, settle
from ambient_vcp.services.tasks.standings import Standings

LOG_BYTES_MAX = 64 * 1024
DETAIL_LENGTH_MAX = 500


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
    standings = Standings(tx)
    standings.load(a.node_id for record in records.values() for a in record.attempts)
    answers: dict[LeaseRef, Answer] = {}
    sound: list[tuple[LeaseRef, AttemptResult]] = []
    for submission in submissions:
        lease = submission.lease
        record = records.get(lease.task_id)
        if record is None or lease.node_id != node.id:
            answers[lease] = _refused(lease, "not_found", "there is no such lease")
        elif isinstance(submission.result, NodeFailure):
            answers[lease] = _failed(tx, record, lease, submission.result, standings, entropy)
            records.update(tx.tasks.load([lease.task_id]))
        else:
            refusal = _unsound(tx, record, lease, submission.result, node, verifier)
            if refusal is not None:
                answers[lease] = refusal
            elif all(lease != known for known, _ in sound):
                sound.append((lease, submission.result))
    recorded = tx.tasks.record_results(sound)
    for (lease, result), is_recorded in zip(sound, recorded, strict=True):
        record = records[lease.task_id]
        if not is_recorded:
            answers[lease] = _not_live(tx, record, lease, result)
            continue
        record = records[lease.task_id] = with_result(record, lease, result, tx.now_ms())
        _note(tx, lease, result)
        ending = settle(tx, record, standings, entropy)
        answers[lease] = Answer(
            lease=lease,
            status=AnswerStatus.ACCEPTED,
            task_status=ending.state,
            cancelled=ending.cut,
        )
    standings.save()
    return [answers[submission.lease] for submission in submissions]


def _unsound(
    tx: Transaction,
    record: TaskRecord,
    lease: LeaseRef,
    result: AttemptResult,
    node: Node,
    verifier: SignatureVerifier,
) -> Answer | None:
    try:
        check_result(record.task.spec, lease, result, node, verifier)
    except VcpError as error:
        return _refused(lease, error.code, str(error))
    if result.output is None and tx.blobs.size(result.outcome.output_digest) is None:
        return _refused(lease, "output_missing", "upload the output before the result")
    return None


def _refused(lease: LeaseRef, code: str, message: str) -> Answer:
    return Answer(lease=lease, status=AnswerStatus.REFUSED, code=code, message=message)


def _note(tx: Transaction, lease: LeaseRef, result: AttemptResult) -> None:
    outcome = result.outcome
    if result.output is None:
        tx.blobs.link_task(lease.task_id, [(outcome.output_digest, outcome.output_size_bytes)])
    audit.record(
        tx,
        "result.recorded",
        actor=lease.node_id,
        subject=lease.task_id,
        fields={
            "slot": str(lease.slot),
            "epoch": str(lease.epoch),
            "output_digest": outcome.output_digest,
            "trace_digest": result.trace_digest,
        },
    )


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
    tx: Transaction,
    record: TaskRecord,
    lease: LeaseRef,
    failure: NodeFailure,
    standings: Standings,
    entropy: Entropy,
) -> Answer:
    log = failure.log[:LOG_BYTES_MAX]
    detail = failure.detail[:DETAIL_LENGTH_MAX]
    if not tx.tasks.record_failure(lease, failure.reason, detail, log):
        return Answer(
            lease=lease,
            status=AnswerStatus.TOO_LATE,
            code="stale_lease",
            task_status=record.task.state,
        )
    ending = attempt_ended(tx, lease, failure.reason, standings, entropy)
    return Answer(
        lease=lease,
        status=AnswerStatus.ACCEPTED,
        task_status=ending.state,
        cancelled=ending.cut,
    )
