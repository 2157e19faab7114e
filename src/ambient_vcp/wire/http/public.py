"""What anybody may read: health, who this control plane is, the transparency log."""

from __future__ import annotations

from typing import Any, Literal

from ambient_vcp.wire.fields import Shape


class Check(Shape, frozen=True):
    """``lag_ms``: time since the part last worked; null where nothing is periodic."""

    status: Literal["ok", "degraded"]
    detail: str = ""
    lag_ms: int | None = None


class HealthAnswer(Shape, frozen=True):
    status: Literal["healthy", "degraded"]
    version: str
    timestamp: str
    checks: dict[str, Check]


class LimitsAnswer(Shape, frozen=True):
    module_bytes_max: int
    input_bytes_max: int
    body_bytes_max: int
    upload_chunk_bytes_max: int
    bulk_tasks_max: int
    results_max: int


class AboutAnswer(Shape, frozen=True):
    control_plane_id: str
    public_key: str
    version: str
    cluster: str
    visibility: Literal["private", "public"]
    profile: str
    strategy: str
    limits: LimitsAnswer
    assurance_classes: list[str]
    lease_ms: int
    heartbeat_ms: int


class ProgramAnswer(Shape, frozen=True):
    name: str
    title: str
    summary: str
    version: str
    inputs: list[dict[str, Any]]
    results: list[dict[str, Any]]


class ProgramsAnswer(Shape, frozen=True):
    programs: list[ProgramAnswer]


class CheckpointAnswer(Shape, frozen=True):
    """``checkpoint`` is a signed note; empty before the first leaf."""

    size: int
    checkpoint: str


class LeafAnswer(Shape, frozen=True):
    index: int
    kind: str
    at_ms: int
    data_b64: str


class LeavesAnswer(Shape, frozen=True):
    leaves: list[LeafAnswer]
    next: int | None


class InclusionAnswer(Shape, frozen=True):
    """``path``: hashes as hexadecimal text, from the leaf up."""

    index: int
    size: int
    path: list[str]


class ConsistencyAnswer(Shape, frozen=True):
    first: int
    second: int
    path: list[str]


class ClusterStats(Shape, frozen=True):
    """``avg_health_score`` (0 to 100) is null when there is no node."""

    total_nodes: int
    healthy_nodes: int
    total_tasks: int
    completed_tasks: int
    failed_tasks: int
    avg_health_score: float | None
    total_compute_capacity: float
    tasks_by_state: dict[str, int]


class ProbeTaken(Shape, frozen=True):
    received_bytes: int
