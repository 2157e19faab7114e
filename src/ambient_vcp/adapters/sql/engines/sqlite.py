"""SQLite: one writer connection whose commits carry many use cases, and connections that read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool, StaticPool

from ambient_vcp.adapters.sql.engines.clock import DatabaseClock
from ambient_vcp.adapters.sql.engines.file_lock import FileLock
from ambient_vcp.adapters.sql.engines.migrate import upgrade
from ambient_vcp.adapters.sql.engines.sqlite_faults import sqlite_fault
from ambient_vcp.adapters.sql.session import Session
from ambient_vcp.adapters.sql.statement import Dialect
from ambient_vcp.adapters.sql.stores.specs import SpecCache
from ambient_vcp.adapters.sql.transaction import SqlTransaction
from ambient_vcp.domain.errors import InvalidInputError, UnavailableError
from ambient_vcp.ports.store import Transaction

T = TypeVar("T")
READERS_MAX = 4
BUSY_TIMEOUT_MS = 5_000
CACHED_STATEMENTS = 512
WAL_BYTES_KEPT_MAX = 64 * 1024 * 1024
VERSION_MIN = (3, 38, 0)
"""The first with ``->>``; ``STRICT`` tables, ``RETURNING`` and ``UPDATE FROM`` are older."""

_LOG = structlog.get_logger(__name__)
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT_MAX}",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",
)


@dataclass(slots=True)
class Outcome(Generic[T]):
    """What became of one use case of a batch: a value or an error."""

    value: T | None = None
    error: BaseException | None = None

    def unwrap(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None only where T is None


class SqliteDatabase:
    """An open database: batches run on its writer connection, one at a time.

    ``path`` is None for a database in memory, which has no readers and no durability.
    """

    def __init__(self, path: Path | None, clock: DatabaseClock) -> None:
        if sqlite3.sqlite_version_info < VERSION_MIN:
            raise InvalidInputError(
                where="database",
                rule="needs SQLite 3.38 or newer",
                got=sqlite3.sqlite_version,
                advice="Use a newer Python, or PostgreSQL.",
            )
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self.specs = SpecCache()
        self._file_lock = None if path is None else FileLock(path)
        try:
            self._open()
        except BaseException:
            self._release()
            raise

    @property
    def in_memory(self) -> bool:
        return self._path is None

    def _open(self) -> None:
        self._writing = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
        )
        self._writer = self._writing.connect()
        self._driver: sqlite3.Connection = _driver_connection(self._writer)
        self._migrate()
        high_water = self._driver.execute("SELECT high_water_ms FROM clock").fetchone()[0]
        self._clock.start(high_water)
        self._high_water_ms = high_water
        self._cursor = self._driver.cursor()
        self._session = Session(self._cursor, Dialect.SQLITE, now=self._clock.now_ms)
        self._reading: Engine | None = None
        if self._path is not None:
            self._reading = create_engine(
                "sqlite://",
                creator=self._connect_to_read,
                poolclass=QueuePool,
                pool_size=READERS_MAX,
                max_overflow=0,
                isolation_level="AUTOCOMMIT",
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self._path is None else str(self._path),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
        )
        if self._path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
        self._prepare(connection)
        return connection

    def _connect_to_read(self) -> sqlite3.Connection:
        assert self._path is not None
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
        )
        self._prepare(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        connection.create_function("vcp_now_ms", 0, self._clock.now_ms)

    def _migrate(self) -> None:
        with self._writer.begin():
            # SQLAlchemy ends the transaction that it did not begin: the driver knows of one only.
            self._driver.execute("BEGIN IMMEDIATE")
            upgrade(self._writer)

    def run(self, use_case: Callable[[Transaction], T]) -> T:
        """Run one use case in its own transaction, in this thread."""
        return self.run_batch([use_case])[0].unwrap()

    def run_batch(self, use_cases: Sequence[Callable[[Transaction], T]]) -> list[Outcome[T]]:
        """Run use cases one after the other in one transaction with one commit.

        Each has its own savepoint, so that one which fails leaves no trace and the others stay.
        If the commit fails, all fail.
        """
        with self._lock:
            outcomes: list[Outcome[T]] = [Outcome() for _ in use_cases]
            callbacks: list[Callable[[], None]] = []
            try:
                self._driver.execute("BEGIN IMMEDIATE")
                for use_case, outcome in zip(use_cases, outcomes, strict=True):
                    self._run_one(use_case, outcome, callbacks)
                self._commit()
            except Exception as error:  # noqa: BLE001  # whatever it is, nobody may be told "done"
                self._roll_back()
                _fail_all(outcomes, error)
                return outcomes
        for callback in callbacks:
            _call(callback)
        return outcomes

    def _run_one(
        self,
        use_case: Callable[[Transaction], T],
        outcome: Outcome[T],
        callbacks: list[Callable[[], None]],
    ) -> None:
        driver = self._driver
        driver.execute("SAVEPOINT use_case")
        transaction = SqlTransaction(self._session, self.specs)
        try:
            outcome.value = use_case(transaction)
            transaction.check()
        except BaseException as error:  # it is the caller's, and is raised there
            if not driver.in_transaction:
                # SQLite itself has rolled back everything, as it does when the disk is full.
                raise
            driver.execute("ROLLBACK TO use_case")
            outcome.value = None
            outcome.error = sqlite_fault(error) or error
        else:
            callbacks += transaction.callbacks
        driver.execute("RELEASE use_case")

    def _commit(self) -> None:
        now_ms = self._clock.now_ms()
        if not self.in_memory and now_ms > self._high_water_ms:
            # In every commit: no time that was ever stored lies ahead of the clock after a restart.
            self._driver.execute("UPDATE clock SET high_water_ms = ?", (now_ms,))
        self._driver.execute("COMMIT")
        self._high_water_ms = max(now_ms, self._high_water_ms)

    def _roll_back(self) -> None:
        if self._driver.in_transaction:
            try:
                self._driver.execute("ROLLBACK")
            except sqlite3.Error as error:
                _LOG.error("database_roll_back_failed", error=str(error))

    def read(self, use_case: Callable[[Transaction], T]) -> T:
        """Run a use case that only reads, on a snapshot, in this thread."""
        if self._reading is None:
            with self._lock, _write_protected(self._driver):
                return self._read_from(self._driver, use_case)
        with self._reading.connect() as connection:
            return self._read_from(_driver_connection(connection), use_case)

    def _read_from(self, driver: sqlite3.Connection, use_case: Callable[[Transaction], T]) -> T:
        cursor = driver.cursor()
        session = Session(cursor, Dialect.SQLITE, read_only=True, now=self._clock.now_ms)
        driver.execute("BEGIN")
        try:
            return use_case(SqlTransaction(session, self.specs))
        except sqlite3.Error as error:
            raise sqlite_fault(error) or error from error
        finally:
            cursor.close()
            driver.execute("ROLLBACK")

    def close(self) -> None:
        """Write back the journal and let go of the file."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if getattr(self, "_reading", None) is not None:
            assert self._reading is not None
            self._reading.dispose()
        if hasattr(self, "_cursor"):
            # An open cursor would keep the file open beyond the connection's end.
            self._cursor.close()
        if hasattr(self, "_writer"):
            self._writer.close()
            self._writing.dispose()
        if self._file_lock is not None:
            self._file_lock.release()
            self._file_lock = None


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection


@contextmanager
def _write_protected(driver: sqlite3.Connection) -> Iterator[None]:
    driver.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        driver.execute("PRAGMA query_only = OFF")


def _fail_all(outcomes: Sequence[Outcome[Any]], error: BaseException) -> None:
    fault = sqlite_fault(error)
    if fault is None:
        _LOG.error("database_commit_failed", error=repr(error))
        fault = UnavailableError(reason="the database could not commit")
    for outcome in outcomes:
        outcome.value = None
        outcome.error = outcome.error or fault


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001  # the change is committed; its listener's trouble is its own
        _LOG.exception("on_commit_callback_failed")
