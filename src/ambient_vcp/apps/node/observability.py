"""``GET /node/status`` for the owner at this machine, and for nobody else. Off by default."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

HOST = "127.0.0.1"
PATH = "/node/status"
REQUEST_BYTES_MAX = 8 * 1024
REQUEST_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 8
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class StatusServer:
    """Read-only, local-only. A web page elsewhere cannot read it: the Host header is checked
    (a name that was rebound to 127.0.0.1 is refused) and no CORS header is ever sent.
    """

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot
        self._open = 0

    async def start(self, port: int) -> asyncio.Server:
        """Listen on 127.0.0.1. Port 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        return await asyncio.start_server(self._serve, HOST, port, limit=REQUEST_BYTES_MAX)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass  # a client that does not speak HTTP gets no answer
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        request_line, *header_lines = head.decode("latin-1").split("\r\n")
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        hosts = [
            line.partition(":")[2].strip()
            for line in header_lines
            if line.lower().startswith("host:")
        ]
        if len(hosts) != 1 or _name_of(hosts[0]) not in _LOCAL_NAMES:
            return _response(403, "Forbidden", {"error": "forbidden", "message": "local use only"})
        if path != PATH:
            return _response(404, "Not Found", {"error": "not_found", "message": f"only {PATH}"})
        if method != "GET":
            error = {"error": "method_not_allowed", "message": "only GET"}
            return _response(405, "Method Not Allowed", error, "Allow: GET\r\n")
        return _response(200, "OK", self._snapshot())


def _name_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _response(status: int, phrase: str, body: dict[str, Any], extra: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + content
