"""Events in SQL, and where their sequence comes from.

SQLite has one writer, so its own row numbers rise in the order of the commits. PostgreSQL's
sequences do not: a transaction may take a number, commit late, and a reader that has gone past it
would never see the event. There a sequence is made of the transaction's number and the event's
place in it, and readers see only events below the oldest transaction that is still open: what
they have read is complete. An idle transaction left open anywhere in the PostgreSQL cluster
therefore delays events; it never loses one.
"""

from __future__ import annotations

import msgspec

from ambient_vcp.adapters.sql.session import Row, json_text
from ambient_vcp.adapters.sql.statement import Batch, Fragment, Statement, sql
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.errors import LimitExceededError
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.ports.store import Event

EVENTS_PER_TRANSACTION_MAX = 16_384
_SHIFT = 14
_BASE = "(SELECT base FROM event_base)"

_ADD = sql(
    """INSERT INTO events ({sequence} at_ms, kind, account_id, task_id, node_id, fields)
    {row} {number} {now}, @kind, @account_id, @task_id, @node_id, @fields {end}""",
    batch=Batch(
        ordinal="int",
        kind="text",
        account_id="text",
        task_id="text",
        node_id="text",
        fields="text",
    ),
    sequence=Fragment("", "sequence,"),
    number=Fragment("", f"{_BASE} + (pg_current_xact_id()::text::bigint << {_SHIFT}) + @ordinal,"),
)
_HORIZON = Fragment(
    "",
    f"AND sequence < {_BASE} + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {_SHIFT})",
)
_COLUMNS = "sequence, at_ms, kind, account_id, task_id, node_id, fields"


def _since(condition: str) -> Statement:
    return sql(
        """SELECT {columns} FROM events WHERE sequence > :sequence {horizon} {condition}
        ORDER BY sequence LIMIT :at_most""",
        columns=_COLUMNS,
        horizon=_HORIZON,
        condition=condition,
    )


_SINCE = {
    (False, False): _since(""),
    (False, True): _since("AND task_id = :task_id"),
    (True, False): _since("AND account_id = :account_id"),
    (True, True): _since("AND account_id = :account_id AND task_id = :task_id"),
}
_LAST = sql("SELECT coalesce(max(sequence), 0) FROM events WHERE 1 = 1 {horizon}", horizon=_HORIZON)
_PRUNE = sql(
    """DELETE FROM events WHERE sequence IN (
        SELECT sequence FROM events ORDER BY sequence LIMIT :at_most)
        AND at_ms < {now} - :older_than_ms"""
)
RAISE_BASE = sql(
    """UPDATE event_base SET base = greatest(base, (
        SELECT coalesce(max(sequence), 0) FROM events) - {oldest} + 1)""",
    oldest=f"(pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {_SHIFT})",
).postgresql
"""At open: sequences still rise when the database was restored into a younger cluster."""


def _event_of(row: Row) -> Event:
    return Event(
        sequence=row[0],
        at_ms=row[1],
        kind=row[2],
        account_id=None if row[3] is None else AccountId(row[3]),
        task_id=None if row[4] is None else TaskId(row[4]),
        node_id=None if row[5] is None else NodeId(row[5]),
        fields=msgspec.json.decode(row[6]),
    )


class SqlEventStore:
    """The ``EventStore`` port."""

    __slots__ = ("_gathered", "_session", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._session = work.session
        self._gathered: list[Row] = []

    def add(
        self,
        kind: str,
        *,
        account_id: AccountId | None = None,
        task_id: TaskId | None = None,
        node_id: NodeId | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        ordinal = self._work.event_ordinal
        if ordinal >= EVENTS_PER_TRANSACTION_MAX:
            raise LimitExceededError(
                limit="events of one transaction",
                maximum=EVENTS_PER_TRANSACTION_MAX,
                got=ordinal + 1,
            )
        self._work.event_ordinal = ordinal + 1
        if not self._gathered:
            self._work.flushers.append(self._write)
        self._gathered.append(
            (ordinal, kind, account_id, task_id, node_id, json_text(fields or {}))
        )

    def _write(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._session.run_each(_ADD, gathered)

    def since(
        self,
        sequence: int,
        *,
        account_id: AccountId | None,
        task_id: TaskId | None,
        at_most: int,
    ) -> list[Event]:
        self._work.flush()
        values: dict[str, object] = {"sequence": sequence, "at_most": at_most}
        if account_id is not None:
            values["account_id"] = account_id
        if task_id is not None:
            values["task_id"] = task_id
        statement = _SINCE[account_id is not None, task_id is not None]
        return [_event_of(row) for row in self._session.rows(statement, values)]

    def last_sequence(self) -> int:
        self._work.flush()
        return int(self._session.scalar(_LAST))

    def prune(self, *, older_than_ms: int, at_most: int) -> int:
        values = {"older_than_ms": older_than_ms, "at_most": at_most}
        return self._session.run(_PRUNE, values)
