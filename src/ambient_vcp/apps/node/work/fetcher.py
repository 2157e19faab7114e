"""Bytes a task needs, by digest: inline, from the cache, or downloaded and checked."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.tasks.spec import InputRef
from ambient_vcp.ports.clock import Clock

CACHE_BYTES_MAX = 256 * 1024 * 1024
TRIES_MAX = 12
"""About two minutes; a lease that ends meanwhile ends the fetching too."""

READ_BYTES = 1024 * 1024
DISK_RESERVE_BYTES = 64 * 1024 * 1024


@dataclass(eq=False)
class FetchError(Exception):
    """The bytes could not be had; the message is for the attempt's failure."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class TransferMeter(Protocol):
    def __call__(self, size_bytes: int, elapsed_ms: int) -> None: ...


class Fetcher:
    """Downloads by digest. Modules are kept for later tasks, inputs are not."""

    def __init__(
        self, api: NodeApi, cache: Path, *, clock: Clock, link: Link, meter: TransferMeter
    ) -> None:
        self._api = api
        self._cache = cache
        self._clock = clock
        self._link = link
        self._meter = meter
        self._locks: dict[Digest, asyncio.Lock] = {}

    async def module(self, wanted: InputRef, path: Path) -> None:
        """Put the module at ``path``, from the cache where possible.

        Raises:
            FetchError: it could not be had, or is not what its digest says.
        """
        if wanted.inline is not None:
            await self.input(wanted, path)
            return
        cached = self._cache / wanted.digest
        lock = self._locks.setdefault(wanted.digest, asyncio.Lock())
        async with lock:
            if not await asyncio.to_thread(_is_intact, cached, wanted):
                partial = cached.with_suffix(".part")
                await self._download(wanted, partial)
                await asyncio.to_thread(partial.replace, cached)
                await asyncio.to_thread(trim_cache, self._cache, CACHE_BYTES_MAX, cached)
            # A link of its own keeps the file for this attempt when the cache drops it.
            await asyncio.to_thread(_link_or_copy, cached, path)
        if not lock.locked():
            self._locks.pop(wanted.digest, None)

    async def input(self, wanted: InputRef, path: Path) -> None:
        """Put an input at ``path``.

        Raises:
            FetchError: it could not be had, or is not what its digest says.
        """
        if wanted.inline is None:
            await self._download(wanted, path)
            return
        if hashlib.sha256(wanted.inline).hexdigest() != wanted.digest:
            raise FetchError("the inline bytes are not what their digest says")
        await asyncio.to_thread(path.write_bytes, wanted.inline)

    async def _download(self, wanted: InputRef, path: Path) -> None:
        await asyncio.to_thread(_check_space, path.parent, wanted.size_bytes)
        body = await asyncio.to_thread(_Body, path)
        began_ms = self._clock.monotonic_ms()
        for attempt in range(1, TRIES_MAX + 1):
            try:
                await self._continue(wanted, body)
                break
            except UnavailableError as error:
                if attempt == TRIES_MAX:
                    raise FetchError(f"{wanted.digest} could not be fetched: {error}") from error
                await self._link.wait(attempt)
            except VcpError as error:
                raise FetchError(f"{wanted.digest} could not be fetched: {error}") from error
            except OSError as error:
                raise FetchError(
                    f"{wanted.digest} could not be stored: {error.strerror}"
                ) from error
        if body.size != wanted.size_bytes or body.hash.hexdigest() != wanted.digest:
            raise FetchError(f"what came for {wanted.digest} are other bytes")
        self._meter(body.size, self._clock.monotonic_ms() - began_ms)

    async def _continue(self, wanted: InputRef, body: _Body) -> None:
        if body.size == wanted.size_bytes and body.size > 0:
            return
        async for chunk in self._api.blobs.download(wanted.digest, body.size):
            if body.size + len(chunk) > wanted.size_bytes:
                raise FetchError(f"{wanted.digest} is larger than the task says")
            await asyncio.to_thread(body.append, chunk)
        if body.size < wanted.size_bytes:
            raise UnavailableError(reason="the download broke off")


class _Body:
    """A growing file and the hash of what is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0
        self.hash = hashlib.sha256()
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)

    def append(self, chunk: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(chunk)
        self.hash.update(chunk)
        self.size += len(chunk)


def trim_cache(folder: Path, bytes_max: int, keep: Path) -> None:
    """Remove the files unused for longest until the rest fits; ``keep`` stays."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= bytes_max:
            return
        if path != keep and path.suffix != ".part":
            with suppress(OSError):
                path.unlink()
                total -= size


def _is_intact(path: Path, wanted: InputRef) -> bool:
    """Whether the cached file is what it should be; also marks it as just used."""
    try:
        if path.stat().st_size != wanted.size_bytes:
            return False
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.utime(path)
    except OSError:
        return False
    return digest == wanted.digest


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def _check_space(folder: Path, size_bytes: int) -> None:
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < size_bytes + DISK_RESERVE_BYTES:
        raise FetchError(f"the disk has {free} bytes free, too few for {size_bytes} more")
