"""Choose nodes for slots: filter, score, choose. Pure: same input and numbers, same plan.

Demands with equal requirements share one pool of candidates, so a batch costs one filter pass and
then a few operations a decision, however many nodes there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.scheduling.filters import (
    LASTING,
    Refusal,
    capability_refusal,
    condition_refusal,
    refusal,
    slot_refusal,
)
from ambient_vcp.domain.scheduling.scores import SCORERS, weight
from ambient_vcp.domain.scheduling.view import (
    Choice,
    NodeView,
    Plan,
    SlotDemand,
    Strategy,
    Unplaced,
)
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.spec import Requirements

DRAWS_MAX = 12
"""Random draws before the pool is searched in full: most draws hit an idle, allowed node."""


class _Board:
    """What changes while a plan is made: leases per node, and each task's growing company."""

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.room: dict[NodeId, int] = {n.id: n.capacity - n.leases for n in nodes}
        self.joined: dict[str, list[NodeView]] = {}

    def allows(self, node: NodeView, demand: SlotDemand, *, failed_too: bool) -> bool:
        if self.room[node.id] <= 0 or slot_refusal(node, demand) is not None:
            return False
        if not failed_too and node.id in demand.failed:
            return False
        company = self.joined.get(demand.task_id)
        if company is None:
            return True
        return all(self._apart(node, other, demand) for other in company)

    @staticmethod
    def _apart(node: NodeView, other: NodeView, demand: SlotDemand) -> bool:
        if node.id == other.id or node.exec_class != other.exec_class:
            return False
        if demand.independence_waived:
            return True
        return node.owner_id != other.owner_id and node.network_prefix != other.network_prefix

    def take(self, node: NodeView, demand: SlotDemand) -> Choice:
        self.room[node.id] -= 1
        if demand.replicated:
            self.joined.setdefault(demand.task_id, []).append(node)
        return Choice(task_id=demand.task_id, slot=demand.slot, node_id=node.id)


class _Pool:
    """Nodes that may serve one set of requirements at this moment, with their running weights."""

    def __init__(self, nodes: Sequence[NodeView], need: Requirements) -> None:
        self.nodes = [
            n for n in nodes if capability_refusal(n, need) is None and condition_refusal(n) is None
        ]
        self.cumulative = list(accumulate(weight(n) for n in self.nodes))
        self.total = self.cumulative[-1] if self.cumulative else 0.0

    def draw(self, unit: float) -> NodeView:
        position = bisect_right(self.cumulative, unit * self.total)
        return self.nodes[min(position, len(self.nodes) - 1)]


def place(
    demands: Sequence[SlotDemand],
    nodes: Sequence[NodeView],
    *,
    strategy: Strategy,
    random_unit: Callable[[], float],
    cursor: str = "",
) -> Plan:
    """Give every slot a node where one may take it.

    Args:
        demands: slots in the order in which they are served, oldest first.
        nodes: the registry's snapshot; ids are unique.
        strategy: how to choose among the nodes that may.
        random_unit: source of numbers in [0, 1).
        cursor: the plan's ``cursor`` of last time, for round-robin.

    Returns:
        A plan that never exceeds a node's capacity and keeps replicas of a task on distinct nodes
        of one execution class (and, unless waived, of distinct owners and networks).
    """
    board = _Board(nodes)
    pools: dict[Requirements, _Pool] = {}
    choices: list[Choice] = []
    unplaced: list[Unplaced] = []
    for demand in demands:
        pool = pools.get(demand.requirements)
        if pool is None:
            pool = pools[demand.requirements] = _Pool(nodes, demand.requirements)
        node = _choose(demand, pool, board, strategy, random_unit, cursor)
        if node is None:
            unplaced.append(explain_demand(demand, nodes, board.room))
            continue
        choices.append(board.take(node, demand))
        cursor = node.id
    assert len(choices) + len(unplaced) == len(demands)
    return Plan(choices=tuple(choices), unplaced=tuple(unplaced), cursor=cursor)


def _choose(
    demand: SlotDemand,
    pool: _Pool,
    board: _Board,
    strategy: Strategy,
    random_unit: Callable[[], float],
    cursor: str,
) -> NodeView | None:
    if not pool.nodes:
        return None
    if demand.purpose is not SlotPurpose.PRIMARY:
        # A dispute or an audit goes to the operator's own nodes when one is free.
        trusted = [n for n in pool.nodes if n.trusted and board.allows(n, demand, failed_too=False)]
        if trusted:
            return trusted[int(random_unit() * len(trusted))]
    if strategy is Strategy.WEIGHTED:
        for _ in range(DRAWS_MAX):
            node = pool.draw(random_unit())
            if board.allows(node, demand, failed_too=False):
                return node
    for failed_too in (False, True):
        allowed = [n for n in pool.nodes if board.allows(n, demand, failed_too=failed_too)]
        if allowed:
            return _pick(allowed, demand, strategy, random_unit, cursor)
    return None


def _pick(
    allowed: list[NodeView],
    demand: SlotDemand,
    strategy: Strategy,
    random_unit: Callable[[], float],
    cursor: str,
) -> NodeView:
    if strategy is Strategy.WEIGHTED:
        cumulative = list(accumulate(weight(n) for n in allowed))
        position = bisect_right(cumulative, random_unit() * cumulative[-1])
        return allowed[min(position, len(allowed) - 1)]
    if strategy is Strategy.ROUND_ROBIN:
        later = [n for n in allowed if n.id > cursor]
        return min(later or allowed, key=lambda n: n.id)
    scorer = SCORERS[strategy]
    region = demand.requirements.region
    return min(allowed, key=lambda n: scorer(n, region))


def explain_demand(
    demand: SlotDemand, nodes: Sequence[NodeView], room: dict[NodeId, int] | None = None
) -> Unplaced:
    """Count, for a slot, why each node cannot take it. A node counts under its first reason."""
    counts: Counter[str] = Counter()
    lasting = True
    for node in nodes:
        reason = refusal(node, demand)
        if reason is None and room is not None and room[node.id] <= 0:
            reason = Refusal.BUSY
        if reason is None:
            # Only the company chosen in this very plan speaks against it.
            reason = Refusal.ALREADY_TAKEN
            lasting = False
        counts[reason] += 1
        lasting = lasting and _is_lasting(node, demand)
    return Unplaced(
        task_id=demand.task_id, slot=demand.slot, refusals=dict(counts), hopeless=lasting
    )


def _is_lasting(node: NodeView, demand: SlotDemand) -> bool:
    """Whether waiting cannot help: the node lacks something that it will not get."""
    return (
        capability_refusal(node, demand.requirements) in LASTING
        or slot_refusal(node, demand) in LASTING
    )
