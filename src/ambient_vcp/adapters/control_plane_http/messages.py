"""What the control plane answers to a node. Unknown fields are ignored: it may be newer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ambient_vcp.domain.errors import UnavailableError
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec


class About(msgspec.Struct):
    """``GET /control-plane``, as far as a node cares."""

    control_plane_id: str
    public_key: str
    version: str
    cluster: str = ""
    profile: str = ""
    lease_ms: int = 30_000
    heartbeat_ms: int = 10_000


class Challenge(msgspec.Struct):
    challenge: str
    expires_at_ms: int


class Token(msgspec.Struct):
    token: str
    token_expires_at_ms: int


class NodeInfo(msgspec.Struct):
    node_id: str
    status: str
    health_score: float | None = None


class Enrolment(msgspec.Struct):
    node: NodeInfo
    token: str
    token_expires_at_ms: int
    control_plane_public_key: str


class Lease(msgspec.Struct):
    task_id: str
    slot: int
    epoch: int
    claimed: bool = False
    expires_in_ms: int = 0

    def ref(self, node_id: NodeId) -> LeaseRef:
        return LeaseRef(
            task_id=TaskId(self.task_id), slot=self.slot, epoch=self.epoch, node_id=node_id
        )


class HeartbeatAnswer(msgspec.Struct):
    node_status: str = ""
    health_score: float | None = None
    leases: list[Lease] = []
    cancelled: list[Lease] = []
    now_ms: int = 0
    breaker_reasons: list[str] = []


class RenewAnswer(msgspec.Struct):
    renewed: list[Lease] = []
    lost: list[Lease] = []


class RawAssignment(msgspec.Struct):
    task_id: str
    slot: int
    epoch: int
    expires_in_ms: int
    execution_ms: int
    spec: Any
    purpose: str = ""


class ClaimAnswer(msgspec.Struct):
    assignments: list[RawAssignment]


class ResultAnswer(msgspec.Struct):
    """``status`` is accepted, duplicate, too_late or refused: each of them ends the matter."""

    task_id: str
    slot: int
    epoch: int
    status: str
    code: str = ""
    message: str = ""
    task_status: str = ""


class ResultsAnswer(msgspec.Struct):
    answers: list[ResultAnswer]


class UploadAnswer(msgspec.Struct):
    upload_id: str
    offset: int
    chunk_bytes_max: int
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Work under a lease. ``spec`` is None when this agent cannot read it; ``problem`` says why."""

    ref: LeaseRef
    expires_in_ms: int
    execution_ms: int
    spec: TaskSpec | None
    problem: str = ""


MessageT = TypeVar("MessageT", bound=msgspec.Struct)


def decode(content: bytes, kind: type[MessageT]) -> MessageT:
    """Read an answer.

    Raises:
        UnavailableError: it has another shape; perhaps something else answers at this address.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UnavailableError(
            reason=f"what answers there is no control plane that this node understands: {error}"
        ) from error
