"""Constant SQL: one text where the dialects agree, fragments where they do not.

Everything here happens once, at import. Values reach the database only as bound parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

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
    columns: tuple[str, ...] = ()
    """Of the batch in it, if there is one."""


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
_PG_TYPES = {"text": "text", "int": "bigint", "real": "double precision"}


@dataclass(frozen=True, slots=True)
class Rows(Fragment):
    """A sub-select that yields the rows of a batch, with the names of its columns."""

    columns: tuple[str, ...]


def batch(**columns: str) -> Rows:
    """A sub-select over the rows that :meth:`Session.run_each` and ``rows_each`` are given.

    PostgreSQL gets all rows as one JSON parameter, because each statement is a journey. SQLite is
    in this process, and runs the statement once a row: that is cheaper than unpacking JSON.

    Args:
        columns: name and type (``text``, ``int`` or ``real``) of each column, in order.
    """
    sqlite = ", ".join(f":{name} AS {name}" for name in columns)
    postgresql = ", ".join(
        f"(v ->> {index})::{_PG_TYPES[kind]} AS {name}"
        for index, (name, kind) in enumerate(columns.items())
    )
    return Rows(
        f"(SELECT {sqlite})",
        f"(SELECT {postgresql} FROM jsonb_array_elements(CAST(:{BATCH} AS jsonb)) AS e(v))",  # noqa: S608  # constants, at import
        tuple(columns),
    )


def json_list(parameter: str) -> Fragment:
    """A sub-select over a JSON array of texts bound to ``parameter``, for ``IN``."""
    return Fragment(
        f"(SELECT value FROM json_each(:{parameter}))",  # noqa: S608  # constants, at import
        f"(SELECT jsonb_array_elements_text(CAST(:{parameter} AS jsonb)))",
    )


def sql(template: str, **fragments: Fragment | str) -> Statement:
    """Compile a template: ``{name}`` is a fragment or constant, ``:name`` a bound parameter."""
    known = _COMMON | {
        name: Fragment(item, item) if isinstance(item, str) else item
        for name, item in fragments.items()
    }
    lite = template.format(**{name: item.sqlite for name, item in known.items()})
    post = template.format(**{name: item.postgresql for name, item in known.items()})
    return Statement(
        sqlite=str(text(lite).compile(dialect=_SQLITE)),
        postgresql=str(text(post).compile(dialect=_POSTGRESQL)),
        columns=next((item.columns for item in known.values() if isinstance(item, Rows)), ()),
    )
