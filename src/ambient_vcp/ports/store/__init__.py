"""What use cases need from the database.

A use case is a synchronous function over a :class:`Transaction`; :meth:`Store.transact` runs it in
one database transaction, wherever the adapter wants, and commits or rolls back as a whole. Every
write that a node causes is conditional on its lease (task, slot, epoch, node, not expired by the
database's clock), so no isolation level has to be trusted. Lists are bounded by ``at_most`` and
ordered. All times are integer milliseconds of the database's clock.
"""

from ambient_vcp.ports.store.accounts import Account, AccountStore
from ambient_vcp.ports.store.blobs import BlobIndex, Upload
from ambient_vcp.ports.store.events import Event, EventStore
from ambient_vcp.ports.store.idempotency import IdempotencyStore, StoredAnswer
from ambient_vcp.ports.store.log import Leaf, LogHead, LogStore, ReceiptStore, StoredReceipt
from ambient_vcp.ports.store.nodes import NodeEvent, NodeStore
from ambient_vcp.ports.store.placement import Grant, NodeLease, WaitingSlot
from ambient_vcp.ports.store.tasks import NewSlot, TaskPage, TaskStore, TaskUpdate
from ambient_vcp.ports.store.transaction import Store, Transaction

__all__ = [
    "Account",
    "AccountStore",
    "BlobIndex",
    "Event",
    "EventStore",
    "Grant",
    "IdempotencyStore",
    "Leaf",
    "LogHead",
    "LogStore",
    "NewSlot",
    "NodeEvent",
    "NodeLease",
    "NodeStore",
    "ReceiptStore",
    "Store",
    "StoredAnswer",
    "StoredReceipt",
    "TaskPage",
    "TaskStore",
    "TaskUpdate",
    "Transaction",
    "Upload",
    "WaitingSlot",
]
