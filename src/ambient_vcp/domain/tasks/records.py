"""Tasks, slots and attempts as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, PublicKey, Signature, TaskId
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState, TaskState
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy of one attempt. ``label`` is measured, estimated or unknown; unknown has no number."""

    millijoules: int | None
    label: str
    source: str


UNKNOWN_ENERGY = Energy(millijoules=None, label="unknown", source="")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What a node handed in: outcome, evidence, signature over the result statement.

    ``output`` holds the bytes when they are small; larger ones are a blob by the outcome's digest.
    """

    outcome: Outcome
    output: bytes | None
    trace: Trace
    trace_digest: Digest
    exec_class: str
    signature: Signature
    node_public_key: PublicKey
    energy: Energy
    log: bytes = b""
    execution_time_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One replica a task needs. ``lease_*`` and ``node_id`` belong to the newest grant."""

    task_id: TaskId
    index: int
    purpose: SlotPurpose
    state: SlotState
    lease_epoch: int
    node_id: NodeId | None
    lease_expires_at_ms: int | None
    not_before_ms: int
    waiting_since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One grant of a slot to a node and what became of it.

    ``reason`` says why it failed or expired. ``verdict`` is empty until the task is judged, then
    ``agreed``, ``disagreed``, ``too_late`` or ``failed``.
    """

    task_id: TaskId
    slot: int
    epoch: int
    purpose: SlotPurpose
    node_id: NodeId
    state: AttemptState
    granted_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    reason: str = ""
    detail: str = ""
    verdict: str = ""
    result: AttemptResult | None = None
    log: bytes = b""
    """What a failed run wrote, as far as its node sent it. A result carries its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. ``accepted`` names the (slot, epoch) whose result is the task's; only when ended.

    ``decision`` and ``assurance`` are set when the task completes: how its votes decided, and
    whether that is ``provisional``, ``final``, ``audited``, ``disputed`` or ``refuted``.
    ``independence_waived`` records whether replicas were allowed to share an owner or a network.
    """

    id: TaskId
    account_id: AccountId
    spec: TaskSpec
    state: TaskState
    created_at_ms: int
    updated_at_ms: int
    next_check_at_ms: int
    finished_at_ms: int | None = None
    hold: Hold | None = None
    reason: str = ""
    detail: str = ""
    accepted: tuple[int, int] | None = None
    decision: str = ""
    assurance: str = ""
    independence_waived: bool = False
    sealed: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task with everything that is known about it."""

    task: Task
    slots: tuple[Slot, ...]
    attempts: tuple[Attempt, ...]


def with_result(
    record: TaskRecord, lease: LeaseRef, result: AttemptResult, now_ms: int
) -> TaskRecord:
    """The record after the store has recorded ``result`` under ``lease``."""
    return replace(
        record,
        slots=tuple(
            replace(slot, state=SlotState.FILLED) if slot.index == lease.slot else slot
            for slot in record.slots
        ),
        attempts=tuple(
            replace(attempt, state=AttemptState.COMPLETED, finished_at_ms=now_ms, result=result)
            if (attempt.slot, attempt.epoch) == (lease.slot, lease.epoch)
            else attempt
            for attempt in record.attempts
        ),
    )
