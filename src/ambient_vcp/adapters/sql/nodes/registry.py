"""Who the nodes are and how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ambient_vcp.adapters.sql.nodes.rows import (
    NODE_COLUMNS,
    STORED_COLUMNS,
    node_of,
    report_text,
    telemetry_text,
    values_of,
)
from ambient_vcp.adapters.sql.session import json_text
from ambient_vcp.adapters.sql.statement import Statement, json_list, sql
from ambient_vcp.adapters.sql.stores.cursors import FIRST_PAGE, decode_cursor, encode_cursor
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.errors import ConflictError, NotFoundError
from ambient_vcp.domain.ids import AccountId, NodeId, PublicKey
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.nodes.telemetry import Telemetry

_INSERT = sql(
    "INSERT INTO nodes ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING",
    columns=", ".join(STORED_COLUMNS),
    values=", ".join(f":{name}" for name in STORED_COLUMNS),
)
_GET = sql("SELECT {columns} FROM nodes WHERE id = :id", columns=NODE_COLUMNS)
_BY_KEY = sql("SELECT {columns} FROM nodes WHERE public_key = :public_key", columns=NODE_COLUMNS)
_MANY = sql(
    "SELECT {columns} FROM nodes WHERE id IN {ids}", columns=NODE_COLUMNS, ids=json_list("ids")
)
_PLACEABLE = sql(
    """SELECT {columns} FROM nodes WHERE status = 'online' AND public_key IS NOT NULL
    ORDER BY id LIMIT :at_most""",
    columns=NODE_COLUMNS,
)
_SILENT = sql(
    """SELECT id FROM nodes WHERE status IN ('online', 'draining')
        AND last_seen_at_ms < {now} - :older_than_ms
    ORDER BY last_seen_at_ms, id LIMIT :at_most"""
)
_REGISTER = sql(
    """UPDATE nodes SET region = :region, node_type = :node_type,
        bandwidth_mbps = :bandwidth_mbps, cpu_cores = :cpu_cores, memory_gb = :memory_gb,
        gpu_available = :gpu_available, status = :status, report = :report,
        network_prefix = :network_prefix, observability_port = :observability_port,
        last_seen_at_ms = :last_seen_at_ms
    WHERE id = :id"""
)
_HEARTBEAT = sql(
    """UPDATE nodes SET last_seen_at_ms = {now}, network_prefix = :network_prefix,
        telemetry = coalesce(:telemetry, telemetry),
        telemetry_received_at_ms = CASE WHEN :has_telemetry = 1 THEN {now}
            ELSE telemetry_received_at_ms END,
        report = coalesce(:report, report),
        status = CASE WHEN status = 'offline' THEN 'online' ELSE status END
    WHERE id = :id"""
)
_SET_KEY = sql(
    """UPDATE nodes SET public_key = :public_key WHERE id = :id AND public_key IS NULL
        AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.public_key = :public_key)"""
)
_SET_STATUS = sql("UPDATE nodes SET status = :status WHERE id = :id")
_SET_TRUSTED = sql("UPDATE nodes SET trusted = :trusted WHERE id = :id")
_SET_REPUTATION = sql(
    """UPDATE nodes SET completed = :completed, failed = :failed, disputes = :disputes,
        consecutive_errors = :consecutive_errors, compute_time_ms = :compute_time_ms,
        last_error_at_ms = CASE WHEN :error = 1 THEN {now} ELSE last_error_at_ms END
    WHERE id = :id"""
)


def _page_statement(condition: str) -> Statement:
    return sql(
        """SELECT {columns} FROM nodes
        WHERE status NOT IN ('deleted', 'rejected') AND (registered_at_ms, id) < (:at_ms, :id)
            {condition}
        ORDER BY registered_at_ms DESC, id DESC LIMIT :at_most""",
        columns=NODE_COLUMNS,
        condition=condition,
    )


_PAGE = _page_statement("")
_PAGE_OF_OWNER = _page_statement("AND owner_id = :owner_id")


class Registry:
    """Methods of the ``NodeStore`` port about the nodes themselves.

    Changing a node that does not exist raises NotFoundError.
    """

    __slots__ = ("_session",)

    def __init__(self, work: Work) -> None:
        self._session = work.session

    def _change(self, statement: Statement, values: Mapping[str, object]) -> None:
        if not self._session.run(statement, values):
            raise NotFoundError(kind="node", id=str(values["id"]))

    def insert(self, node: Node) -> None:
        if not self._session.run(_INSERT, values_of(node)):
            raise ConflictError(
                what=f"node {node.id} or its key is already registered",
                advice="Choose another node id, or use the key that belongs to this one.",
            )

    def get(self, node_id: NodeId) -> Node | None:
        row = self._session.row(_GET, {"id": node_id})
        return None if row is None else node_of(row)

    def by_key(self, public_key: PublicKey) -> Node | None:
        row = self._session.row(_BY_KEY, {"public_key": public_key})
        return None if row is None else node_of(row)

    def many(self, node_ids: Sequence[NodeId]) -> dict[NodeId, Node]:
        if not node_ids:
            return {}
        nodes = map(node_of, self._session.rows(_MANY, {"ids": json_text(node_ids)}))
        return {node.id: node for node in nodes}

    def page(
        self, *, owner_id: AccountId | None, cursor: str | None, at_most: int
    ) -> tuple[tuple[Node, ...], str | None]:
        at_ms, last_id = FIRST_PAGE if cursor is None else decode_cursor(cursor)
        values: dict[str, object] = {"at_ms": at_ms, "id": last_id, "at_most": at_most + 1}
        if owner_id is not None:
            values["owner_id"] = owner_id
        rows = self._session.rows(_PAGE if owner_id is None else _PAGE_OF_OWNER, values)
        nodes = tuple(map(node_of, rows[:at_most]))
        if len(rows) <= at_most or not nodes:
            return nodes, None
        return nodes, encode_cursor(nodes[-1].registered_at_ms, nodes[-1].id)

    def placeable(self, at_most: int) -> list[Node]:
        return [node_of(row) for row in self._session.rows(_PLACEABLE, {"at_most": at_most})]

    def save_registration(self, node: Node) -> None:
        stored = values_of(node)
        self._change(_REGISTER, stored)

    def heartbeat(
        self,
        node_id: NodeId,
        *,
        telemetry: Telemetry | None,
        report: NodeReport | None,
        network_prefix: str,
    ) -> None:
        values = {
            "id": node_id,
            "network_prefix": network_prefix,
            "telemetry": telemetry_text(telemetry),
            "has_telemetry": int(telemetry is not None),
            "report": None if report is None else report_text(report),
        }
        self._change(_HEARTBEAT, values)

    def set_key(self, node_id: NodeId, public_key: PublicKey) -> None:
        if not self._session.run(_SET_KEY, {"id": node_id, "public_key": public_key}):
            raise ConflictError(
                what=f"node {node_id} has a key, or another node has this one",
                advice="Use the key that belongs to this node, or join under another id.",
            )

    def set_status(self, node_id: NodeId, status: NodeStatus) -> None:
        self._change(_SET_STATUS, {"id": node_id, "status": str(status)})

    def set_trusted(self, node_id: NodeId, *, trusted: bool) -> None:
        self._change(_SET_TRUSTED, {"id": node_id, "trusted": int(trusted)})

    def save_reputation(self, node_id: NodeId, reputation: Reputation, *, error: bool) -> None:
        values = {
            "id": node_id,
            "completed": reputation.completed,
            "failed": reputation.failed,
            "disputes": reputation.disputes,
            "consecutive_errors": reputation.consecutive_errors,
            "compute_time_ms": reputation.compute_time_ms,
            "error": int(error),
        }
        self._change(_SET_REPUTATION, values)

    def silent(self, *, older_than_ms: int, at_most: int) -> list[NodeId]:
        values = {"older_than_ms": older_than_ms, "at_most": at_most}
        return [NodeId(row[0]) for row in self._session.rows(_SILENT, values)]
