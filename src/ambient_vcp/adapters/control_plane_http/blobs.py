"""Bytes by digest over HTTP: downloads that can be continued, uploads that can be continued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from ambient_vcp.adapters.control_plane_http.errors import RefusedError
from ambient_vcp.adapters.control_plane_http.messages import UploadAnswer, decode
from ambient_vcp.adapters.control_plane_http.transport import Transport
from ambient_vcp.domain.errors import UnavailableError
from ambient_vcp.domain.ids import Digest

WHOLE_PUT_BYTES_MAX = 1024 * 1024
CHUNK_BYTES_MAX = 8 * 1024 * 1024
RESTARTS_MAX = 8
_MS_PER_S = 1000


class BlobTransfer:
    """Raises what ``Transport`` raises; a transfer that broke off is continued by calling again."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def download(self, digest: Digest, start: int) -> AsyncIterator[bytes]:
        """The blob's bytes from ``start`` on, as they come. Nothing is checked here."""
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"} if start else {}
        async with self._transport.stream(f"/blobs/{digest}", headers=headers) as response:
            if start and response.status_code != httpx.codes.PARTIAL_CONTENT:
                raise UnavailableError(reason="the control plane does not continue downloads")
            async for chunk in response.aiter_bytes():
                yield chunk

    async def upload(self, digest: Digest, path: Path, size_bytes: int) -> None:
        """Store a file; bytes that arrived in an earlier, broken try are not sent again."""
        if size_bytes <= WHOLE_PUT_BYTES_MAX:
            data = await asyncio.to_thread(path.read_bytes)
            await self._transport.request("PUT", f"/blobs/{digest}", content=data)
            return
        answer = await self._transport.request(
            "POST", "/blobs/uploads", json={"digest": digest, "size_bytes": size_bytes}
        )
        upload = decode(answer.content, UploadAnswer)
        if upload.complete:
            return
        await self._send_chunks(upload, path, size_bytes)

    async def timed_get(self, path: str) -> float:
        """Milliseconds from the answer's first byte to its last."""
        async with self._transport.stream(path) as response:
            began = time.perf_counter()
            async for _ in response.aiter_bytes():
                pass
            return (time.perf_counter() - began) * _MS_PER_S

    async def timed_post(self, path: str, data: bytes) -> float:
        """Milliseconds from the request's start to its answer."""
        began = time.perf_counter()
        await self._transport.request(
            "POST", path, content=data, headers={"Content-Type": "application/octet-stream"}
        )
        return (time.perf_counter() - began) * _MS_PER_S

    async def _send_chunks(self, upload: UploadAnswer, path: Path, size_bytes: int) -> None:
        address = f"/blobs/uploads/{upload.upload_id}"
        chunk_bytes = min(CHUNK_BYTES_MAX, upload.chunk_bytes_max)
        offset, restarts = upload.offset, 0
        while offset < size_bytes:
            chunk = await asyncio.to_thread(_read_at, path, offset, chunk_bytes)
            try:
                answer = await self._transport.request(
                    "PATCH",
                    address,
                    content=chunk,
                    headers={
                        "Upload-Offset": str(offset),
                        "Content-Type": "application/octet-stream",
                    },
                )
            except RefusedError as error:
                restarts += 1
                if error.reason_code != "upload_offset" or restarts > RESTARTS_MAX:
                    raise
                offset = await self._offset_of(address)
                continue
            if answer.status == httpx.codes.CREATED:
                return
            offset = _offset(answer.headers.get("Upload-Offset"))

    async def _offset_of(self, address: str) -> int:
        answer = await self._transport.request("HEAD", address)
        return _offset(answer.headers.get("Upload-Offset"))


def _read_at(path: Path, offset: int, size_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size_bytes)


def _offset(text: str | None) -> int:
    if text is None or not text.isdecimal():
        raise UnavailableError(reason="the control plane did not say how much of an upload it has")
    return int(text)
