"""Which nodes may take a slot, and the first reason why each other one may not."""

from __future__ import annotations

from enum import StrEnum

from ambient_vcp.domain.nodes.reputation import SCORE_MIN_FOR_WORK
from ambient_vcp.domain.scheduling.view import NodeView, SlotDemand
from ambient_vcp.domain.tasks.spec import NodeType, Requirements


class Refusal(StrEnum):
    """Reasons against a node, hardest first. Add a filter by adding a reason and its line below."""

    NOT_ENROLLED = "not_enrolled"
    NODE_TYPE = "node_type"
    CPU_CORES = "cpu_cores"
    MEMORY = "memory"
    BANDWIDTH = "bandwidth"
    GPU = "gpu"
    OFFLINE = "offline"
    DRAINING = "draining"
    BREAKER = "breaker"
    OWNER_LIMITS = "owner_limits"
    LOW_STANDING = "low_standing"
    ALREADY_TAKEN = "already_has_this_task"
    SAME_OWNER = "same_owner_as_replica"
    SAME_NETWORK = "same_network_as_replica"
    EXEC_CLASS = "other_execution_class"
    BUSY = "busy"


LASTING = frozenset(
    {
        Refusal.NOT_ENROLLED,
        Refusal.NODE_TYPE,
        Refusal.CPU_CORES,
        Refusal.MEMORY,
        Refusal.BANDWIDTH,
        Refusal.GPU,
        Refusal.ALREADY_TAKEN,
        Refusal.SAME_OWNER,
        Refusal.SAME_NETWORK,
        Refusal.EXEC_CLASS,
    }
)
"""Reasons that waiting does not cure."""


# One return a reason, and nothing built on the way: both run for every node in every plan.
def capability_refusal(  # noqa: PLR0911 - one return a reason
    node: NodeView, need: Requirements
) -> Refusal | None:
    """What the node lacks for good. Depends on the requirements only, not on the slot."""
    if not node.enrolled:
        return Refusal.NOT_ENROLLED
    if node.node_type not in need.node_types and node.node_type is not NodeType.ANY:
        return Refusal.NODE_TYPE
    if node.cpu_cores < need.min_cpu_cores:
        return Refusal.CPU_CORES
    if node.memory_gb < need.min_memory_gb:
        return Refusal.MEMORY
    if node.bandwidth_mbps < need.min_bandwidth_mbps:
        return Refusal.BANDWIDTH
    if need.gpu and not node.gpu:
        return Refusal.GPU
    return None


def condition_refusal(node: NodeView) -> Refusal | None:
    """Why the node takes no work at the moment, whatever the work."""
    if not node.online:
        return Refusal.OFFLINE
    if node.draining:
        return Refusal.DRAINING
    if node.breaker_reasons:
        return Refusal.BREAKER
    if node.refusing:
        return Refusal.OWNER_LIMITS
    if node.reputation < SCORE_MIN_FOR_WORK:
        return Refusal.LOW_STANDING
    return None


def slot_refusal(node: NodeView, demand: SlotDemand) -> Refusal | None:
    """What speaks against this node for this very slot."""
    if node.id in demand.taken:
        return Refusal.ALREADY_TAKEN
    if demand.replicated and not demand.independence_waived:
        if node.owner_id in demand.taken_owners:
            return Refusal.SAME_OWNER
        if node.network_prefix in demand.taken_prefixes:
            return Refusal.SAME_NETWORK
    if demand.exec_class and node.exec_class != demand.exec_class:
        return Refusal.EXEC_CLASS
    return None


def refusal(node: NodeView, demand: SlotDemand) -> Refusal | None:
    """The first reason against giving this slot to this node now; None when there is none."""
    reason = (
        capability_refusal(node, demand.requirements)
        or condition_refusal(node)
        or slot_refusal(node, demand)
    )
    if reason is None and node.leases >= node.capacity:
        return Refusal.BUSY
    return reason
