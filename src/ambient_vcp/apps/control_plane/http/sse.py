"""Server-sent events: a listener's queue as an endless response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from ambient_vcp.apps.control_plane.fanout import Listener
from ambient_vcp.apps.control_plane.http.answers import encode

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
COMMENT = b":\n\n"


def frame(kind: str, value: Any, sequence: int | None = None) -> bytes:
    """One event. JSON has no line breaks, so one data line holds it."""
    name = b"" if sequence is None else f"id: {sequence}\n".encode()
    return name + f"event: {kind}\n".encode() + b"data: " + encode(value) + b"\n\n"


class EventStream:
    """Sends ``first``, then the listener's queue, until either side ends it.

    ``leave`` is called exactly once, whatever happens. The stream ends at ``life_s`` at the latest:
    a token that has expired must not go on listening.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        first: AsyncIterator[bytes],
        render: Callable[[str, Any], bytes | None],
        leave: Callable[[], None],
        comment_s: float,
        life_s: float,
    ) -> None:
        self._listener = listener
        self._first = first
        self._render = render
        self._leave = leave
        self._comment_s = comment_s
        self._life_s = life_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_until_gone(receive))
        writer = asyncio.create_task(self._write(scope, send))
        try:
            await asyncio.wait({gone, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave()
            for task in (gone, writer):
                task.cancel()
            done = await asyncio.gather(gone, writer, return_exceptions=True)
        failed = [e for e in done if isinstance(e, Exception) and not isinstance(e, OSError)]
        if failed and not isinstance(failed[0], ClientDisconnect):
            raise failed[0]

    async def _write(self, scope: Scope, send: Send) -> None:
        scope["vcp_release"]()
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await _send(send, COMMENT)
        async for piece in self._first:
            await _send(send, piece)
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._life_s
        while not self._listener.ended and loop.time() < ends:
            pieces = self._taken()
            if pieces:
                await _send(send, b"".join(pieces))
                continue
            try:
                pause = min(self._comment_s, max(0.0, ends - loop.time()))
                await asyncio.wait_for(self._listener.ready.wait(), pause)
            except TimeoutError:
                await _send(send, COMMENT)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _taken(self) -> list[bytes]:
        listener = self._listener
        pieces = []
        while listener.queue:
            piece = self._render(*listener.queue.popleft())
            if piece is not None:
                pieces.append(piece)
        if not listener.ended:
            listener.ready.clear()
        return pieces


async def _send(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
