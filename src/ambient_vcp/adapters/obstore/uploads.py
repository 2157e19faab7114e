"""Uploads that survive cut connections: bytes are staged in a file and digested as they come."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ambient_vcp.adapters.obstore.blobs import LocalBlobStore
from ambient_vcp.adapters.obstore.faults import translated
from ambient_vcp.domain.errors import ConflictError, LimitExceededError, UnavailableError
from ambient_vcp.domain.ids import Digest

OPEN_UPLOADS_MAX = 256
FREE_BYTES_MIN = 64 * 1024 * 1024
"""What uploads leave free, so that the database beside them can still be written."""

READ_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Staged:
    """An upload this process has touched: how far it is, and the digest so far."""

    offset: int
    hasher: Any = field(default_factory=hashlib.sha256)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class UploadStaging:
    """The staging area. After a restart an upload continues from the bytes on disk."""

    def __init__(self, folder: Path, blobs: LocalBlobStore) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._blobs = blobs
        self._open: dict[str, _Staged] = {}

    async def start(self, upload_id: str, size_bytes: int) -> None:
        """Open a staging file.

        Raises:
            UnavailableError: no space left, or too many uploads are open.
        """
        if len(self._open) >= OPEN_UPLOADS_MAX:
            raise UnavailableError(reason="too many uploads are open")
        with translated("starting an upload"):
            free = shutil.disk_usage(self._folder).free
            if free < size_bytes + FREE_BYTES_MIN:
                raise UnavailableError(reason="no space left for blobs")
            await asyncio.to_thread(self._path(upload_id).touch, 0o600, exist_ok=False)
        self._open[upload_id] = _Staged(offset=0)

    async def offset(self, upload_id: str) -> int:
        return (await self._staged(upload_id)).offset

    async def append(
        self, upload_id: str, *, offset: int, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> int:
        """Write chunks at ``offset``; answers the new offset. What arrived before a cut is kept.

        Raises:
            UploadOffsetError: ``offset`` is not where the upload stands.
            LimitExceededError: more bytes than announced; the surplus is dropped.
            UnavailableError: no space left.
        """
        staged = await self._staged(upload_id)
        if staged.lock.locked():
            raise UploadOffsetError(
                what="another request is writing to this upload", offset=staged.offset
            )
        async with staged.lock:
            if offset != staged.offset:
                raise UploadOffsetError(
                    what=f"the upload stands at {staged.offset}, not {offset}",
                    offset=staged.offset,
                )
            async for chunk in chunks:
                end = staged.offset + len(chunk)
                if end > size_bytes:
                    raise LimitExceededError(limit="upload bytes", maximum=size_bytes, got=end)
                with translated("writing an upload"):
                    await asyncio.to_thread(_append, self._path(upload_id), staged, chunk)
            return staged.offset

    async def finish(self, upload_id: str, expected: Digest) -> None:
        """Check the digest of a complete upload and make it a blob; the staging file is gone.

        Raises:
            InvalidInputError: another digest; everything is dropped.
            UnavailableError: no space left; the upload stays.
        """
        staged = await self._staged(upload_id)
        async with staged.lock:
            found = Digest(staged.hasher.hexdigest())
            await self._blobs.adopt(self._path(upload_id), expected=expected, found=found)
        self._open.pop(upload_id, None)

    async def drop(self, upload_id: str) -> None:
        self._open.pop(upload_id, None)
        with translated("dropping an upload"):
            await asyncio.to_thread(self._path(upload_id).unlink, missing_ok=True)

    async def _staged(self, upload_id: str) -> _Staged:
        staged = self._open.get(upload_id)
        if staged is None:
            with translated("reading an upload"):
                staged = await asyncio.to_thread(self._recover, upload_id)
            staged = self._open.setdefault(upload_id, staged)
        return staged

    def _recover(self, upload_id: str) -> _Staged:
        """Digest again what is on disk. A missing file is an upload of nothing so far."""
        path = self._path(upload_id)
        staged = _Staged(offset=0)
        path.touch(0o600)
        with path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                staged.hasher.update(chunk)
                staged.offset += len(chunk)
        return staged

    def _path(self, upload_id: str) -> Path:
        return self._folder / upload_id


@dataclass(eq=False, kw_only=True)
class UploadOffsetError(ConflictError):
    """The bytes do not continue where the upload stands; ``offset`` says where that is."""

    code: ClassVar[str] = "upload_offset"
    offset: int

    @property
    def hint(self) -> str:
        return f"Continue at offset {self.offset}."


def _append(path: Path, staged: _Staged, chunk: bytes) -> None:
    """Store, digest and count in one go, so that a cancelled request leaves them in step."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        view, position = memoryview(chunk), staged.offset
        while view:
            written = os.pwrite(descriptor, view, position)
            view, position = view[written:], position + written
    finally:
        os.close(descriptor)
    staged.hasher.update(chunk)
    staged.offset = position
