"""Build a receipt's body from the record of an ended task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    CellLimits,
    WasiCall,
    entry_name,
    interface_name,
)
from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, PublicKey
from ambient_vcp.domain.receipts.conclusion import bound_of, conclude, independence_of
from ambient_vcp.domain.receipts.receipt import (
    RECEIPT_VERSION,
    VOTING,
    AttemptFacts,
    Audit,
    AuditState,
    ControlPlane,
    EnergyFacts,
    EnergyLabel,
    Interface,
    OutcomeFacts,
    OutcomeStatus,
    ReceiptBody,
    ReceiptLimits,
    StatementFacts,
    TaskFacts,
    Verdict,
    VerificationFacts,
)
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState, TaskState
from ambient_vcp.domain.tasks.records import UNKNOWN_ENERGY, Attempt, TaskRecord
from ambient_vcp.domain.tasks.spec import AssuranceClass
from ambient_vcp.domain.verification.votes import DecisionKind

EMPTY_DIGEST = Digest(hashlib.sha256(b"").hexdigest())
OWNER_REF_DOMAIN = b"ambient-vcp/owner-ref/v1"
TEXT_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """Who a node is, as the control plane vouches for it."""

    public_key: PublicKey
    owner_id: AccountId
    network_prefix: str
    trusted: bool


def assemble(
    record: TaskRecord, issuer: ControlPlane, nodes: Mapping[NodeId, NodeIdentity]
) -> ReceiptBody:
    """The body of an ended task's receipt.

    Attempts on nodes that are no longer known by key are left out; such attempts have no
    statement and never vote.
    """
    task = _task(record)
    attempts = tuple(
        _attempt(record, attempt, nodes[attempt.node_id], issuer)
        for attempt in record.attempts
        if attempt.node_id in nodes and attempt.state in _SHOWN
    )
    return ReceiptBody(
        version=RECEIPT_VERSION,
        receipt_id=record.task.id,
        control_plane=issuer,
        task=task,
        verification=_verification(record, task, attempts, nodes),
        outcome=_outcome(record),
        attempts=attempts,
    )


_SHOWN = frozenset(
    {
        AttemptState.COMPLETED,
        AttemptState.FAILED,
        AttemptState.EXPIRED,
        AttemptState.SUPERSEDED,
    }
)


def _task(record: TaskRecord) -> TaskFacts:
    task, spec = record.task, record.task.spec
    assert task.finished_at_ms is not None
    call = spec.call
    return TaskFacts(
        task_id=task.id,
        task_type=spec.task_type,
        submitted_at_ms=task.created_at_ms,
        finished_at_ms=task.finished_at_ms,
        module_digest=spec.module.digest,
        interface=Interface(interface_name(call)),
        entry=entry_name(call),
        args=() if isinstance(call, BytesCall) else call.args,
        env=call.env if isinstance(call, WasiCall) else (),
        arguments_digest=arguments_digest(call),
        public_input_digest=spec.public_input.digest if spec.public_input else EMPTY_DIGEST,
        private_input_commitment=spec.private_commitment,
        program=spec.program or None,
        limits=_limits(spec.limits),
    )


def _limits(limits: CellLimits) -> ReceiptLimits:
    return ReceiptLimits(
        fuel_max=limits.fuel_max,
        memory_bytes_max=limits.memory_bytes_max,
        wall_ms_max=limits.wall_ms_max,
        output_bytes_max=limits.output_bytes_max,
        stack_bytes_max=limits.stack_bytes_max,
        log_bytes_max=limits.log_bytes_max,
    )


def _verdict(record: TaskRecord, attempt: Attempt) -> Verdict:
    if attempt.state is AttemptState.FAILED:
        return Verdict.FAILED
    if attempt.result is None:
        return Verdict.NONE
    if attempt.verdict == Verdict.TOO_LATE or attempt.state is not AttemptState.COMPLETED:
        return Verdict.TOO_LATE
    if record.task.accepted is None:
        return Verdict.UNDECIDED
    return Verdict(attempt.verdict) if attempt.verdict else Verdict.TOO_LATE


def _attempt(
    record: TaskRecord, attempt: Attempt, node: NodeIdentity, issuer: ControlPlane
) -> AttemptFacts:
    result = attempt.result
    energy = UNKNOWN_ENERGY if result is None else result.energy
    owner = length_prefixed(OWNER_REF_DOMAIN, issuer.id.encode(), node.owner_id.encode())
    return AttemptFacts(
        slot=attempt.slot,
        epoch=attempt.epoch,
        purpose=attempt.purpose,
        node_id=attempt.node_id,
        node_public_key=node.public_key if result is None else result.node_public_key,
        node_owner_ref=hashlib.sha256(owner).hexdigest(),
        trusted=node.trusted and attempt.purpose is not SlotPurpose.PRIMARY,
        state=attempt.state,
        reason=attempt.reason,
        verdict=_verdict(record, attempt),
        statement=None
        if result is None
        else StatementFacts(
            reason=result.outcome.reason,
            trap=result.outcome.trap,
            output_digest=result.outcome.output_digest,
            output_size_bytes=result.outcome.output_size_bytes,
            fuel_used=result.outcome.fuel_used,
            memory_peak_bytes=result.outcome.memory_peak_bytes,
            exec_class=result.exec_class,
            trace_digest=result.trace_digest,
        ),
        signature=None if result is None else result.signature,
        granted_at_ms=attempt.granted_at_ms,
        finished_at_ms=attempt.finished_at_ms,
        energy=EnergyFacts(
            millijoules=energy.millijoules,
            label=EnergyLabel(energy.label),
            source=energy.source[:TEXT_MAX],
        ),
    )


def _verification(
    record: TaskRecord,
    task: TaskFacts,
    attempts: tuple[AttemptFacts, ...],
    nodes: Mapping[NodeId, NodeIdentity],
) -> VerificationFacts:
    """Count as the verifier will, so that what we sign is what anybody finds again."""
    request = record.task.spec.verification
    conclusion = conclude(task, attempts, request.replicas)
    voters = [a for a in attempts if a.verdict in VOTING]
    prefixes = {nodes[a.node_id].network_prefix for a in voters}
    independence = independence_of(
        conclusion,
        prefixes_distinct=len(prefixes) == len(voters),
        # An audit that came before the seal adds a vote to a task of one replica.
        waived=record.task.independence_waived and max(request.replicas, len(voters)) > 1,
    )
    signed = request.assurance_class is AssuranceClass.SIGNED
    return VerificationFacts(
        requested_class=request.assurance_class,
        replicas=request.replicas,
        achieved_class=conclusion.achieved,
        decision=conclusion.decision,
        agreeing=conclusion.agreeing,
        disagreeing=conclusion.disagreeing,
        independence=independence,
        provisional=conclusion.decision is DecisionKind.SINGLE,
        error_bound=bound_of(conclusion, independence),
        audit=Audit(rate_ppm=request.audit_rate_ppm if signed else 0, state=_audit_state(record)),
    )


def _audit_state(record: TaskRecord) -> AuditState:
    """Sealing comes right after the end, so an audit is at most under way."""
    pending = any(
        slot.purpose is SlotPurpose.AUDIT and slot.state is not SlotState.CLOSED
        for slot in record.slots
    )
    return AuditState.PENDING if pending else AuditState.NONE


def _outcome(record: TaskRecord) -> OutcomeFacts:
    task = record.task
    status = {
        TaskState.COMPLETED: OutcomeStatus.COMPLETED,
        TaskState.FAILED: OutcomeStatus.FAILED,
        TaskState.CANCELLED: OutcomeStatus.CANCELLED,
    }[task.state]
    accepted = next((a.result for a in record.attempts if (a.slot, a.epoch) == task.accepted), None)
    outcome = None if accepted is None else accepted.outcome
    return OutcomeFacts(
        status=status,
        reason=task.reason,
        trap="" if outcome is None else outcome.trap,
        detail=task.detail[:TEXT_MAX],
        output_digest=EMPTY_DIGEST if outcome is None else outcome.output_digest,
        output_size_bytes=0 if outcome is None else outcome.output_size_bytes,
        fuel_used=0 if outcome is None else outcome.fuel_used,
        memory_peak_bytes=0 if outcome is None else outcome.memory_peak_bytes,
    )
