"""Nodes: registration, enrolment, heartbeats."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.wire.fields import Count, HexDigest, HexSignature, Shape
from ambient_vcp.wire.http.fields import Port, Short
from ambient_vcp.wire.http.leases import LeaseInfo, LeaseName

Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Small = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class CapabilitiesShape(Shape, frozen=True):
    bandwidth_mbps: Number
    cpu_cores: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]
    memory_gb: Number
    gpu_available: bool

    def domain(self) -> Capabilities:
        return Capabilities(**msgspec.structs.asdict(self))


class TelemetryShape(Shape, frozen=True):
    """Null is: not measured."""

    measured_at_ms: Count
    upload_mbps: Number | None = None
    download_mbps: Number | None = None
    latency_ms: Number | None = None
    cpu_percent: Number | None = None
    memory_percent: Number | None = None
    temperature_c: Number | None = None
    power_watts: Number | None = None
    power_source: Annotated[str, msgspec.Meta(max_length=32)] = "unknown"

    def domain(self) -> Telemetry:
        return Telemetry(**msgspec.structs.asdict(self))


class ReportShape(Shape, frozen=True):
    boot_id: Short = ""
    version: Short = ""
    engine: Short = ""
    exec_class: Short = ""
    concurrency_max: Small = 0
    running: Small = 0
    refusing: Annotated[tuple[Short, ...], msgspec.Meta(max_length=32)] = ()
    isolation: Annotated[dict[Short, Short], msgspec.Meta(max_length=32)] = msgspec.field(
        default_factory=dict
    )

    def domain(self) -> NodeReport:
        return NodeReport(**msgspec.structs.asdict(self))


class InviteRequest(Shape, frozen=True):
    ttl_sec: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 900


class InviteAnswer(Shape, frozen=True):
    code: str
    expires_at_ms: int


class NodeRegistration(Shape, frozen=True):
    node_id: Short
    region: Short
    node_type: Short
    capabilities: CapabilitiesShape
    observability_port: Port | None = None


class ChallengeRequest(Shape, frozen=True):
    public_key: Short


class ChallengeAnswer(Shape, frozen=True):
    challenge: str
    expires_at_ms: int


class EnrolRequest(Shape, frozen=True):
    public_key: Short
    challenge: HexDigest
    signature: HexSignature
    node_id: Short
    region: Short
    node_type: Short
    capabilities: CapabilitiesShape
    report: ReportShape = ReportShape()
    code: Short | None = None


class TokenRequest(Shape, frozen=True):
    node_id: Short
    challenge: HexDigest
    signature: HexSignature


class TokenAnswer(Shape, frozen=True):
    token: str
    token_expires_at_ms: int


class HeartbeatRequest(Shape, frozen=True):
    telemetry: TelemetryShape | None = None
    report: ReportShape | None = None


class HealthParts(Shape, frozen=True):
    """Parts in [0, 1]; null is: not measured."""

    bandwidth: float | None
    latency: float | None
    compute: float | None
    reputation: float


class ReputationInfo(Shape, frozen=True):
    score: float
    completed: int
    failed: int
    disputes: int
    consecutive_errors: int


class NodeInfo(Shape, frozen=True):
    """``observability_port`` only for the owner."""

    node_id: str
    region: str
    node_type: str
    owner_id: str
    capabilities: CapabilitiesShape
    health_score: float
    status: str
    registered_at: str
    last_seen: str
    public_key: str | None
    health: HealthParts
    reputation: ReputationInfo
    breaker_reasons: list[str]
    refusing: list[str]
    telemetry: TelemetryShape | None
    isolation: dict[str, str]
    engine: str
    exec_class: str
    concurrency_max: int
    active_tasks: int
    trusted: bool
    version: str
    observability_port: int | msgspec.UnsetType | None = msgspec.UNSET


class NodePage(Shape, frozen=True):
    nodes: list[NodeInfo]
    next_cursor: str | None


class EnrolAnswer(Shape, frozen=True):
    node: NodeInfo
    token: str
    token_expires_at_ms: int
    control_plane_public_key: str


class NodeMessage(Shape, frozen=True):
    message: str
    node_id: str


class NodeRejected(Shape, frozen=True):
    message: str
    node_id: str
    status: str


class AssignedTask(Shape, frozen=True):
    task_id: str
    task_type: str
    execution_status: str


class HeartbeatAnswer(Shape, frozen=True):
    message: str
    node_id: str
    timestamp: str
    health_score: float
    node_status: str
    active_tasks: int
    assigned_task_ids: list[str]
    assigned_tasks: list[AssignedTask]
    leases: list[LeaseInfo]
    cancelled: list[LeaseName]
    now_ms: int
    breaker_reasons: list[str]


class ActivityEvent(Shape, frozen=True):
    event: str
    at_ms: int
    cleared_at: str
    task_id: str | None
    health_score: float | None
    active_tasks: int | None
    fields: dict[str, Any]


class ActivityAnswer(Shape, frozen=True):
    events: list[ActivityEvent]
