"""Bytes by SHA-256."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from ambient_vcp.domain.ids import Digest


class BlobStore(Protocol):
    """Immutable blobs. A blob is visible only when it is complete and its digest was checked."""

    async def has(self, digest: Digest) -> bool: ...

    async def put(self, data: bytes) -> Digest:
        """Store small bytes (at most 16 MiB). Idempotent."""
        ...

    async def put_file(self, path: Path, expected: Digest) -> None:
        """Move a complete file in. The file is gone afterwards.

        Raises:
            InvalidInputError: its SHA-256 is not ``expected``; the file is removed.
            UnavailableError: no space left; nothing is half-written.
        """
        ...

    async def get(self, digest: Digest) -> bytes:
        """Whole blob of at most 64 MiB.

        Raises:
            NotFoundError: no such blob.
        """
        ...

    def stream(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` (inclusive) to ``stop`` (exclusive) in chunks of at most 1 MiB."""
        ...

    async def delete(self, digest: Digest) -> None:
        """Idempotent."""
        ...
