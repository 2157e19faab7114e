"""What a node says and hears about its leases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.fields import Epoch, Sentence, Short, SlotIndex, TaskIdText

BATCH_MAX = 64


class LeaseName(Shape, frozen=True):
    task_id: TaskIdText
    slot: SlotIndex
    epoch: Epoch

    def ref(self, node_id: NodeId) -> LeaseRef:
        return LeaseRef(
            task_id=TaskId(self.task_id), slot=self.slot, epoch=self.epoch, node_id=node_id
        )


class ClaimRequest(Shape, frozen=True):
    """Either number or names."""

    at_most: Annotated[int, msgspec.Meta(ge=1, le=BATCH_MAX)] | None = None
    leases: Annotated[list[LeaseName], msgspec.Meta(max_length=BATCH_MAX)] | None = None


class RenewRequest(Shape, frozen=True):
    leases: Annotated[list[LeaseName], msgspec.Meta(max_length=256)]


class FailureIn(Shape, frozen=True):
    reason: Reason
    detail: Sentence = ""
    log_b64: Annotated[str, msgspec.Meta(max_length=100_000)] = ""


class ResultIn(Shape, frozen=True):
    """One attempt handed in: ``result`` (wire/attempt_result.py) or ``failure``."""

    task_id: TaskIdText
    slot: SlotIndex
    epoch: Epoch
    node_id: Short
    result: Any = None
    failure: FailureIn | None = None


class ReferenceResultIn(Shape, frozen=True):
    """The same in the reference's field names; its proof fields belong to class ``proved``."""

    node_id: Short
    slot: SlotIndex
    epoch: Epoch
    result: Any = None
    failure: FailureIn | None = None
    task_id: TaskIdText | None = None
    execution_time_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


class ResultsRequest(Shape, frozen=True):
    results: Annotated[list[ResultIn], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]


class AssignmentInfo(Shape, frozen=True):
    """``spec`` as in wire/task_spec.py. ``expires_at_ms`` is the database's clock."""

    task_id: str
    slot: int
    epoch: int
    purpose: str
    expires_at_ms: int
    expires_in_ms: int
    execution_ms: int
    spec: Any


class ClaimAnswer(Shape, frozen=True):
    assignments: list[AssignmentInfo]


class RenewedLease(Shape, frozen=True):
    task_id: str
    slot: int
    epoch: int
    expires_in_ms: int


class RenewAnswer(Shape, frozen=True):
    renewed: list[RenewedLease]
    lost: list[LeaseName]


class ResultAnswer(Shape, frozen=True):
    task_id: str
    slot: int
    epoch: int
    status: Literal["accepted", "duplicate", "too_late", "refused"]
    code: str
    message: str
    task_status: str


class ResultsAnswer(Shape, frozen=True):
    answers: list[ResultAnswer]


class ReferenceResultAnswer(Shape, frozen=True):
    """``status`` is the task's; ``completed_at`` null while it has not ended."""

    task_id: str
    status: str
    node_id: str
    proof_verified: bool
    completed_at: str | None


class LeaseInfo(Shape, frozen=True):
    task_id: str
    slot: int
    epoch: int
    claimed: bool
    expires_at_ms: int
    expires_in_ms: int


def lease_name(ref: LeaseRef) -> dict[str, Any]:
    return {"task_id": ref.task_id, "slot": ref.slot, "epoch": ref.epoch}
