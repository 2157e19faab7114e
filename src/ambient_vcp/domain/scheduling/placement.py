"""Choose nodes for slots: filter, score, choose. Pure: same input and numbers, same plan.

Demands with equal requirements share one pool of candidates, so a batch costs one filter pass and
then a few operations a decision, however many nodes there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ambient_vcp.domain.ids import AccountId, TaskId
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


@dataclass(slots=True, eq=False)
class _Seat:
    """A node and how many further leases it can take while this plan is made."""

    node: NodeView
    room: int


class _Board:
    """What changes while a plan is made: room on nodes, and each task's growing company."""

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.seats = [_Seat(node, node.capacity - node.leases) for node in nodes]
        self.joined: dict[str, list[NodeView]] = {}

    def allows(self, seat: _Seat, demand: SlotDemand, *, failed_too: bool) -> bool:
        if seat.room <= 0:
            return False
        node = seat.node
        if (demand.taken or demand.exec_class) and slot_refusal(node, demand) is not None:
            return False
        if demand.failed and not failed_too and node.id in demand.failed:
            return False
        company = self.joined.get(demand.task_id, ())
        return all(self._apart(node, other, demand) for other in company)

    @staticmethod
    def _apart(node: NodeView, other: NodeView, demand: SlotDemand) -> bool:
        if node.id == other.id or node.exec_class != other.exec_class:
            return False
        if demand.independence_waived:
            return True
        return node.owner_id != other.owner_id and node.network_prefix != other.network_prefix

    def take(self, seat: _Seat, demand: SlotDemand) -> Choice:
        seat.room -= 1
        if demand.replicated:
            self.joined.setdefault(demand.task_id, []).append(seat.node)
        return Choice(demand.task_id, demand.slot, seat.node.id)


class _Pool:
    """Nodes that may serve one set of requirements at this moment, with their running weights."""

    def __init__(self, seats: Sequence[_Seat], need: Requirements) -> None:
        self.need = need
        self.seats = [
            seat
            for seat in seats
            if capability_refusal(seat.node, need) is None and condition_refusal(seat.node) is None
        ]
        self.cumulative = list(accumulate(weight(seat.node) for seat in self.seats))
        self.total = self.cumulative[-1] if self.cumulative else 0.0
        self.last = len(self.seats) - 1

    def draw(self, unit: float) -> _Seat:
        # Rounding may put the product on the total itself; `hi` keeps it on the last node then.
        return self.seats[bisect_right(self.cumulative, unit * self.total, 0, self.last)]


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
    pool: _Pool | None = None
    why: dict[SlotDemand, Unplaced] = {}
    weighted = strategy is Strategy.WEIGHTED
    for demand in demands:
        # Neighbours in the queue mostly share one object: identity spares hashing it each time.
        if pool is None or demand.requirements is not pool.need:
            pool = pools.get(demand.requirements)
            if pool is None:
                pool = _Pool(board.seats, demand.requirements)
                pools[demand.requirements] = pool
        # The common case in a long queue, without a call more than it needs: one draw, one look.
        if weighted and pool.seats and demand.is_plain:
            seat = pool.draw(random_unit())
            if seat.room > 0:
                seat.room -= 1
                choices.append(Choice(demand.task_id, demand.slot, seat.node.id))
                continue
        chosen = _choose(demand, pool, board, strategy, random_unit, cursor)
        if chosen is None:
            unplaced.append(_refused(demand, board, why))
            continue
        choices.append(board.take(chosen, demand))
        cursor = chosen.node.id
    assert len(choices) + len(unplaced) == len(demands)
    return Plan(choices=tuple(choices), unplaced=tuple(unplaced), cursor=cursor)


def _choose(
    demand: SlotDemand,
    pool: _Pool,
    board: _Board,
    strategy: Strategy,
    random_unit: Callable[[], float],
    cursor: str,
) -> _Seat | None:
    if not pool.seats:
        return None
    if demand.purpose is not SlotPurpose.PRIMARY:
        # A dispute or an audit goes to the operator's own nodes when one is free.
        trusted = [
            seat
            for seat in pool.seats
            if seat.node.trusted and board.allows(seat, demand, failed_too=False)
        ]
        if trusted:
            return trusted[int(random_unit() * len(trusted))]
    if strategy is Strategy.WEIGHTED:
        for _ in range(DRAWS_MAX):
            seat = pool.draw(random_unit())
            if board.allows(seat, demand, failed_too=False):
                return seat
    for failed_too in (False, True):
        allowed = [seat for seat in pool.seats if board.allows(seat, demand, failed_too=failed_too)]
        if allowed:
            return _pick(allowed, demand, strategy, random_unit, cursor)
    return None


def _pick(
    allowed: list[_Seat],
    demand: SlotDemand,
    strategy: Strategy,
    random_unit: Callable[[], float],
    cursor: str,
) -> _Seat:
    if strategy is Strategy.WEIGHTED:
        cumulative = list(accumulate(weight(seat.node) for seat in allowed))
        unit = random_unit() * cumulative[-1]
        return allowed[bisect_right(cumulative, unit, 0, len(allowed) - 1)]
    if strategy is Strategy.ROUND_ROBIN:
        later = [seat for seat in allowed if seat.node.id > cursor]
        return min(later or allowed, key=lambda seat: seat.node.id)
    scorer = SCORERS[strategy]
    region = demand.requirements.region
    return min(allowed, key=lambda seat: scorer(_as_loaded(seat), region))


def _as_loaded(seat: _Seat) -> NodeView:
    """The node with the leases that this plan has already given it."""
    return replace(seat.node, leases=seat.node.capacity - seat.room)


def _refused(demand: SlotDemand, board: _Board, why: dict[SlotDemand, Unplaced]) -> Unplaced:
    """The counted reasons; slots that ask for the same share one count.

    Room only shrinks while a plan is made, so what was refused once is refused again.
    """
    if not demand.is_plain:
        return _unplaced(demand, board)
    shape = replace(demand, task_id=TaskId(""), slot=0, account_id=AccountId(""))
    if shape not in why:
        why[shape] = _unplaced(shape, board)
    return replace(why[shape], task_id=demand.task_id, slot=demand.slot)


def explain_demand(demand: SlotDemand, nodes: Sequence[NodeView]) -> Unplaced:
    """Count, for a slot, why each node cannot take it. A node counts under its first reason."""
    return _unplaced(demand, _Board(nodes))


def _unplaced(demand: SlotDemand, board: _Board) -> Unplaced:
    counts: Counter[str] = Counter()
    hopeless = True
    for seat in board.seats:
        reason = refusal(seat.node, demand)
        if reason is None and seat.room <= 0:
            reason = Refusal.BUSY
        if reason is None and not board.allows(seat, demand, failed_too=True):
            # Only the company chosen in this very plan speaks against it.
            reason = Refusal.ALREADY_TAKEN
            hopeless = False
        if reason is None:
            hopeless = False
            continue
        counts[reason] += 1
        hopeless = hopeless and _is_lasting(seat.node, demand)
    return Unplaced(
        task_id=demand.task_id, slot=demand.slot, refusals=dict(counts), hopeless=hopeless
    )


def _is_lasting(node: NodeView, demand: SlotDemand) -> bool:
    """Whether waiting cannot help: the node lacks something that it will not get."""
    return (
        capability_refusal(node, demand.requirements) in LASTING
        or slot_refusal(node, demand) in LASTING
    )
