"""The standing of nodes while one use case runs: read once, changed in memory, written once."""

from __future__ import annotations

from collections.abc import Iterable

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.nodes.reputation import (
    Reputation,
    record_dispute,
    record_failure,
    record_success,
)
from ambient_vcp.domain.verification.judge import Effect, Standing
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit
from ambient_vcp.services.tasks import audits

REOPENED_MAX = 1_000


class Standings:
    """Books outcomes; :meth:`save` writes what changed and must be called before the end."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._nodes: dict[NodeId, Node] = {}
        self._changed: dict[NodeId, Reputation] = {}
        self._erred: set[NodeId] = set()

    def load(self, node_ids: Iterable[NodeId]) -> None:
        """Read the nodes that are not known yet."""
        missing = sorted(set(node_ids) - self._nodes.keys())
        if missing:
            self._nodes.update(self._tx.nodes.many(missing))

    def trusted(self, node_ids: Iterable[NodeId]) -> frozenset[NodeId]:
        """Those of the nodes whose word decides disputes."""
        wanted = frozenset(node_ids)
        self.load(wanted)
        return frozenset(
            node_id for node_id in wanted & self._nodes.keys() if self._nodes[node_id].trusted
        )

    def book(self, effects: Iterable[Effect]) -> None:
        """Note outcomes; a lost dispute also re-opens what rests on that node's word alone."""
        for effect in effects:
            self.load([effect.node_id])
            node = self._nodes.get(effect.node_id)
            if node is None:
                continue
            before = self._changed.get(effect.node_id, node.reputation)
            self._changed[effect.node_id] = _booked(before, effect)
            if effect.standing is not Standing.SUCCESS:
                self._erred.add(effect.node_id)
            if effect.standing is Standing.DISPUTE:
                self._dispute_lost(effect.node_id)

    def save(self) -> None:
        # In the order of ids, so that two use cases never wait for each other's rows.
        for node_id in sorted(self._changed):
            self._tx.nodes.save_reputation(
                node_id, self._changed[node_id], error=node_id in self._erred
            )
        self._changed.clear()
        self._erred.clear()

    def _dispute_lost(self, node_id: NodeId) -> None:
        tx = self._tx
        audit.record(tx, "node.dispute_lost", actor="control-plane", subject=node_id)
        # The receipts stay; what they rest on is executed again and their status follows.
        for task_id in tx.tasks.provisional_of_node(node_id, REOPENED_MAX):
            record = tx.tasks.load([task_id])[task_id]
            tx.tasks.set_assurance(task_id, "disputed")
            if not audits.is_open(record):
                audits.open_audit(tx, task_id, 1)
            audit.task_event(
                tx,
                "task.reopened",
                account_id=record.task.account_id,
                task_id=task_id,
                node_id=node_id,
            )


def _booked(before: Reputation, effect: Effect) -> Reputation:
    match effect.standing:
        case Standing.SUCCESS:
            return record_success(before, effect.compute_time_ms)
        case Standing.FAILURE:
            return record_failure(before)
        case Standing.DISPUTE:
            return record_dispute(before)
