"""A waiting slot, a grant, a lease: what placement reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.ids import AccountId, NodeId
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import Slot
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSlot:
    """A slot that wants a node, with what placement must know about its task.

    ``voted`` and ``leased`` nodes are those with a recorded result or a live lease on the same
    task; ``failed`` those with a failed or expired attempt on it. ``independence_waived`` is the
    task's flag as decided at intake.
    """

    slot: Slot
    spec: TaskSpec
    account_id: AccountId
    task_state: TaskState
    voted: frozenset[NodeId]
    leased: frozenset[NodeId]
    failed: frozenset[NodeId]
    independence_waived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease just granted."""

    lease: LeaseRef
    granted_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLease:
    """A live lease of a node: claimed or not, with the task's spec so that it can be executed."""

    lease: LeaseRef
    claimed: bool
    granted_at_ms: int
    expires_at_ms: int
    spec: TaskSpec
    purpose: SlotPurpose
    task_state: TaskState
