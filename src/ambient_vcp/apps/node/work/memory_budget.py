"""The memory that the owner lends, shared out among cells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """Bytes lent to cells; one that does not fit now waits until others end."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._lent = 0
        self._waiters: list[asyncio.Event] = []

    @asynccontextmanager
    async def lent(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold ``size_bytes``, at most ``total``, for the block's time."""
        while self._lent + size_bytes > self.total:
            changed = asyncio.Event()
            self._waiters.append(changed)
            await changed.wait()
        self._lent += size_bytes
        try:
            yield
        finally:
            self._lent -= size_bytes
            for waiter in self._waiters:
                waiter.set()
            self._waiters.clear()
