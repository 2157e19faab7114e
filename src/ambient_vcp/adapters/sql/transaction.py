"""The ``Transaction`` port: one open database transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from ambient_vcp.adapters.sql.nodes import SqlNodeStore
from ambient_vcp.adapters.sql.session import Session
from ambient_vcp.adapters.sql.stores.accounts import SqlAccountStore
from ambient_vcp.adapters.sql.stores.blobs import SqlBlobIndex
from ambient_vcp.adapters.sql.stores.events import SqlEventStore
from ambient_vcp.adapters.sql.stores.idempotency import SqlIdempotencyStore
from ambient_vcp.adapters.sql.stores.log import SqlLogStore, SqlReceiptStore
from ambient_vcp.adapters.sql.stores.specs import SpecCache
from ambient_vcp.adapters.sql.tasks import SqlTaskStore
from ambient_vcp.adapters.sql.work import Work


class SqlTransaction:
    """Each aggregate's store is made when it is first asked for."""

    def __init__(self, session: Session, specs: SpecCache) -> None:
        self._work = Work(session, specs)

    @cached_property
    def tasks(self) -> SqlTaskStore:
        return SqlTaskStore(self._work)

    @cached_property
    def nodes(self) -> SqlNodeStore:
        return SqlNodeStore(self._work)

    @cached_property
    def accounts(self) -> SqlAccountStore:
        return SqlAccountStore(self._work)

    @cached_property
    def blobs(self) -> SqlBlobIndex:
        return SqlBlobIndex(self._work)

    @cached_property
    def log(self) -> SqlLogStore:
        return SqlLogStore(self._work)

    @cached_property
    def receipts(self) -> SqlReceiptStore:
        return SqlReceiptStore(self._work, self.log)

    @cached_property
    def events(self) -> SqlEventStore:
        return SqlEventStore(self._work)

    @cached_property
    def idempotency(self) -> SqlIdempotencyStore:
        return SqlIdempotencyStore(self._work)

    def now_ms(self) -> int:
        return self._work.session.now_ms()

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._work.callbacks.append(callback)

    def check(self) -> None:
        """Assert what must hold at the commit. Raises: InvariantError."""
        self._work.check()

    @property
    def callbacks(self) -> list[Callable[[], None]]:
        """To be called after the commit."""
        return self._work.callbacks
