"""Hashing and checking passwords on a small pool of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from ambient_vcp.domain.errors import UnavailableError

T = TypeVar("T")

COST_MIN = 4
COST_MAX = 16
PASSWORD_BYTES_MAX = 72
"""bcrypt reads no further; longer passwords are refused instead of being cut silently."""


class PasswordHasher:
    """bcrypt at a fixed cost. At most ``waiting_max`` calls wait for its ``threads``."""

    def __init__(self, *, cost: int, threads: int = 2, waiting_max: int = 64) -> None:
        if not COST_MIN <= cost <= COST_MAX:
            raise ValueError(f"the bcrypt cost is {COST_MIN} to {COST_MAX}")
        self._cost = cost
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._waiting = 0
        self._waiting_max = waiting_max
        self._nobody: bytes | None = None

    async def hash(self, password: str) -> str:
        """The hash to store. ``password`` has at most 72 bytes of UTF-8.

        Raises:
            UnavailableError: too many calls wait already.
        """
        hashed = await self._run(lambda: bcrypt.hashpw(password.encode(), self._salt()))
        return hashed.decode()

    async def matches(self, password: str, stored: str | None) -> bool:
        """Compare with a stored hash. ``None``, for an unknown user, takes the same work.

        Raises:
            UnavailableError: too many calls wait already.
        """
        return await self._run(lambda: self._compare(password, stored))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._cost)

    def _compare(self, password: str, stored: str | None) -> bool:
        if self._nobody is None:
            self._nobody = bcrypt.hashpw(b"nobody", self._salt())
        given = password.encode()
        fits = len(given) <= PASSWORD_BYTES_MAX
        same = bcrypt.checkpw(
            given[:PASSWORD_BYTES_MAX], self._nobody if stored is None else stored.encode()
        )
        return same and fits and stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._waiting_max:
            raise UnavailableError(reason="too many logins at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
