"""A few threads for blocking work, with a bounded number of callers waiting for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ambient_vcp.domain.errors import UnavailableError

T = TypeVar("T")
WAITING_MAX = 8_192


class BoundedThreads:
    def __init__(self, name: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run in one of the threads. To be called from one event loop.

        Raises:
            UnavailableError: too many are waiting.
        """
        if self._waiting >= WAITING_MAX:
            raise UnavailableError(reason="too many requests wait for the database")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except RuntimeError as error:
            if "after shutdown" in str(error):
                raise UnavailableError(reason="the store is closed") from None
            raise
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what is queued."""
        self._executor.shutdown(wait=True)
