"""What SQLite's errors mean to a use case."""

from __future__ import annotations

import sqlite3

from ambient_vcp.domain.errors import UnavailableError

_SQLITE_FAULTS = {
    5: "the database is locked by another program",
    6: "the database is locked by another program",
    7: "the database ran out of memory",
    8: "the database file cannot be written",
    9: "the database was interrupted",
    10: "the disk that holds the database reports an error",
    11: "the database file is damaged",
    13: "the disk that holds the database is full",
    14: "the database file cannot be opened",
    15: "the database is locked by another program",
    26: "the file is not a database",
}
"""By SQLite's primary result code."""


def sqlite_fault(error: BaseException) -> UnavailableError | None:
    """The error to raise if this is the machine's trouble; None if it is a bug or a broken rule."""
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", None)
    reason = None if code is None else _SQLITE_FAULTS.get(code & 0xFF)
    return None if reason is None else UnavailableError(reason=reason)
