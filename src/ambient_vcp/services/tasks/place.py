"""Give waiting slots to nodes: read a snapshot, decide in pure code, grant leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.nodes.breaker import BreakerInput, breaker_reasons
from ambient_vcp.domain.nodes.health import health_of
from ambient_vcp.domain.nodes.node import Node, NodeStatus
from ambient_vcp.domain.nodes.reputation import score
from ambient_vcp.domain.scheduling.placement import place as decide
from ambient_vcp.domain.scheduling.view import NodeView, Plan, SlotDemand, Unplaced
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import Hold
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import Grant, TaskUpdate, Transaction, WaitingSlot
from ambient_vcp.services.record import audit
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks.progress import next_check_ms

LOOK_AT_MIN = 64
PASS_OVER_FROM = 100
"""Below so many stuck slots every round sees all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceReport:
    """What one round did. ``patient`` of the ``unplaced`` are of held tasks or audits.

    ``cursor`` goes into the next round.
    """

    grants: tuple[Grant, ...]
    unplaced: int
    cursor: str
    patient: int = 0


def node_view(node: Node, now_ms: int, leases_max: int) -> NodeView:
    """What placement sees of a node: measured health, audited standing, live breakers."""
    reputation = score(node.reputation)
    breakers = breaker_reasons(
        BreakerInput(
            telemetry=node.telemetry,
            received_at_ms=node.telemetry_received_at_ms,
            consecutive_errors=node.reputation.consecutive_errors,
            last_error_at_ms=node.last_error_at_ms,
        ),
        now_ms,
    )
    return NodeView(
        id=node.id,
        owner_id=node.owner_id,
        network_prefix=node.network_prefix,
        node_type=node.node_type,
        region=node.region,
        cpu_cores=node.capabilities.cpu_cores,
        memory_gb=node.capabilities.memory_gb,
        bandwidth_mbps=node.capabilities.bandwidth_mbps,
        gpu=node.capabilities.gpu_available,
        enrolled=node.public_key is not None,
        online=node.status in (NodeStatus.ONLINE, NodeStatus.DRAINING),
        draining=node.status is NodeStatus.DRAINING,
        breaker_reasons=tuple(breakers),
        refusing=node.report.refusing,
        health=health_of(node.telemetry, reputation).score,
        reputation=reputation,
        latency_ms=node.telemetry.latency_ms if node.telemetry else None,
        cpu_percent=node.telemetry.cpu_percent if node.telemetry else None,
        exec_class=node.report.exec_class,
        trusted=node.trusted,
        capacity=max(1, min(node.report.concurrency_max, leases_max)),
        leases=node.active_leases,
        registered_at_ms=node.registered_at_ms,
    )


def demand_of(waiting: WaitingSlot, views: dict[NodeId, NodeView]) -> SlotDemand:
    """A waiting slot as placement sees it. ``views`` holds its company too: see ``company_of``."""
    taken = waiting.voted | waiting.leased
    company = [views[node_id] for node_id in sorted(taken) if node_id in views]
    replicated = (
        waiting.spec.verification.replicas > 1 or waiting.slot.purpose is not SlotPurpose.PRIMARY
    )
    return SlotDemand(
        task_id=waiting.slot.task_id,
        slot=waiting.slot.index,
        purpose=waiting.slot.purpose,
        requirements=waiting.spec.requirements,
        account_id=waiting.account_id,
        taken=taken,
        failed=waiting.failed - taken,
        taken_owners=frozenset(view.owner_id for view in company),
        taken_prefixes=frozenset(view.network_prefix for view in company),
        exec_class=company[0].exec_class if company and replicated else "",
        independence_waived=waiting.independence_waived,
        replicated=replicated,
    )


def company_of(
    tx: Transaction,
    waiting: Sequence[WaitingSlot],
    views: dict[NodeId, NodeView],
    leases_max: int,
) -> dict[NodeId, NodeView]:
    """``views`` and every node that these slots' tasks are already with.

    A node that has voted still binds owner, network and execution class when it is offline.
    """
    taken = {node_id for slot in waiting for node_id in slot.voted | slot.leased}
    absent = tx.nodes.many(sorted(taken - views.keys()))
    now_ms = tx.now_ms()
    return views | {node.id: node_view(node, now_ms, leases_max) for node in absent.values()}


def place(
    tx: Transaction, *, settings: WorkSettings, entropy: Entropy, cursor: str = ""
) -> PlaceReport:
    """One round: at most ``slots_per_plan_max`` of the oldest waiting slots.

    It looks at few of a long queue while these fill all the room that the nodes have.
    """
    if not tx.tasks.waiting_slots(1):
        return PlaceReport(grants=(), unplaced=0, cursor=cursor)
    now_ms, most = tx.now_ms(), settings.slots_per_plan_max
    nodes = tx.nodes.placeable(settings.nodes_per_plan_max)
    views = {n.id: node_view(n, now_ms, settings.leases_per_node_max) for n in nodes}

    def planned(at_most: int) -> tuple[Sequence[WaitingSlot], Plan]:
        waiting = tx.tasks.waiting_slots(at_most)
        known = company_of(tx, waiting, views, settings.leases_per_node_max)
        return waiting, decide(
            [demand_of(slot, known) for slot in waiting],
            list(views.values()),
            strategy=settings.strategy,
            random_unit=entropy.random,
            cursor=cursor,
        )

    room = sum(max(0, view.capacity - view.leases) for view in views.values())
    few = min(most, max(LOOK_AT_MIN, room))
    waiting, plan = planned(few)
    if few < most and len(plan.choices) < room:
        # Some of these cannot be placed: what is behind them may.
        waiting, plan = planned(most)
    grants = tx.tasks.grant(
        [(choice.task_id, choice.slot, choice.node_id) for choice in plan.choices],
        lease_ms=settings.lease_ms,
    )
    by_task = {slot.slot.task_id: slot for slot in waiting}
    _note_grants(tx, grants, by_task)
    _hold(tx, plan.unplaced, by_task, {grant.lease.task_id for grant in grants})
    patient = _pass_over(tx, plan.unplaced, waiting)
    return PlaceReport(
        grants=tuple(grants), unplaced=len(plan.unplaced), patient=patient, cursor=plan.cursor
    )


def _pass_over(
    tx: Transaction, unplaced: Sequence[Unplaced], waiting: Sequence[WaitingSlot]
) -> int:
    """Let the next round look at other held tasks and audits first, where there are many.

    Answers how many of the unplaced are such: they are no backlog that new work stands behind.
    """
    patient = {
        (each.slot.task_id, each.slot.index)
        for each in waiting
        if each.task_state is TaskState.HELD or each.slot.purpose is SlotPurpose.AUDIT
    }
    stuck = [(each.task_id, each.slot) for each in unplaced]
    again = [place for place in stuck if place in patient]
    if len(again) >= PASS_OVER_FROM:
        tx.tasks.pass_over(again)
    return len(again)


def _note_grants(
    tx: Transaction, grants: Sequence[Grant], by_task: dict[TaskId, WaitingSlot]
) -> None:
    records = tx.tasks.load(list({grant.lease.task_id for grant in grants}))
    moved: set[TaskId] = set()
    for grant in grants:
        lease = grant.lease
        waiting = by_task[lease.task_id]
        audit.task_event(
            tx,
            "attempt.assigned",
            account_id=waiting.account_id,
            task_id=lease.task_id,
            node_id=lease.node_id,
            fields={"slot": str(lease.slot), "epoch": str(lease.epoch)},
        )
        record = records.get(lease.task_id)
        if record is None or lease.task_id in moved:
            continue
        moved.add(lease.task_id)
        if record.task.state in (TaskState.PENDING, TaskState.HELD, TaskState.VERIFYING):
            tx.tasks.update(
                TaskUpdate(
                    task_id=lease.task_id,
                    expected=frozenset({record.task.state}),
                    state=TaskState.ASSIGNED,
                    next_check_at_ms=next_check_ms(record),
                    clear_hold=True,
                )
            )


def _hold(
    tx: Transaction,
    unplaced: Sequence[Unplaced],
    by_task: dict[TaskId, WaitingSlot],
    granted: set[TaskId],
) -> None:
    """Say openly when no node of the registry could ever take a slot."""
    seen: set[TaskId] = set()
    for entry in unplaced:
        waiting = by_task[entry.task_id]
        hopeful = not entry.hopeless or waiting.slot.purpose is SlotPurpose.AUDIT
        if hopeful or entry.task_id in seen or entry.task_id in granted:
            continue
        seen.add(entry.task_id)
        if waiting.task_state not in (TaskState.PENDING, TaskState.VERIFYING):
            continue
        counted = ", ".join(f"{n} {reason}" for reason, n in sorted(entry.refusals.items()))
        record = tx.tasks.load([entry.task_id])[entry.task_id]
        tx.tasks.update(
            TaskUpdate(
                task_id=entry.task_id,
                expected=frozenset({waiting.task_state}),
                state=TaskState.HELD,
                next_check_at_ms=next_check_ms(record),
                hold=Hold(
                    code="no_eligible_node", reason=counted or "no node is registered and online"
                ),
            )
        )
        audit.task_event(tx, "task.held", account_id=waiting.account_id, task_id=entry.task_id)
