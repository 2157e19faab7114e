"""What submitters read: their tasks, the cluster's figures."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.errors import ConflictError, NotFoundError
from ambient_vcp.domain.ids import AccountId, TaskId
from ambient_vcp.domain.nodes.health import HEALTHY_MIN, health_of
from ambient_vcp.domain.nodes.node import NodeStatus
from ambient_vcp.domain.nodes.reputation import score
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.bounds import decision_bound
from ambient_vcp.domain.verification.votes import DecisionKind
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks import finish

VOTED = frozenset({"agreed", "disagreed"})
NODE_PAGE = 500
NODES_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks. An administrator sees every account's tasks."""

    account_id: AccountId
    admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFigures:
    """``average_health`` is in [0, 1], None without nodes; ``capacity`` is sum of cores x GB."""

    nodes: int
    healthy: int
    average_health: float | None
    capacity: float
    tasks: dict[str, int]


def the_task(tx: Transaction, task_id: TaskId, viewer: Viewer, *, lock: bool = False) -> TaskRecord:
    """A task of the viewer's; NotFoundError for anybody else's, too."""
    record = tx.tasks.load([task_id], lock=lock).get(task_id)
    if record is None or not (viewer.admin or record.task.account_id == viewer.account_id):
        raise NotFoundError(kind="task", id=task_id)
    return record


def remove_task(
    tx: Transaction, task_id: TaskId, viewer: Viewer
) -> tuple[TaskState, list[LeaseRef]]:
    """Cancel a live task, or hide an ended one. Answers its state now and the leases cut off."""
    record = the_task(tx, task_id, viewer, lock=True)
    if record.task.state in LIVE_STATES:
        cut = finish.cancel(tx, record, actor=viewer.account_id).cut
        return TaskState.CANCELLED, list(cut)
    tx.tasks.archive(task_id)
    audit.record(tx, "task.archived", actor=viewer.account_id, subject=task_id)
    return record.task.state, []


def cancel_task(
    tx: Transaction, task_id: TaskId, viewer: Viewer
) -> tuple[TaskRecord, list[LeaseRef]]:
    """Cancel a live task; repeating it changes nothing.

    Raises:
        ConflictError: it has ended otherwise.
    """
    record = the_task(tx, task_id, viewer, lock=True)
    if record.task.state in (TaskState.COMPLETED, TaskState.FAILED):
        raise ConflictError(
            what=f"task {task_id} has ended: {record.task.state}",
            advice="Only a task that has not ended can be cancelled.",
        )
    cut = finish.cancel(tx, record, actor=viewer.account_id).cut
    return the_task(tx, task_id, viewer), list(cut)


def error_bound_ppb(tx: Transaction, record: TaskRecord) -> int | None:
    """How likely the accepted result is wrong, in parts per billion; None before it is final.

    Votes that share an owner or a network are not independent, whatever was waived.
    """
    if not record.task.decision:
        return None
    voters = {
        attempt.node_id
        for attempt in record.attempts
        if attempt.verdict in VOTED and attempt.purpose is not SlotPurpose.AUDIT
    }
    nodes = tx.nodes.many(sorted(voters)).values()
    owners = {node.owner_id for node in nodes}
    prefixes = {node.network_prefix for node in nodes}
    independent = len(owners) == len(voters) and len(prefixes) == len(voters)
    kind = DecisionKind(record.task.decision)
    return decision_bound(kind, max(1, len(voters)), independent=independent)[0]


def cluster(tx: Transaction) -> ClusterFigures:
    """Count what is there now: every node that is neither deleted nor rejected, all tasks."""
    nodes = healthy = 0
    health_sum = capacity = 0.0
    cursor: str | None = None
    while nodes < NODES_MAX:
        page, cursor = tx.nodes.page(owner_id=None, cursor=cursor, at_most=NODE_PAGE)
        for node in page:
            health = health_of(node.telemetry, score(node.reputation)).score
            nodes += 1
            health_sum += health
            capacity += node.capabilities.cpu_cores * node.capabilities.memory_gb
            healthy += node.status is NodeStatus.ONLINE and health >= HEALTHY_MIN
        if cursor is None:
            break
    return ClusterFigures(
        nodes=nodes,
        healthy=healthy,
        average_health=health_sum / nodes if nodes else None,
        capacity=capacity,
        tasks=tx.tasks.counts(),
    )
