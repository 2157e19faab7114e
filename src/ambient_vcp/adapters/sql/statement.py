"""Constant SQL: one text where the dialects agree, fragments where they do not.

Everything here happens once, at import. Values reach the database only as bound parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect as Engine

_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")
_POSTGRESQL = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


class Dialect(StrEnum):
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL that the dialects spell differently."""

    sqlite: str
    postgresql: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in the driver's own parameter style, for each dialect."""

    sqlite: str
    postgresql: str
    sqlite_rows: str = ""
    """With a batch: the statement for all rows in one parameter; ``sqlite`` is for one row."""
    columns: tuple[str, ...] = ()
    """Of the batch."""


BATCH = "batch_"
"""Name of the parameter that holds a batch's rows."""

NOW = Fragment("(SELECT vcp_now_ms())", "(SELECT vcp_now_ms())")
"""The database's clock, read once per statement so that an index can be searched with it."""

LEAST = Fragment("min", "least")
GREATEST = Fragment("max", "greatest")
LOCK = Fragment("", "FOR NO KEY UPDATE")
LOCK_FREE_ONES = Fragment("", "FOR NO KEY UPDATE SKIP LOCKED")

_COMMON = {
    "now": NOW,
    "least": LEAST,
    "greatest": GREATEST,
    "lock": LOCK,
    "lock_free_ones": LOCK_FREE_ONES,
}
_COLUMN = re.compile("@(?=[a-z])")
_PG_TYPES = {"text": "text", "int": "bigint", "real": "double precision"}


class Batch:
    """The columns of a batch of rows that :meth:`Session.run_each` and ``rows_each`` are given.

    In a template ``@name`` stands for a column of the row, and these places for what is around it:
    ``INSERT INTO t (...) {row} @a, @b {end}``, ``UPDATE t SET ... {from_rows} WHERE t.a = @a`` and
    ``SELECT ... FROM t {join_rows} WHERE t.a = @a``.

    PostgreSQL gets all rows as one JSON parameter, because each statement is a journey. So does
    SQLite where they are many; few are bound one by one to a plain statement, which costs less.
    """

    one_row: ClassVar[dict[str, str]] = {
        "row": "VALUES (",
        "end": ")",
        "from_rows": "",
        "join_rows": "",
    }

    def __init__(self, **columns: str) -> None:
        """Name and type (``text``, ``int`` or ``real``) of each column, in order."""
        self.columns = tuple(columns)
        sqlite = ", ".join(f"value ->> {place} AS {name}" for place, name in enumerate(columns))
        postgresql = ", ".join(
            f"(v ->> {place})::{_PG_TYPES[kind]} AS {name}"
            for place, (name, kind) in enumerate(columns.items())
        )
        self._sources = Fragment(
            f"(SELECT {sqlite} FROM json_each(:{BATCH})) AS r",  # noqa: S608  # constants, at import
            f"(SELECT {postgresql} FROM jsonb_array_elements(CAST(:{BATCH} AS jsonb)) AS e(v)) AS r",  # noqa: S608, E501  # constants, at import
        )

    def all_rows(self, dialect: Dialect) -> dict[str, str]:
        """The places, for rows in one parameter."""
        is_sqlite = dialect is Dialect.SQLITE
        rows = self._sources.sqlite if is_sqlite else self._sources.postgresql
        return {
            "row": "SELECT",
            # Without a WHERE, SQLite takes the ON of ON CONFLICT for that of a join.
            "end": f"FROM {rows} WHERE 1 = 1",
            "from_rows": f"FROM {rows}",
            "join_rows": f"JOIN {rows} ON 1 = 1",
        }


def json_list(parameter: str) -> Fragment:
    """A sub-select over a JSON array of texts bound to ``parameter``, for ``IN``."""
    return Fragment(
        f"(SELECT value FROM json_each(:{parameter}))",  # noqa: S608  # constants, at import
        f"(SELECT jsonb_array_elements_text(CAST(:{parameter} AS jsonb)))",
    )


def sql(template: str, *, batch: Batch | None = None, **fragments: Fragment | str) -> Statement:
    """Compile a template: ``{name}`` is a fragment or constant, ``:name`` a bound parameter."""
    lite = {name: item.sqlite for name, item in _COMMON.items()}
    post = {name: item.postgresql for name, item in _COMMON.items()}
    for name, item in fragments.items():
        lite[name] = item if isinstance(item, str) else item.sqlite
        post[name] = item if isinstance(item, str) else item.postgresql
    if batch is None:
        return Statement(
            sqlite=_compile(template.format(**lite), _SQLITE),
            postgresql=_compile(template.format(**post), _POSTGRESQL),
        )
    one = template.format(**lite, **batch.one_row)
    many = template.format(**lite, **batch.all_rows(Dialect.SQLITE))
    posted = template.format(**post, **batch.all_rows(Dialect.POSTGRESQL))
    return Statement(
        sqlite=_compile(_COLUMN.sub(":", one), _SQLITE),
        sqlite_rows=_compile(_COLUMN.sub("r.", many), _SQLITE),
        postgresql=_compile(_COLUMN.sub("r.", posted), _POSTGRESQL),
        columns=batch.columns,
    )


def _compile(statement: str, dialect: Engine) -> str:
    return str(text(statement).compile(dialect=dialect))
