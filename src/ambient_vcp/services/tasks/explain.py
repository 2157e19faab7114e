"""Why a task waits: for each open slot, every node's reason."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.scheduling.filters import refusal
from ambient_vcp.domain.scheduling.placement import explain_demand
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, AttemptState, SlotState
from ambient_vcp.domain.tasks.records import Slot, TaskRecord
from ambient_vcp.ports.store import Transaction, WaitingSlot
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks.place import company_of, demand_of, node_view

NODES_LISTED_MAX = 200
NODES_EXPLAINED_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotExplanation:
    """``refusals`` counts nodes by first reason; ``nodes`` lists them, "" where it may take it."""

    slot: int
    purpose: str
    state: str
    node_id: NodeId | None
    refusals: dict[str, int]
    nodes: tuple[tuple[NodeId, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    state: str
    summary: str
    slots: tuple[SlotExplanation, ...]


def explain(tx: Transaction, record: TaskRecord, settings: WorkSettings) -> Explanation:
    """Say why the task is where it is. Reads only."""
    now_ms = tx.now_ms()
    nodes = _registry(tx)
    views = {n.id: node_view(n, now_ms, settings.leases_per_node_max) for n in nodes}
    slots = []
    for slot in record.slots:
        if slot.state is not SlotState.WAITING:
            slots.append(
                SlotExplanation(
                    slot=slot.index,
                    purpose=slot.purpose,
                    state=slot.state,
                    node_id=slot.node_id,
                    refusals={},
                    nodes=(),
                )
            )
            continue
        waiting = _waiting(record, slot)
        known = company_of(tx, [waiting], views, settings.leases_per_node_max)
        demand = demand_of(waiting, known)
        reasons = [(view.id, refusal(view, demand) or "") for view in views.values()]
        slots.append(
            SlotExplanation(
                slot=slot.index,
                purpose=slot.purpose,
                state=slot.state,
                node_id=None,
                refusals=explain_demand(demand, list(views.values())).refusals,
                nodes=tuple((node_id, str(why)) for node_id, why in reasons[:NODES_LISTED_MAX]),
            )
        )
    return Explanation(
        state=record.task.state, summary=_summary(record, slots, now_ms), slots=tuple(slots)
    )


def _registry(tx: Transaction) -> list[Node]:
    """Every node that is neither deleted nor rejected, offline and draining ones included."""
    nodes: list[Node] = []
    cursor: str | None = None
    while len(nodes) < NODES_EXPLAINED_MAX:
        page, cursor = tx.nodes.page(owner_id=None, cursor=cursor, at_most=NODES_LISTED_MAX)
        nodes += page
        if cursor is None:
            break
    return nodes


def _waiting(record: TaskRecord, slot: Slot) -> WaitingSlot:
    def of(*states: AttemptState) -> frozenset[NodeId]:
        return frozenset(a.node_id for a in record.attempts if a.state in states)

    return WaitingSlot(
        slot=slot,
        spec=record.task.spec,
        account_id=record.task.account_id,
        task_state=record.task.state,
        voted=of(AttemptState.COMPLETED),
        leased=of(AttemptState.ASSIGNED, AttemptState.IN_PROGRESS),
        failed=of(AttemptState.FAILED, AttemptState.EXPIRED),
        independence_waived=record.task.independence_waived,
    )


def _summary(record: TaskRecord, slots: list[SlotExplanation], now_ms: int) -> str:
    task = record.task
    if task.state not in LIVE_STATES:
        return f"The task has ended: {task.state}{': ' + task.reason if task.reason else ''}."
    waiting = [slot for slot in slots if slot.state == SlotState.WAITING]
    if not waiting:
        working = ", ".join(str(slot.node_id) for slot in slots if slot.state == SlotState.LEASED)
        return f"Every slot is with a node: {working}."
    delays = [
        slot.not_before_ms - now_ms
        for slot in record.slots
        if slot.state is SlotState.WAITING and slot.not_before_ms > now_ms
    ]
    if len(delays) == len(waiting):
        return f"A failed attempt is retried in {min(delays)} ms."
    if not any(slot.nodes for slot in waiting):
        return "No node is enrolled and online. Start one with: ambient-vcp node join"
    counted: dict[str, int] = {}
    for slot in waiting:
        for reason, count in slot.refusals.items():
            counted[reason] = max(counted.get(reason, 0), count)
    if not counted:
        return "A node may take it now; it will be placed in a moment."
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items()))
    return f"{len(waiting)} of {len(slots)} slots wait for a node; nodes refused: {listed}."
