"""One database transaction, and who runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from ambient_vcp.ports.store.accounts import AccountStore
from ambient_vcp.ports.store.blobs import BlobIndex
from ambient_vcp.ports.store.events import EventStore
from ambient_vcp.ports.store.idempotency import IdempotencyStore
from ambient_vcp.ports.store.log import LogStore, ReceiptStore
from ambient_vcp.ports.store.nodes import NodeStore
from ambient_vcp.ports.store.tasks import TaskStore

T = TypeVar("T")


class Transaction(Protocol):
    """One open database transaction. Not to be kept after the use case returns."""

    @property
    def tasks(self) -> TaskStore: ...
    @property
    def nodes(self) -> NodeStore: ...
    @property
    def accounts(self) -> AccountStore: ...
    @property
    def blobs(self) -> BlobIndex: ...
    @property
    def log(self) -> LogStore: ...
    @property
    def receipts(self) -> ReceiptStore: ...
    @property
    def events(self) -> EventStore: ...
    @property
    def idempotency(self) -> IdempotencyStore: ...

    def now_ms(self) -> int:
        """The database's clock. Only this clock decides leases."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call after a successful commit (in no particular thread); never after a roll-back."""
        ...


class Store(Protocol):
    """Runs use cases in transactions."""

    async def transact(self, use_case: Callable[[Transaction], T], *, within_ms: int = 0) -> T:
        """Run in one durable transaction; an exception rolls it back and is raised here.

        ``within_ms`` lets the store wait that long, so that several such changes share a commit.

        The use case may run more than once (serialisation failures, at most 5 times), so it must
        have no effect but through its transaction.

        Raises:
            UnavailableError: the database cannot be reached, is full, or the queue is full.
        """
        ...

    async def read(self, use_case: Callable[[Transaction], T]) -> T:
        """The same for a use case that only reads; it sees a consistent snapshot."""
        ...

    async def close(self) -> None: ...
