"""What happened to nodes, and invitations to become one."""

from __future__ import annotations

import msgspec

from ambient_vcp.adapters.sql.nodes.registry import Registry
from ambient_vcp.adapters.sql.session import Row, json_text
from ambient_vcp.adapters.sql.statement import sql
from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, TaskId
from ambient_vcp.ports.store import NodeEvent

_ADD = sql(
    """INSERT INTO node_events (node_id, at_ms, kind, task_id, health_percent, active_tasks, fields)
    VALUES (:node_id, {now}, :kind, :task_id, :health_percent, :active_tasks, :fields)"""
)
_EVENTS = sql(
    """SELECT node_id, at_ms, kind, task_id, health_percent, active_tasks, fields
    FROM node_events WHERE node_id = :node_id ORDER BY id DESC LIMIT :at_most"""
)
_PRUNE = sql(
    """DELETE FROM node_events WHERE id IN (
        SELECT ranked.id FROM (
            SELECT id, row_number() OVER (PARTITION BY node_id ORDER BY id DESC) AS place
            FROM node_events) AS ranked
        WHERE ranked.place > :keep_per_node ORDER BY ranked.id LIMIT :at_most)"""
)
_INVITE = sql(
    """INSERT INTO invites (code_hash, owner_id, expires_at_ms)
    VALUES (:code_hash, :owner_id, {now} + :ttl_ms) ON CONFLICT DO NOTHING
    RETURNING expires_at_ms"""
)
_USE_INVITE = sql(
    """UPDATE invites SET used_by = :node_id, used_at_ms = {now}
    WHERE code_hash = :code_hash AND used_at_ms IS NULL AND expires_at_ms > {now}
    RETURNING owner_id"""
)


def _event_of(row: Row) -> NodeEvent:
    return NodeEvent(
        node_id=NodeId(row[0]),
        at_ms=row[1],
        kind=row[2],
        task_id=None if row[3] is None else TaskId(row[3]),
        health_percent=row[4],
        active_tasks=row[5],
        fields=msgspec.json.decode(row[6]),
    )


class History(Registry):
    """Methods of the ``NodeStore`` port about events and invitations."""

    __slots__ = ()

    def add_event(
        self,
        node_id: NodeId,
        *,
        kind: str,
        task_id: TaskId | None = None,
        health_percent: float | None = None,
        active_tasks: int | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        self._session.run(
            _ADD,
            {
                "node_id": node_id,
                "kind": kind,
                "task_id": task_id,
                "health_percent": None if health_percent is None else float(health_percent),
                "active_tasks": active_tasks,
                "fields": json_text(fields or {}),
            },
        )

    def events(self, node_id: NodeId, at_most: int) -> list[NodeEvent]:
        values = {"node_id": node_id, "at_most": at_most}
        return [_event_of(row) for row in self._session.rows(_EVENTS, values)]

    def prune_events(self, *, keep_per_node: int, at_most: int) -> int:
        return self._session.run(_PRUNE, {"keep_per_node": keep_per_node, "at_most": at_most})

    def add_invite(self, code_hash: Digest, owner_id: AccountId, *, ttl_ms: int) -> int:
        values = {"code_hash": code_hash, "owner_id": owner_id, "ttl_ms": ttl_ms}
        row = self._session.row(_INVITE, values)
        if row is None:
            raise ConflictError(what="this invitation code exists", advice="Make a new code.")
        return int(row[0])

    def use_invite(self, code_hash: Digest, node_id: NodeId) -> AccountId | None:
        row = self._session.row(_USE_INVITE, {"code_hash": code_hash, "node_id": node_id})
        return None if row is None else AccountId(row[0])
