"""What a submitter asks for, after the border has parsed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ambient_vcp.domain.execution.invocation import Call, CellLimits
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, TaskId


class TaskType(StrEnum):
    """The task types this control plane executes."""

    WASM_EXECUTION = "wasm_execution"
    COMPUTATION = "computation"


class NodeType(StrEnum):
    COMPUTE = "compute"
    GATEWAY = "gateway"
    STORAGE = "storage"
    VALIDATOR = "validator"
    OPEN_INTERNET = "open_internet"
    ANY = "any"


class AssuranceClass(StrEnum):
    """The dial of verification, weakest first."""

    SIGNED = "signed"
    QUORUM = "quorum"
    REEXECUTED = "reexecuted"
    PROVED = "proved"


OFFERED_CLASSES = frozenset({AssuranceClass.SIGNED, AssuranceClass.QUORUM})
INLINE_INPUT_BYTES_MAX = 64 * 1024
"""Inputs up to this size travel inside messages; larger ones are blobs fetched by digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRef:
    """Bytes by digest. ``inline`` repeats them when they are small; None means fetch the blob."""

    digest: Digest
    size_bytes: int
    inline: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a node must offer. ``node_types`` are the accepted ones (``any`` nodes always match)."""

    node_types: frozenset[NodeType] = frozenset({NodeType.COMPUTE})
    min_cpu_cores: int = 1
    min_memory_gb: float = 0.0
    min_bandwidth_mbps: float = 0.0
    gpu: bool = False
    region: str = ""
    """Preferred region, for the latency-aware strategy. Empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRequest:
    assurance_class: AssuranceClass = AssuranceClass.SIGNED
    replicas: int = 1
    audit_rate_ppm: int = 50_000
    """Share of ``signed`` results that are executed a second time; never below 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Longest wait for a node, longest single execution, longest life of the whole task."""

    queue_ms: int = 600_000
    execution_ms: int = 60_000
    total_ms: int = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task, complete and checked. ``program`` names the catalogue entry of a computation."""

    task_type: TaskType
    module: InputRef
    call: Call
    program: str = ""
    public_input: InputRef | None = None
    private_input: InputRef | None = None
    private_commitment: str = ""
    """Commitment to the private input; empty when there is none."""
    limits: CellLimits = field(default_factory=CellLimits)
    requirements: Requirements = field(default_factory=Requirements)
    verification: VerificationRequest = field(default_factory=VerificationRequest)
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts_max: int = 5
    name: str = ""
    """A label for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task about to be stored. The store adds its clock's times and opens ``replicas`` slots."""

    id: TaskId
    account_id: AccountId
    spec: TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRef:
    """Names one grant. Every write a node makes carries one."""

    task_id: TaskId
    slot: int
    epoch: int
    node_id: NodeId
