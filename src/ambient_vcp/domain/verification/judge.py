"""What a task's recorded results mean: final, need more, or failed; and for whose standing.

Pure. The same voting rule judges here and checks receipts later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.ids import Digest, NodeId
from ambient_vcp.domain.receipts.statement import (
    AgreementKey,
    ResultStatement,
    agreement_keys,
    statement_of,
)
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState
from ambient_vcp.domain.tasks.records import Attempt, AttemptResult, Slot, TaskRecord
from ambient_vcp.domain.tasks.retry import backoff_ms
from ambient_vcp.domain.tasks.spec import AssuranceClass, LeaseRef, TaskSpec
from ambient_vcp.domain.verification.votes import (
    Decision,
    DecisionKind,
    Impossible,
    NeedMore,
    Vote,
    decide_votes,
)

EMPTY_DIGEST = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""SHA-256 of no bytes."""

CRASHES_MAX = 3
WALL_CLOCK_FAILURES_MAX = 2
MILLION = 1_000_000


class Assurance(StrEnum):
    PROVISIONAL = "provisional"
    FINAL = "final"
    AUDITED = "audited"
    DISPUTED = "disputed"
    REFUTED = "refuted"


class Standing(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a judgement means for one node's standing."""

    node_id: NodeId
    standing: Standing
    compute_time_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Results that are still awaited may decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSlots:
    """Results disagree: so many further replicas are needed."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The task ends with the result of ``accepted`` (slot, epoch). ``reason`` empty: completed."""

    accepted: tuple[int, int]
    decision: DecisionKind
    assurance: Assurance
    reason: str
    detail: str
    verdicts: Mapping[tuple[int, int], str]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The task ends without an accepted result."""

    reason: str
    detail: str
    verdicts: Mapping[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen:
    """The slot waits again, not before this time."""

    not_before_ms: int


Verdict: TypeAlias = Wait | OpenSlots | Accept | Fail


def input_digest(spec: TaskSpec) -> Digest:
    return EMPTY_DIGEST if spec.public_input is None else spec.public_input.digest


def attempt_statement(spec: TaskSpec, lease: LeaseRef, result: AttemptResult) -> ResultStatement:
    """The statement a node must have signed, rebuilt from our own record of the task."""
    return statement_of(
        result.outcome,
        task_id=lease.task_id,
        slot=lease.slot,
        epoch=lease.epoch,
        node_id=lease.node_id,
        module_digest=spec.module.digest,
        call=spec.call,
        public_input_digest=input_digest(spec),
        private_input_commitment=spec.private_commitment,
        exec_class=result.exec_class,
        trace_digest=result.trace_digest,
    )


def lease_of(attempt: Attempt) -> LeaseRef:
    return LeaseRef(
        task_id=attempt.task_id,
        slot=attempt.slot,
        epoch=attempt.epoch,
        node_id=attempt.node_id,
    )


def voting_attempts(record: TaskRecord, *, audits: bool) -> list[Attempt]:
    """Attempts whose results count, oldest grant first; one a node."""
    return [
        attempt
        for attempt in record.attempts
        if attempt.state is AttemptState.COMPLETED
        and attempt.result is not None
        and (audits or attempt.purpose is not SlotPurpose.AUDIT)
    ]


def _keys(record: TaskRecord, attempts: Sequence[Attempt]) -> list[AgreementKey]:
    statements = [
        attempt_statement(record.task.spec, lease_of(attempt), attempt.result)
        for attempt in attempts
        if attempt.result is not None
    ]
    return list(agreement_keys(statements))


def _votes(
    attempts: Sequence[Attempt], keys: Sequence[AgreementKey], trusted: frozenset[NodeId]
) -> list[Vote]:
    # A trusted node's word decides only where it was asked to decide: as one replica among others
    # it is a vote like theirs.
    return [
        Vote(
            key=key,
            node=attempt.node_id,
            trusted=attempt.node_id in trusted and attempt.purpose is not SlotPurpose.PRIMARY,
        )
        for attempt, key in zip(attempts, keys, strict=True)
    ]


def judge(record: TaskRecord, trusted: frozenset[NodeId]) -> Verdict:
    """Say what the results of a live task mean."""
    attempts = voting_attempts(record, audits=False)
    keys = _keys(record, attempts)
    replicas = record.task.spec.verification.replicas
    judgement = decide_votes(_votes(attempts, keys, trusted), replicas)
    match judgement:
        case NeedMore(count=count):
            open_slots = sum(
                1
                for slot in record.slots
                if slot.purpose is not SlotPurpose.AUDIT
                and slot.state in (SlotState.WAITING, SlotState.LEASED)
            )
            return OpenSlots(count=count - open_slots) if count > open_slots else Wait()
        case Impossible(reason=reason):
            return Fail(reason="quorum_not_reached", detail=reason)
        case Decision():
            return _accept(record, attempts, keys, judgement)


def _accept(
    record: TaskRecord,
    attempts: Sequence[Attempt],
    keys: Sequence[AgreementKey],
    decision: Decision,
) -> Accept:
    agreeing = [a for a, key in zip(attempts, keys, strict=True) if key == decision.key]
    chosen = min(agreeing, key=lambda a: (a.finished_at_ms or 0, a.slot, a.epoch))
    assert chosen.result is not None
    outcome = chosen.result.outcome
    verdicts = {(a.slot, a.epoch): "agreed" for a in agreeing} | {
        (a.slot, a.epoch): "disagreed" for a in attempts if a not in agreeing
    }
    quorum = record.task.spec.verification.assurance_class is AssuranceClass.QUORUM
    return Accept(
        accepted=(chosen.slot, chosen.epoch),
        decision=decision.kind,
        assurance=Assurance.FINAL if quorum else Assurance.PROVISIONAL,
        reason=outcome.reason or "",
        detail=outcome.detail,
        verdicts=verdicts,
        effects=tuple(_effects(attempts, agreeing)),
    )


def _effects(attempts: Sequence[Attempt], agreeing: Sequence[Attempt]) -> list[Effect]:
    return [
        Effect(
            node_id=attempt.node_id,
            standing=Standing.SUCCESS if attempt in agreeing else Standing.DISPUTE,
            compute_time_ms=attempt.result.execution_time_ms if attempt.result else 0,
        )
        for attempt in attempts
    ]


def after_failure(record: TaskRecord, slot: Slot, now_ms: int, random_unit: float) -> Reopen | Fail:
    """What to do with a slot whose newest attempt failed or expired."""
    failures = [
        a
        for a in record.attempts
        if a.slot == slot.index and a.state in (AttemptState.FAILED, AttemptState.EXPIRED)
    ]
    for reason, bound in (
        (Reason.CELL_CRASHED, CRASHES_MAX),
        (Reason.WALL_CLOCK_EXCEEDED, WALL_CLOCK_FAILURES_MAX),
    ):
        seen = [a for a in failures if a.reason == reason]
        if len(seen) >= bound:
            nodes = len({a.node_id for a in seen})
            return Fail(reason=reason, detail=f"{len(seen)} attempts on {nodes} nodes ended so")
    if len(failures) >= record.task.spec.attempts_max:
        listed = ", ".join(f"{a.node_id}: {a.reason}" for a in failures)
        return Fail(
            reason="attempts_exhausted", detail=f"{len(failures)} attempts failed ({listed})"
        )
    return Reopen(not_before_ms=now_ms + backoff_ms(len(failures), random_unit))


BLAMELESS = frozenset({Reason.NODE_DRAINED, Reason.CELL_CRASHED, Reason.WALL_CLOCK_EXCEEDED})
"""Failures that say nothing about the node."""


def failure_effect(node_id: NodeId, reason: str) -> Effect | None:
    """What a failed attempt means for its node's standing."""
    if reason in BLAMELESS:
        return None
    return Effect(node_id=node_id, standing=Standing.FAILURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What audits say of a completed task. ``more`` further audit slots are to be opened."""

    assurance: Assurance | None
    more: int
    verdicts: Mapping[tuple[int, int], str]
    effects: tuple[Effect, ...]
    refuted_node: NodeId | None


def wants_audit(spec: TaskSpec, random_unit: float) -> bool:
    """Whether this ``signed`` result is chosen for a second execution."""
    verification = spec.verification
    if verification.assurance_class is not AssuranceClass.SIGNED:
        return False
    return random_unit * MILLION < verification.audit_rate_ppm


def judge_audit(record: TaskRecord, trusted: frozenset[NodeId]) -> AuditVerdict:
    """Compare a completed task's result with its audits; a third node decides a dispute."""
    attempts = voting_attempts(record, audits=True)
    keys = _keys(record, attempts)
    judgement = decide_votes(_votes(attempts, keys, trusted), 2)
    open_slots = sum(
        1
        for slot in record.slots
        if slot.purpose is SlotPurpose.AUDIT and slot.state in (SlotState.WAITING, SlotState.LEASED)
    )
    match judgement:
        case NeedMore(count=count, disagreement=disagreement):
            return AuditVerdict(
                assurance=Assurance.DISPUTED if disagreement else None,
                more=max(0, count - open_slots),
                verdicts={},
                effects=(),
                refuted_node=None,
            )
        case Impossible():
            return AuditVerdict(
                assurance=Assurance.DISPUTED, more=0, verdicts={}, effects=(), refuted_node=None
            )
        case Decision(key=decided):
            return _audited(record, attempts, keys, decided)


def _audited(
    record: TaskRecord,
    attempts: Sequence[Attempt],
    keys: Sequence[AgreementKey],
    decided: object,
) -> AuditVerdict:
    agreeing = [a for a, key in zip(attempts, keys, strict=True) if key == decided]
    accepted = next(a for a in attempts if (a.slot, a.epoch) == record.task.accepted)
    # The accepted attempt's success is already booked; only a dispute is news about it.
    effects = [
        effect
        for effect in _effects(attempts, agreeing)
        if not (effect.node_id == accepted.node_id and effect.standing is Standing.SUCCESS)
    ]
    upheld = accepted in agreeing
    return AuditVerdict(
        assurance=Assurance.AUDITED if upheld else Assurance.REFUTED,
        more=0,
        verdicts={(a.slot, a.epoch): "agreed" if a in agreeing else "disagreed" for a in attempts},
        effects=tuple(effects),
        refuted_node=None if upheld else accepted.node_id,
    )
