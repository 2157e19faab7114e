"""What PostgreSQL's errors mean to a use case."""

from __future__ import annotations

import psycopg

from ambient_vcp.domain.errors import UnavailableError

_UNIQUE_VIOLATION = "23505"
_RETRYABLE_STATES = frozenset({"40001", "40P01", _UNIQUE_VIOLATION})
"""Serialisation failure, deadlock, and a unique value that another transaction took meanwhile:
what was checked before the write is checked again."""

_UNAVAILABLE_CLASSES = ("08", "53", "57", "58", "25006")


def postgresql_fault(error: BaseException) -> UnavailableError | None:
    """The error to raise if this is the machine's trouble; None if it is a bug or a broken rule."""
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return UnavailableError(reason="the database cannot be reached") if lost else None
    if state.startswith(_UNAVAILABLE_CLASSES) or state == "55P03":
        return UnavailableError(reason=f"the database cannot answer now (state {state})")
    if state in _RETRYABLE_STATES - {_UNIQUE_VIOLATION}:
        return UnavailableError(reason="the database is too busy with conflicting changes")
    return None


def is_retryable(error: BaseException) -> bool:
    """Whether the whole transaction may run again, nothing of it having been committed."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate in _RETRYABLE_STATES:
        return True
    return is_connection_loss(error)


def is_connection_loss(error: BaseException) -> bool:
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
