"""PostgreSQL: a connection a use case, conditional updates, retries before the commit only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
import structlog
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ambient_vcp.adapters.sql.engines.migrate import upgrade
from ambient_vcp.adapters.sql.engines.postgres_faults import (
    is_connection_loss,
    is_retryable,
    postgresql_fault,
)
from ambient_vcp.adapters.sql.session import Session
from ambient_vcp.adapters.sql.statement import Dialect
from ambient_vcp.adapters.sql.stores.events import RAISE_BASE
from ambient_vcp.adapters.sql.stores.specs import SpecCache
from ambient_vcp.adapters.sql.transaction import SqlTransaction
from ambient_vcp.domain.errors import InvalidInputError, UnavailableError
from ambient_vcp.ports.store import Transaction

T = TypeVar("T")
RUNS_MAX = 5
POOL_WAIT_SEC = 30
CONNECT_TIMEOUT_SEC = 10
VERSION_MIN = 150_000
MIGRATION_LOCK = 0x_76_63_70_31
"""Key of the advisory lock under which exactly one process migrates."""

_LOG = structlog.get_logger(__name__)
_SAFE_SETTINGS = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
}


class PostgresDatabase:
    """A pool of connections to one database, at the newest schema."""

    def __init__(self, url: URL, *, allow_unsafe: bool, connections: int) -> None:
        self._engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SEC,
            pool_pre_ping=False,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_SEC,
                "options": _options(url),
                "application_name": "ambient-vcp",
            },
        )
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self.specs = SpecCache()
        try:
            with self._engine.connect() as connection:
                _check(connection, allow_unsafe=allow_unsafe)
            self._migrate()
        except DBAPIError as error:
            self._engine.dispose()
            raise _fault_of(error) or error from None
        except BaseException:
            self._engine.dispose()
            raise

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            upgrade(connection)
            connection.exec_driver_sql(RAISE_BASE)

    def run(self, use_case: Callable[[Transaction], T]) -> T:
        """Run in one transaction; again, at most five times, if it lost against another one.

        Raises:
            UnavailableError: the database cannot answer, or the outcome of the commit is unknown.
        """
        for left in reversed(range(RUNS_MAX)):
            try:
                return self._run_once(use_case)
            except (psycopg.Error, DBAPIError) as error:
                driver_error = _driver_error(error)
                if left == 0 or not is_retryable(driver_error):
                    raise postgresql_fault(driver_error) or error from error
            except PoolTimeoutError:
                raise UnavailableError(reason="no database connection became free") from None
            # Racing threads wait different times without needing randomness.
            time.sleep(0.002 * (RUNS_MAX - left) * (1 + threading.get_ident() % 7))
        raise AssertionError

    def _run_once(self, use_case: Callable[[Transaction], T]) -> T:
        with self._engine.connect() as connection:
            driver = _begin(connection)
            try:
                transaction = SqlTransaction(_session(driver, read_only=False), self.specs)
                value = use_case(transaction)
                transaction.check()
            except BaseException as error:
                _abandon(connection, error)
                raise
            _commit(connection, driver)
        for callback in transaction.callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001  # the change is committed; its listener's trouble is its own
                _LOG.exception("on_commit_callback_failed")
        return value

    def read(self, use_case: Callable[[Transaction], T]) -> T:
        """Run a use case that only reads, on a snapshot."""
        for left in reversed(range(RUNS_MAX)):
            try:
                with self._snapshots.connect() as connection:
                    driver = _begin(connection)
                    try:
                        return use_case(
                            SqlTransaction(_session(driver, read_only=True), self.specs)
                        )
                    except BaseException as error:
                        _abandon(connection, error)
                        raise
            except (psycopg.Error, DBAPIError) as error:
                driver_error = _driver_error(error)
                if left == 0 or not is_retryable(driver_error):
                    raise postgresql_fault(driver_error) or error from error
            except PoolTimeoutError:
                raise UnavailableError(reason="no database connection became free") from None
        raise AssertionError

    def close(self) -> None:
        self._engine.dispose()


def _options(url: URL) -> str:
    given = url.query.get("options", "")
    return f"{given if isinstance(given, str) else ' '.join(given)} -c lock_timeout=30s".strip()


def _check(connection: Connection, *, allow_unsafe: bool) -> None:
    """Refuse a server that is too old, or that may lose what it has acknowledged.

    Raises:
        InvalidInputError: the setting that is wrong.
    """
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < VERSION_MIN:
        raise InvalidInputError(
            where="database", rule="needs PostgreSQL 15 or newer", got=str(version // 10_000)
        )
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise InvalidInputError(where="database", rule="needs the encoding UTF8", got=str(encoding))
    for name, safe in _SAFE_SETTINGS.items():
        value = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
        if value not in safe and not allow_unsafe:
            raise InvalidInputError(
                where="database",
                rule=f"needs the setting {name} = on, or acknowledged work may be lost",
                got=f"{name} = {value}",
                advice="Change it in postgresql.conf and reload the server.",
            )


def _begin(connection: Connection) -> psycopg.Connection[Any]:
    connection.begin()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _session(driver: psycopg.Connection[Any], *, read_only: bool) -> Session:
    return Session(driver.cursor(), Dialect.POSTGRESQL, read_only=read_only)


def _abandon(connection: Connection, error: BaseException) -> None:
    """Roll back, or drop a connection that is of no use any more."""
    if is_connection_loss(error):
        connection.invalidate()
        return
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()


def _commit(connection: Connection, driver: psycopg.Connection[Any]) -> None:
    """Commit, never twice.

    Raises:
        UnavailableError: the server did not say how it ended.
    """
    try:
        driver.commit()
    except psycopg.Error as error:
        if error.sqlstate is not None and not is_connection_loss(error):
            connection.rollback()
            raise
        connection.invalidate()
        raise UnavailableError(
            reason="the connection was lost during the commit: the change may have been made or not"
        ) from error


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _fault_of(error: DBAPIError) -> UnavailableError | None:
    return postgresql_fault(_driver_error(error))
