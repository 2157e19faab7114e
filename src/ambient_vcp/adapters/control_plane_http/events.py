"""Server-sent events, as far as this protocol uses them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

EVENT_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """``data`` is the event's JSON object; empty when it has none or is not an object."""

    name: str
    data: dict[str, Any]


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerEvent]:
    """Split a stream into events. Comment lines and fields that we do not use are skipped.

    An event above ``EVENT_BYTES_MAX`` ends the stream: no honest server sends one.
    """
    name, data, pending = "", b"", b""
    async for chunk in chunks:
        pending += chunk
        if len(pending) + len(data) > EVENT_BYTES_MAX:
            return
        *lines, pending = pending.split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"event:"):
                name = line[6:].strip().decode(errors="replace")
            elif line.startswith(b"data:"):
                data += line[5:].strip()
            elif not line and (name or data):
                yield ServerEvent(name=name or "message", data=_object(data))
                name, data = "", b""


def _object(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return {}
