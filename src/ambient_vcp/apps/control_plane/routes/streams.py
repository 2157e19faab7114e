"""Event streams for submitters and for nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from starlette.types import Receive, Scope, Send

from ambient_vcp.adapters.jose.tokens import LEEWAY_SEC
from ambient_vcp.apps.control_plane.fanout import Listener
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.apps.control_plane.http.sse import EventStream, frame
from ambient_vcp.domain.errors import ForbiddenError, InvalidInputError
from ambient_vcp.domain.ids import AccountId, TaskId
from ambient_vcp.ports.store import Event, Transaction
from ambient_vcp.services import views
from ambient_vcp.services.machines import nodes
from ambient_vcp.services.machines.enrolment import GONE
from ambient_vcp.services.views import Viewer
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.task_answers import TaskEvent

CATCH_UP_MAX = 500
EVENT_STREAM_TYPE = "text/event-stream"
table = Table("streams")
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class EventsQuery(Shape, frozen=True):
    after: Sequence | None = None
    task_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None


def _life_s(call: Call[Any]) -> float:
    """How long the caller's token is still good."""
    assert call.claims is not None
    return max(1.0, call.claims.expires_at_sec + LEEWAY_SEC - call.plane.clock.now_ms() / 1000)


def _task_frame(event: Event) -> bytes:
    data = {
        "sequence": event.sequence,
        "at_ms": event.at_ms,
        "kind": event.kind,
        "task_id": event.task_id,
        "node_id": event.node_id,
        "fields": event.fields,
    }
    return frame("task", data, event.sequence)


class _Since:
    """Catches up from the event table, then lets only newer events pass."""

    def __init__(
        self, call: Call[Any], account_id: AccountId | None, task_id: TaskId | None, after: int
    ) -> None:
        self._store = call.plane.store
        self._account_id = account_id
        self._task_id = task_id
        self._at = after

    async def catch_up(self) -> AsyncIterator[bytes]:
        while True:
            after = self._at
            events = await self._store.read(
                lambda tx, after=after: tx.events.since(  # type: ignore[misc]  # bound now, called now
                    after, account_id=self._account_id, task_id=self._task_id, at_most=CATCH_UP_MAX
                )
            )
            for event in events:
                self._at = event.sequence
                yield _task_frame(event)
            if len(events) < CATCH_UP_MAX:
                return

    def render(self, _: str, event: Event) -> bytes | None:
        if event.sequence <= self._at:
            return None
        self._at = event.sequence
        return _task_frame(event)


@table.add(
    "GET",
    "/events",
    "Task events as they happen",
    who=Who.ACCOUNT,
    query=EventsQuery,
    answers={200: TaskEvent},
    media_out=EVENT_STREAM_TYPE,
    errors=(400, 404, 503),
    headers={"Last-Event-ID": "continue after this sequence"},
)
async def task_events(call: Call[None]) -> Any:
    query: EventsQuery = call.query
    plane, account_id = call.plane, call.account_id
    task_id = None if query.task_id is None else TaskId(query.task_id)
    if task_id is not None:
        viewer = Viewer(account_id=account_id, admin=False)
        await plane.store.read(lambda tx: views.the_task(tx, task_id, viewer))
    listener, position = await plane.fanout.listen_tasks(account_id, task_id)
    try:
        named = _last_event_id(call)
        after = named if named is not None else query.after
        since = _Since(call, account_id, task_id, position if after is None else after)
    except BaseException:
        plane.fanout.leave(listener)
        raise
    return _stream(call, listener, since.catch_up(), since.render)


def _last_event_id(call: Call[Any]) -> int | None:
    text = call.request.headers.get("last-event-id")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - digits of 2^63
        raise InvalidInputError(where="Last-Event-ID", rule="is a sequence number")
    return int(text)


@table.add(
    "GET",
    "/nodes/{node_id}/events",
    "leases, cancel and drain, for the node itself",
    who=Who.NODE,
    answers={200: None},
    media_out=EVENT_STREAM_TYPE,
    errors=(403, 404, 503),
)
async def node_events(call: Call[None]) -> Any:
    plane, node_id = call.plane, call.own_node_id()
    listener = plane.fanout.listen_node(node_id)

    def work(tx: Transaction) -> bool:
        node = nodes.the_node(tx, node_id)
        if node.status in GONE:
            raise ForbiddenError(reason=f"node {node_id} was {node.status}")
        return node.active_leases > 0

    try:
        holds_some = await plane.store.read(work)
    except BaseException:
        plane.fanout.leave(listener)
        raise

    async def first() -> AsyncIterator[bytes]:
        if holds_some:
            yield frame("leases", {})

    return _stream(call, listener, first(), frame)


def _stream(call: Call[Any], listener: Listener, first: AsyncIterator[bytes], render: Any) -> Any:
    plane = call.plane
    stream = EventStream(
        listener,
        first=first,
        render=render,
        leave=lambda: plane.fanout.leave(listener),
        comment_s=plane.settings.stream_comment_ms / 1000,
        life_s=_life_s(call),
    )

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(scope, receive, send)

    return run
