"""Running constant statements on one open connection, with as little between as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ambient_vcp.adapters.sql.statement import BATCH, Dialect, Statement

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
_NOTHING: Parameters = {}
JSON_ROWS_MIN = 16
"""From this many rows on, SQLite unpacks them from JSON faster than it binds them one by one."""


class Cursor(Protocol):
    """What the drivers' cursors have in common."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, statement: str, parameters: Any, /) -> object: ...
    def executemany(self, statement: str, parameters: Any, /) -> object: ...
    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...


def json_text(value: object) -> str:
    """JSON text of lists, dicts and scalars, for one bound parameter."""
    return msgspec.json.encode(value).decode()


class Session:
    """One connection inside an open transaction.

    Works on the driver's cursor: SQLAlchemy's result machinery costs several times the statement
    itself on SQLite. Pooling, dialects and connection events remain SQLAlchemy's.

    ``read_only`` sessions never lock rows.
    """

    __slots__ = ("_cursor", "_now", "dialect", "is_sqlite", "read_only")

    def __init__(
        self,
        cursor: Cursor,
        dialect: Dialect,
        *,
        read_only: bool = False,
        now: Callable[[], int] | None = None,
    ) -> None:
        self._cursor = cursor
        self._now = now
        self.dialect = dialect
        self.is_sqlite = dialect is Dialect.SQLITE
        self.read_only = read_only

    def _text(self, statement: Statement) -> str:
        return statement.sqlite if self.is_sqlite else statement.postgresql

    def rows(self, statement: Statement, parameters: Parameters = _NOTHING) -> list[Row]:
        self._cursor.execute(self._text(statement), parameters)
        return self._cursor.fetchall()

    def row(self, statement: Statement, parameters: Parameters = _NOTHING) -> Row | None:
        """The first row."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    def scalar(self, statement: Statement, parameters: Parameters = _NOTHING) -> Any:
        """The first column of the first row; None when there is none."""
        found = self.rows(statement, parameters)
        return found[0][0] if found else None

    def run(self, statement: Statement, parameters: Parameters = _NOTHING) -> int:
        """Execute; answers the number of rows written."""
        self._cursor.execute(self._text(statement), parameters)
        return self._cursor.rowcount

    def run_each(
        self, statement: Statement, rows: Sequence[Row], parameters: Parameters = _NOTHING
    ) -> int:
        """Execute for each row of a batch; answers the number of rows written."""
        if self.is_sqlite and 0 < len(rows) < JSON_ROWS_MIN:
            self._cursor.executemany(statement.sqlite, _bound(statement, rows, parameters))
            return self._cursor.rowcount
        if rows:
            self._cursor.execute(*self._whole(statement, rows, parameters))
            return self._cursor.rowcount
        return 0

    def rows_each(
        self, statement: Statement, rows: Sequence[Row], parameters: Parameters = _NOTHING
    ) -> list[Row]:
        """The same for a statement that answers rows."""
        found: list[Row] = []
        if self.is_sqlite and len(rows) < JSON_ROWS_MIN:
            for bound in _bound(statement, rows, parameters):
                self._cursor.execute(statement.sqlite, bound)
                found += self._cursor.fetchall()
        elif rows:
            self._cursor.execute(*self._whole(statement, rows, parameters))
            found = self._cursor.fetchall()
        return found

    def _whole(
        self, statement: Statement, rows: Sequence[Row], parameters: Parameters
    ) -> tuple[str, Parameters]:
        text = statement.sqlite_rows if self.is_sqlite else statement.postgresql
        return text, {BATCH: json_text(rows), **parameters}

    def run_many(self, statement: Statement, parameters: Sequence[Parameters]) -> None:
        """Execute once per set of parameters."""
        if parameters:
            self._cursor.executemany(self._text(statement), parameters)

    def now_ms(self) -> int:
        """The database's clock."""
        if self._now is not None:
            return self._now()
        return int(self.scalar(_NOW))


def _bound(
    statement: Statement, rows: Sequence[Row], parameters: Parameters
) -> list[dict[str, Any]]:
    names = statement.columns
    return [{**parameters, **dict(zip(names, row, strict=True))} for row in rows]


_NOW = Statement(sqlite="SELECT vcp_now_ms()", postgresql="SELECT vcp_now_ms()")
