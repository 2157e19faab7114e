"""The BlobStore port on a local folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from obstore.store import LocalStore

from ambient_vcp.adapters.obstore.faults import translated
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError, UnavailableError
from ambient_vcp.domain.ids import Digest

PUT_BYTES_MAX = 16 * 1024 * 1024
GET_BYTES_MAX = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


class LocalBlobStore:
    """Blobs as files named by digest under ``root``, in 256 folders.

    A blob appears under its name by one rename of a complete, synced file; half-written bytes are
    never visible. ``root`` must lie on one file system.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._store = LocalStore(prefix=root)

    async def has(self, digest: Digest) -> bool:
        return await asyncio.to_thread(self._path(digest).is_file)

    async def size(self, digest: Digest) -> int:
        """Size in bytes.

        Raises:
            NotFoundError: no such blob.
        """
        try:
            found = await self._store.head_async(_key(digest))
        except FileNotFoundError:
            raise NotFoundError(kind="blob", id=digest) from None
        return int(found["size"])

    async def put(self, data: bytes) -> Digest:
        if len(data) > PUT_BYTES_MAX:
            raise InvalidInputError(where="blob", rule=f"is at most {PUT_BYTES_MAX} bytes at once")
        digest = Digest(hashlib.sha256(data).hexdigest())
        if await self.has(digest):
            return digest
        with translated("writing a blob"):
            await self._store.put_async(_key(digest), data)
            await asyncio.to_thread(_sync, self._path(digest))
        return digest

    async def put_file(self, path: Path, expected: Digest) -> None:
        with translated("reading an upload"):
            found = await asyncio.to_thread(_file_digest, path)
        await self.adopt(path, expected=expected, found=found)

    async def adopt(self, path: Path, *, expected: Digest, found: Digest) -> None:
        """Move in a complete file whose digest the caller computed while writing it.

        Raises:
            InvalidInputError: the digests differ; the file is removed.
        """
        if found != expected:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise InvalidInputError(
                where="digest",
                rule="must be the SHA-256 of the bytes",
                got=found,
                advice="Send the bytes again, or correct the digest.",
            )
        with translated("storing an upload"):
            await asyncio.to_thread(self._move_in, path, expected)

    async def get(self, digest: Digest) -> bytes:
        size = await self.size(digest)
        if size > GET_BYTES_MAX:
            raise InvalidInputError(where="blob", rule=f"is at most {GET_BYTES_MAX} bytes at once")
        try:
            with translated("reading a blob"):
                found = await self._store.get_async(_key(digest))
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise NotFoundError(kind="blob", id=digest) from None

    async def stream(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        for offset in range(start, stop, CHUNK_BYTES):
            end = min(offset + CHUNK_BYTES, stop)
            try:
                with translated("reading a blob"):
                    part = await self._store.get_range_async(_key(digest), start=offset, end=end)
            except FileNotFoundError:
                raise NotFoundError(kind="blob", id=digest) from None
            yield bytes(part)

    async def delete(self, digest: Digest) -> None:
        with translated("deleting a blob"):
            await asyncio.to_thread(self._path(digest).unlink, missing_ok=True)

    async def check(self) -> None:
        """Write and remove a few bytes.

        Raises:
            UnavailableError: the folder cannot be written.
        """
        probe = self._root / ".check"
        try:
            with translated("checking"):
                await asyncio.to_thread(probe.write_bytes, b"ok")
                await asyncio.to_thread(probe.unlink)
        except FileNotFoundError:
            raise UnavailableError(reason="the folder of the blobs is gone") from None

    def _path(self, digest: Digest) -> Path:
        return self._root / _key(digest)

    def _move_in(self, path: Path, digest: Digest) -> None:
        target = self._path(digest)
        if target.is_file():
            path.unlink(missing_ok=True)
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path)
        path.replace(target)
        _sync(target)


def _key(digest: Digest) -> str:
    return f"{digest[:2]}/{digest}"


def _file_digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _sync(path: Path) -> None:
    """Make a file and its name survive a power cut."""
    for item in (path, path.parent):
        descriptor = os.open(item, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
