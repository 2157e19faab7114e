"""The ``Store`` port on SQLite and PostgreSQL, and the same without asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ambient_vcp.adapters.sql.engines.clock import AnchoredClock, DatabaseClock
from ambient_vcp.adapters.sql.engines.sqlite import READERS_MAX, SqliteDatabase
from ambient_vcp.adapters.sql.engines.threads import BoundedThreads
from ambient_vcp.adapters.sql.engines.writer import GroupCommitWriter
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.ports.store import Transaction

if TYPE_CHECKING:
    from ambient_vcp.adapters.sql.engines.postgres import PostgresDatabase

T = TypeVar("T")
POSTGRESQL_CONNECTIONS = 10


class _Runner(Protocol):
    """How an open database runs use cases for an event loop."""

    async def transact(self, use_case: Callable[[Transaction], T], *, within_ms: int) -> T: ...
    async def read(self, use_case: Callable[[Transaction], T]) -> T: ...
    def close(self) -> None: ...


class _SqliteRunner:
    """Changes go through the writer thread, reads to a few threads of their own."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._writer = GroupCommitWriter(database)
        self._readers = BoundedThreads("sqlite-reader", READERS_MAX)

    async def transact(self, use_case: Callable[[Transaction], T], *, within_ms: int) -> T:
        value: T = await self._writer.submit(use_case, within_ms=within_ms)
        return value

    async def read(self, use_case: Callable[[Transaction], T]) -> T:
        return await self._readers.run(lambda: self._database.read(use_case))

    def close(self) -> None:
        self._writer.close()
        self._readers.close()
        self._database.close()


class _PostgresRunner:
    """Each use case has a thread and a connection."""

    def __init__(self, database: PostgresDatabase, connections: int) -> None:
        self._database = database
        self._threads = BoundedThreads("postgresql", connections)

    async def transact(self, use_case: Callable[[Transaction], T], *, within_ms: int) -> T:
        # PostgreSQL gathers concurrent commits by itself.
        del within_ms
        return await self._threads.run(lambda: self._database.run(use_case))

    async def read(self, use_case: Callable[[Transaction], T]) -> T:
        return await self._threads.run(lambda: self._database.read(use_case))

    def close(self) -> None:
        self._threads.close()
        self._database.close()


class SqlStore:
    """The ``Store`` port. Made by :meth:`open`."""

    def __init__(self, runner: _Runner) -> None:
        self._runner = runner

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: DatabaseClock | None = None,
        allow_unsafe: bool = False,
        connections: int = POSTGRESQL_CONNECTIONS,
    ) -> Self:
        """Open a database and bring it to the newest schema.

        Args:
            url: ``sqlite:///path/to/file``, ``sqlite://`` (in memory, forgotten at close) or
                ``postgresql://user:password@host/name``.
            clock: clock of a SQLite database; PostgreSQL has its own.
            allow_unsafe: open a PostgreSQL that may lose what it has acknowledged.
            connections: at most this many to PostgreSQL.

        Raises:
            InvalidInputError: the URL, or how the server is set up.
            ConflictError: another control plane uses this SQLite file.
            UnavailableError: the database cannot be reached.
        """

        def start() -> _Runner:
            database = _open(url, clock=clock, allow_unsafe=allow_unsafe, connections=connections)
            if isinstance(database, SqliteDatabase):
                return _SqliteRunner(database)
            return _PostgresRunner(database, connections)

        return cls(await asyncio.to_thread(start))

    @staticmethod
    def open_sync(
        url: str,
        *,
        clock: DatabaseClock | None = None,
        allow_unsafe: bool = False,
        connections: int = POSTGRESQL_CONNECTIONS,
    ) -> SyncSqlStore:
        """The same for callers without an event loop."""
        return SyncSqlStore(
            _open(url, clock=clock, allow_unsafe=allow_unsafe, connections=connections)
        )

    async def transact(self, use_case: Callable[[Transaction], T], *, within_ms: int = 0) -> T:
        return await self._runner.transact(use_case, within_ms=within_ms)

    async def read(self, use_case: Callable[[Transaction], T]) -> T:
        return await self._runner.read(use_case)

    async def close(self) -> None:
        await asyncio.to_thread(self._runner.close)


class SyncSqlStore:
    """Runs use cases in the caller's thread. Safe between threads."""

    def __init__(self, database: SqliteDatabase | PostgresDatabase) -> None:
        self._database = database

    def transact(self, use_case: Callable[[Transaction], T]) -> T:
        """As ``Store.transact``, without waiting for others' commits."""
        return self._database.run(use_case)

    def read(self, use_case: Callable[[Transaction], T]) -> T:
        return self._database.read(use_case)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidInputError(
            where="database",
            rule="is a URL that begins with sqlite:// or postgresql://",
            advice="For example sqlite:////var/lib/ambient-vcp/state.db",
        )
    return parsed


def _open(
    url: str, *, clock: DatabaseClock | None, allow_unsafe: bool, connections: int
) -> SqliteDatabase | PostgresDatabase:
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        # Its driver takes a while to load, and most control planes do without it.
        from ambient_vcp.adapters.sql.engines.postgres import PostgresDatabase  # noqa: PLC0415  # see above

        return PostgresDatabase(parsed, allow_unsafe=allow_unsafe, connections=connections)
    in_memory = parsed.database in (None, "", ":memory:")
    path = None if in_memory else Path(str(parsed.database))
    return SqliteDatabase(path, clock or AnchoredClock())
