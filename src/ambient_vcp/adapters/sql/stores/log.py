"""The transparency log and receipts in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.adapters.sql.session import Row
from ambient_vcp.adapters.sql.statement import Batch, sql
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import TaskId
from ambient_vcp.ports.store import Leaf, LogHead, StoredReceipt

_ADD = sql(
    "INSERT INTO log_leaves (kind, data, at_ms) VALUES (:kind, :data, {now}) RETURNING sequence"
)
_ADD_MANY = sql("INSERT INTO log_leaves (kind, data, at_ms) VALUES (:kind, :data, {now})")
_LOCK_HEAD = sql("SELECT size FROM log_head WHERE id = 1 {lock}")
_SIZE = sql("SELECT size FROM log_head WHERE id = 1")
_LEAF_COLUMNS = "sequence, leaf_index, kind, data, at_ms"
_PENDING = sql(
    """SELECT {columns} FROM log_leaves WHERE leaf_index IS NULL
    ORDER BY sequence LIMIT :at_most""",
    columns=_LEAF_COLUMNS,
)
_LEAVES = sql(
    """SELECT {columns} FROM log_leaves WHERE leaf_index >= :first_index
    ORDER BY leaf_index LIMIT :at_most""",
    columns=_LEAF_COLUMNS,
)
_NUMBER = sql(
    """UPDATE log_leaves SET leaf_index = @leaf_index {from_rows}
    WHERE log_leaves.sequence = @sequence AND +log_leaves.leaf_index IS NULL""",
    batch=Batch(sequence="int", leaf_index="int"),
)
"""The sign keeps SQLite from walking all leaves without an index for each row of the batch."""
_ADD_NODES = sql(
    "INSERT INTO log_nodes (level, node_index, hash) VALUES (:level, :node_index, :hash)"
)
_SET_SIZE = sql("UPDATE log_head SET size = :size WHERE id = 1")
_ADD_CHECKPOINT = sql("INSERT INTO checkpoints (size, body) VALUES (:size, :body)")
_NEWEST = sql("SELECT body FROM checkpoints ORDER BY id DESC LIMIT 1")
_CHECKPOINTS = sql("SELECT body FROM checkpoints ORDER BY id LIMIT :at_most")
_NODES = sql(
    """SELECT n.level, n.node_index, n.hash FROM log_nodes n {join_rows}
    WHERE n.level = @level AND n.node_index = @node_index""",
    batch=Batch(level="int", node_index="int"),
)
_ADD_RECEIPT = sql(
    """INSERT INTO receipts (task_id, body, leaf_sequence)
    VALUES (:task_id, :body, :leaf_sequence) ON CONFLICT DO NOTHING"""
)
_RECEIPT = sql(
    """SELECT r.task_id, r.body, l.leaf_index FROM receipts r
    JOIN log_leaves l ON l.sequence = r.leaf_sequence WHERE r.task_id = :task_id"""
)


def _leaf_of(row: Row) -> Leaf:
    return Leaf(sequence=row[0], index=row[1], kind=row[2], data=bytes(row[3]), at_ms=row[4])


class SqlLogStore:
    """The ``LogStore`` port."""

    __slots__ = ("_gathered", "_session", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._session = work.session
        self._gathered: list[dict[str, object]] = []

    def add(self, kind: str, data: bytes) -> None:
        self.add_many([(kind, data)])

    def add_numbered(self, kind: str, data: bytes) -> int:
        """Add a leaf; answers its sequence."""
        self._work.flush()
        return int(self._session.scalar(_ADD, {"kind": kind, "data": data}))

    def add_many(self, leaves: Sequence[tuple[str, bytes]]) -> None:
        if leaves and not self._gathered:
            self._work.flushers.append(self._write)
        self._gathered += [{"kind": kind, "data": data} for kind, data in leaves]

    def _write(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._session.run_many(_ADD_MANY, gathered)

    def pending(self, at_most: int) -> list[Leaf]:
        self._work.flush()
        if not self._session.read_only:
            self._session.scalar(_LOCK_HEAD)
        return [_leaf_of(row) for row in self._session.rows(_PENDING, {"at_most": at_most})]

    def integrate(
        self,
        *,
        first_index: int,
        sequences: Sequence[int],
        nodes: Sequence[tuple[int, int, bytes]],
        checkpoint: str,
    ) -> None:
        size = self._session.scalar(_LOCK_HEAD)
        if size != first_index:
            raise ConflictError(what=f"the log has {size} leaves, not {first_index}")
        rows = [(sequence, first_index + place) for place, sequence in enumerate(sequences)]
        if rows and self._session.run_each(_NUMBER, rows) != len(rows):
            raise ConflictError(what="a leaf is unknown or already in the log")
        self._session.run_many(
            _ADD_NODES,
            [{"level": level, "node_index": index, "hash": data} for level, index, data in nodes],
        )
        values = {"size": first_index + len(sequences)}
        self._session.run(_SET_SIZE, values)
        self._session.run(_ADD_CHECKPOINT, {**values, "body": checkpoint})

    def head(self) -> LogHead:
        return LogHead(
            size=int(self._session.scalar(_SIZE)), checkpoint=self._session.scalar(_NEWEST) or ""
        )

    def node(self, level: int, index: int) -> bytes | None:
        return self.nodes([(level, index)]).get((level, index))

    def nodes(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        if not keys:
            return {}
        rows = self._session.rows_each(_NODES, keys)
        return {(level, index): bytes(data) for level, index, data in rows}

    def leaves(self, first_index: int, at_most: int) -> list[Leaf]:
        values = {"first_index": first_index, "at_most": at_most}
        return [_leaf_of(row) for row in self._session.rows(_LEAVES, values)]

    def checkpoints(self, at_most: int) -> list[str]:
        return [row[0] for row in self._session.rows(_CHECKPOINTS, {"at_most": at_most})]


class SqlReceiptStore:
    """The ``ReceiptStore`` port."""

    __slots__ = ("_log", "_session")

    def __init__(self, work: Work, log: SqlLogStore) -> None:
        self._session = work.session
        self._log = log

    def insert(self, task_id: TaskId, text: str, leaf_data: bytes) -> None:
        sequence = self._log.add_numbered("receipt", leaf_data)
        values = {"task_id": task_id, "body": text, "leaf_sequence": sequence}
        if not self._session.run(_ADD_RECEIPT, values):
            raise ConflictError(what=f"task {task_id} has a receipt")

    def get(self, task_id: TaskId) -> StoredReceipt | None:
        row = self._session.row(_RECEIPT, {"task_id": task_id})
        if row is None:
            return None
        return StoredReceipt(task_id=TaskId(row[0]), text=row[1], leaf_index=row[2])
