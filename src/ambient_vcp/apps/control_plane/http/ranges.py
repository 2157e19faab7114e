"""Serving a blob's bytes, whole or in part (RFC 9110 section 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from ambient_vcp.apps.control_plane.http.answers import RangeError
from ambient_vcp.apps.control_plane.http.endpoint import Call
from ambient_vcp.domain.ids import Digest

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
BYTES_TYPE = "application/octet-stream"


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last, or None for the whole.

    Several ranges, and units that we do not know, are ignored, as the RFC allows.

    Raises:
        RangeError: the range holds none of the bytes.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(size, int(last) + 1)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeError(size_bytes=size)
    return start, stop


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    stop: int
    status: int
    headers: dict[str, str]


def _negotiate(call: Call[None], digest: Digest, size: int) -> _Part:
    """What to send of ``size`` bytes, by the request's conditions."""
    request = call.request
    headers = {
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return _Part(0, 0, 304, headers)
    named = request.headers.get("if-range")
    wanted = request.headers.get("range") if named in (None, headers["ETag"]) else None
    part = parse_range(wanted, size)
    start, stop = part or (0, size)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return _Part(start, stop, 200 if part is None else 206, headers)


async def blob_response(call: Call[None], digest: Digest, size: int) -> Response:
    """The bytes of a blob that the caller may read."""
    part = _negotiate(call, digest, size)
    if call.request.method == "HEAD" or part.status == 304:  # noqa: PLR2004 - Not Modified
        return Response(status_code=part.status, headers=part.headers, media_type=BYTES_TYPE)
    # The first chunk is read before anything is sent: a missing blob is a 404, not a cut answer.
    pieces = call.plane.blobs.stream(digest, part.start, part.stop)
    first = await anext(pieces, b"")
    return StreamingResponse(
        _joined(first, pieces),
        status_code=part.status,
        headers=part.headers,
        media_type=BYTES_TYPE,
    )


def bytes_response(call: Call[None], digest: Digest, data: bytes) -> Response:
    """The same for bytes at hand."""
    part = _negotiate(call, digest, len(data))
    body = b"" if call.request.method == "HEAD" else data[part.start : part.stop]
    return Response(body, part.status, part.headers, BYTES_TYPE)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
