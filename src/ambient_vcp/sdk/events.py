"""The event stream: server-sent events, taken up again where they broke off."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ambient_vcp.sdk.effects import Emit, NextLine, Now, OpenLines, Operation, Pause, Reply, Request
from ambient_vcp.sdk.errors import ClientError, ConnectionFailed
from ambient_vcp.sdk.results import Event
from ambient_vcp.sdk.session import Session, authorised, backoff_s, error_of

SILENCE_S = 40.0
"""A comment line comes every 15 s; after more than two missed ones the stream is dead."""


@dataclass(slots=True)
class EventParser:
    """Lines in, events out (the HTML standard's event-stream format; `data` is JSON)."""

    last_id: str | None = None
    _data: list[str] = field(default_factory=list)
    _kind: str = "message"

    def feed(self, line: str) -> tuple[str, Any] | None:
        """The event that ``line`` completes, as its name and decoded data."""
        if not line:
            return self._finish()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        return None

    def feed_all(self, lines: Iterable[str]) -> list[tuple[str, Any]]:
        return [event for event in map(self.feed, lines) if event is not None]

    def _finish(self) -> tuple[str, Any] | None:
        data, kind = self._data, self._kind
        self._data, self._kind = [], "message"
        if not data:
            return None
        try:
            return kind, json.loads("\n".join(data))
        except ValueError:
            return None


def events(
    session: Session,
    /,
    *,
    after: int | None = None,
    task_id: str | None = None,
    timeout_s: float | None = None,
) -> Operation[None]:
    """Emits `Event`s for ever, or for ``timeout_s``; reconnects by itself after a broken line.

    ``after`` is the sequence number after which to begin; None begins with what happens now.
    """
    started: float = yield Now()
    parser = EventParser(last_id=None if after is None else str(after))
    failures = 0
    while True:
        left_s = None
        if timeout_s is not None:
            now: float = yield Now()
            left_s = started + timeout_s - now
            if left_s <= 0:
                return
        try:
            yield from open_events(session, parser, task_id=task_id, left_s=left_s)
            while (line := (yield NextLine())) is not None:
                failures = 0
                found = parser.feed(line)
                if found is not None and found[0] == "task":
                    yield Emit(event_of(found[1]))
        except ConnectionFailed:
            failures += 1
        yield Pause(backoff_s(max(1, failures)))


def open_events(
    session: Session, /, parser: EventParser, *, task_id: str | None, left_s: float | None
) -> Operation[None]:
    """Open the stream after the parser's last id.

    Raises:
        ConnectionFailed: no connection, or a server that cannot answer now.
        ClientError: any other error answer.
    """
    query = {} if task_id is None else {"task_id": task_id}
    headers = {"Accept": "text/event-stream"}
    if parser.last_id is not None:
        headers["Last-Event-ID"] = parser.last_id
        query["after"] = parser.last_id
    silence_s = SILENCE_S if left_s is None else max(0.1, min(SILENCE_S, left_s))
    request = Request(method="GET", path="/events", query=query, headers=headers)
    opening = OpenLines(request=authorised(session, request), silence_s=silence_s)
    reply: Reply = yield opening
    if reply.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
        error: ClientError = error_of(reply)
        raise ConnectionFailed(error.message, code=error.code) if error.retryable else error


def event_of(data: Any) -> Event:
    return Event(
        sequence=int(data.get("sequence", 0)),
        kind=str(data.get("kind", "")),
        task_id=str(data.get("task_id") or ""),
        node_id=str(data.get("node_id") or ""),
        at_ms=int(data.get("at_ms", 0)),
        fields=data.get("fields") or {},
    )
