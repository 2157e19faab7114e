"""In-process fan-out of events. Delivery is a hint: whoever missed one catches up by sequence."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ambient_vcp.domain.errors import UnavailableError
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import Event, Store

QUEUE_MAX = 1_000
PUMP_MAX = 500
CANCELS_PER_NODE_MAX = 256
CANCEL_NODES_MAX = 20_000


@dataclass(slots=True, eq=False)
class Listener:
    """One stream. Its queue is bounded: a listener that falls behind is ended, not waited for."""

    account_id: AccountId | None = None
    task_id: TaskId | None = None
    node_id: NodeId | None = None
    queue: deque[tuple[str, Any]] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def put(self, kind: str, value: Any) -> None:
        if len(self.queue) >= QUEUE_MAX:
            self.end()
            return
        self.queue.append((kind, value))
        self.ready.set()

    def end(self) -> None:
        self.ended = True
        self.ready.set()

    def wants(self, event: Event) -> bool:
        if self.node_id is not None:
            return False
        if self.task_id is not None and event.task_id != self.task_id:
            return False
        return self.account_id is None or event.account_id == self.account_id


class Fanout:
    """Listeners of task events (fed from the event table) and of nodes (fed directly)."""

    def __init__(self, store: Store, *, listeners_max: int) -> None:
        self._store = store
        self._listeners_max = listeners_max
        self._tasks: set[Listener] = set()
        self._nodes: dict[NodeId, set[Listener]] = {}
        self._cancelled: OrderedDict[NodeId, deque[LeaseRef]] = OrderedDict()
        self._wake = asyncio.Event()
        self._position: int | None = None
        self._closed = False

    @property
    def count(self) -> int:
        return len(self._tasks) + sum(len(group) for group in self._nodes.values())

    def wake(self) -> None:
        """Something was committed: look for new events."""
        self._wake.set()

    async def listen_tasks(
        self, account_id: AccountId | None, task_id: TaskId | None
    ) -> tuple[Listener, int]:
        """Register. Events after the answered sequence come through the queue.

        Raises:
            UnavailableError: too many streams, or shutting down.
        """
        listener = self._admit(Listener(account_id=account_id, task_id=task_id))
        self._tasks.add(listener)
        try:
            if self._position is None:
                position = await self._store.read(lambda tx: tx.events.last_sequence())
                if self._position is None:
                    self._position = position
        except BaseException:
            self.leave(listener)
            raise
        return listener, self._position

    def listen_node(self, node_id: NodeId) -> Listener:
        """Register a node's stream.

        Raises:
            UnavailableError: too many streams, or shutting down.
        """
        listener = self._admit(Listener(node_id=node_id))
        self._nodes.setdefault(node_id, set()).add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._tasks.discard(listener)
        if listener.node_id is not None:
            group = self._nodes.get(listener.node_id, set())
            group.discard(listener)
            if not group:
                self._nodes.pop(listener.node_id, None)
        if not self._tasks:
            self._position = None

    def granted(self, node_ids: Iterable[NodeId]) -> None:
        for node_id in set(node_ids):
            self._tell(node_id, "leases", {})

    def cancelled(self, leases: Iterable[LeaseRef]) -> None:
        """Tell nodes now, and again with their next heartbeat."""
        for lease in leases:
            named = {"task_id": lease.task_id, "slot": lease.slot, "epoch": lease.epoch}
            self._tell(lease.node_id, "cancel", named)
            waiting = self._cancelled.setdefault(lease.node_id, deque(maxlen=CANCELS_PER_NODE_MAX))
            waiting.append(lease)
            while len(self._cancelled) > CANCEL_NODES_MAX:
                self._cancelled.popitem(last=False)

    def take_cancelled(self, node_id: NodeId) -> list[LeaseRef]:
        return list(self._cancelled.pop(node_id, ()))

    def drain(self, node_id: NodeId) -> None:
        self._tell(node_id, "drain", {})

    def end_node(self, node_id: NodeId) -> None:
        """The node was deleted or rejected: its streams end."""
        for listener in self._nodes.get(node_id, set()):
            listener.end()

    def close(self) -> None:
        """End every stream; none is admitted any more."""
        self._closed = True
        for listener in self._tasks:
            listener.end()
        for group in self._nodes.values():
            for listener in group:
                listener.end()

    async def pump(self) -> bool:
        """Hand on one batch of new events; answers whether there may be more."""
        self._wake.clear()
        position = self._position
        if position is None:
            return False
        events = await self._store.read(
            lambda tx: tx.events.since(position, account_id=None, task_id=None, at_most=PUMP_MAX)
        )
        if not events or self._position is None:
            return False
        self._position = events[-1].sequence
        for event in events:
            for listener in self._tasks:
                if listener.wants(event):
                    listener.put("task", event)
        return len(events) == PUMP_MAX

    def _tell(self, node_id: NodeId, kind: str, value: Any) -> None:
        for listener in self._nodes.get(node_id, ()):
            listener.put(kind, value)

    def _admit(self, listener: Listener) -> Listener:
        if self._closed:
            raise UnavailableError(reason="the control plane is shutting down")
        if self.count >= self._listeners_max:
            raise UnavailableError(reason="too many event streams are open")
        return listener
