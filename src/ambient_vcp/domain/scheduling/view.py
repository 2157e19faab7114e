"""What placement sees of nodes and of slots: a snapshot, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.spec import NodeType, Requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node at one moment. ``health`` and ``reputation`` are in [0, 1].

    ``capacity`` is how many leases it may hold, ``leases`` how many it holds. ``latency_ms`` and
    ``cpu_percent`` are None when not measured.
    """

    id: NodeId
    owner_id: AccountId
    network_prefix: str
    node_type: NodeType
    region: str
    cpu_cores: int
    memory_gb: float
    bandwidth_mbps: float
    gpu: bool
    enrolled: bool
    online: bool
    draining: bool
    breaker_reasons: tuple[str, ...]
    refusing: tuple[str, ...]
    health: float
    reputation: float
    latency_ms: float | None
    cpu_percent: float | None
    exec_class: str
    trusted: bool
    capacity: int
    leases: int
    registered_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDemand:
    """A slot that wants a node.

    ``taken`` nodes voted on the task or work on it now and never get another slot of it; ``failed``
    nodes failed at it and get it only when nobody else can. ``taken_owners`` and
    ``taken_prefixes`` belong to the taken nodes and bind unless independence is waived.
    ``exec_class`` is the class that replicas must share; empty when any will do.
    """

    task_id: TaskId
    slot: int
    purpose: SlotPurpose
    requirements: Requirements
    account_id: AccountId
    taken: frozenset[NodeId]
    failed: frozenset[NodeId]
    taken_owners: frozenset[AccountId]
    taken_prefixes: frozenset[str]
    exec_class: str
    independence_waived: bool
    replicated: bool
    """Whether the task has several slots, so that replicas must be kept apart."""
    is_plain: bool = field(init=False)
    """Whether nothing but requirements and room decides: a first try of an unreplicated task."""

    def __post_init__(self) -> None:
        tied = self.replicated or self.taken or self.failed or self.exec_class
        plain = not tied and self.purpose is SlotPurpose.PRIMARY
        object.__setattr__(self, "is_plain", plain)


class Strategy(StrEnum):
    WEIGHTED = "weighted"
    ROUND_ROBIN = "round-robin"
    LEAST_LOADED = "least-loaded"
    LATENCY_AWARE = "latency-aware"


class Choice(NamedTuple):
    """A slot and its node. A tuple: a plan makes many thousands of them."""

    task_id: TaskId
    slot: int
    node_id: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """A slot without a node. ``refusals`` counts nodes by reason; each node counts once.

    ``hopeless`` says that no node of the registry could take it even if all were idle and well.
    """

    task_id: TaskId
    slot: int
    refusals: dict[str, int]
    hopeless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    choices: tuple[Choice, ...]
    unplaced: tuple[Unplaced, ...]
    cursor: str
    """Id of the node that round-robin served last."""
