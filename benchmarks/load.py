"""A lean HTTP/1.1 load client: keep-alive connections, one request in flight on each.

A general client library would be the bottleneck on two cores and would measure itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import uvloop


@dataclass(slots=True)
class Outcome:
    """What a run of requests did. ``latencies_ms`` has one entry a request."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds


def request(method: str, path: str, token: str, body: bytes, extra: str = "") -> bytes:
    head = (
        f"{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes
) -> tuple[int, bytes]:
    """Send one request and read its answer (with Content-Length)."""
    writer.write(raw)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    return status, await reader.readexactly(length) if length else b""


async def _worker(
    port: int, requests: Iterator[bytes], out: Outcome, keep: Callable[[bytes], None] | None
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        for raw in requests:
            began = time.perf_counter()
            status, body = await exchange(reader, writer, raw)
            out.latencies_ms.append((time.perf_counter() - began) * 1000)
            out.statuses[status] = out.statuses.get(status, 0) + 1
            if keep is not None:
                keep(body)
    finally:
        writer.close()


async def _drive(
    port: int,
    requests: Iterable[bytes],
    connections: int,
    keep: Callable[[bytes], None] | None,
) -> Outcome:
    out, shared = Outcome(), iter(requests)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_worker(port, shared, out, keep))
    out.seconds = time.perf_counter() - began
    return out


def drive(
    port: int,
    requests: Iterable[bytes],
    *,
    connections: int,
    keep: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Send all requests over ``connections`` connections; ``keep`` sees each answer's body."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(port, requests, connections, keep))
