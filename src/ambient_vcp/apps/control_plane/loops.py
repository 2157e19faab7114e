"""The loops behind the API: each does bounded work a tick, survives errors, and shows its lag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from ambient_vcp.ports.clock import Clock

BACKOFF_MS_MAX = 10_000
STUCK_PERIODS = 3
STUCK_MS_MIN = 10_000
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopHealth:
    status: Literal["ok", "degraded"]
    detail: str
    lag_ms: int


class Loop:
    """Runs ``tick`` when woken and at least every ``every_ms``.

    A tick answers whether there is more to do at once. Ticks are at least ``gap_ms`` apart, and a
    tick is followed by a rest of ``rest`` times what it took, so that no loop can take the whole
    machine, however much wakes it.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[], Awaitable[bool]],
        *,
        clock: Clock,
        every_ms: int,
        gap_ms: int = 0,
    ) -> None:
        self.name = name
        self.rest = 1
        self._tick = tick
        self._clock = clock
        self._every_ms = every_ms
        self._gap_ms = gap_ms
        self._woken = asyncio.Event()
        self._last_ok_ms = clock.monotonic_ms()
        self._failures = 0
        self._error = ""

    def wake(self) -> None:
        self._woken.set()

    def health(self) -> LoopHealth:
        lag_ms = self._clock.monotonic_ms() - self._last_ok_ms
        stuck = lag_ms > max(STUCK_MS_MIN, STUCK_PERIODS * self._every_ms)
        if self._failures:
            detail = f"the last {self._failures} ticks failed: {self._error}"
            return LoopHealth(status="degraded", detail=detail, lag_ms=lag_ms)
        if stuck:
            return LoopHealth(status="degraded", detail="it is stuck", lag_ms=lag_ms)
        return LoopHealth(status="ok", detail="", lag_ms=lag_ms)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            started_ms = self._clock.monotonic_ms()
            more = await self._once()
            took_ms = self._clock.monotonic_ms() - started_ms
            if self._failures:
                await asyncio.sleep(min(BACKOFF_MS_MAX, 100 * 2 ** min(self._failures, 10)) / 1000)
                continue
            if not more:
                try:
                    await asyncio.wait_for(self._woken.wait(), self._every_ms / 1000)
                except TimeoutError:
                    continue
            # Events that come in this pause share one tick.
            await asyncio.sleep(max(self._gap_ms, self.rest * took_ms) / 1000)

    async def _once(self) -> bool:
        self._woken.clear()
        try:
            more = await self._tick()
        except Exception as error:
            self._failures += 1
            self._error = type(error).__name__
            log.exception("loop.failed", loop=self.name, failures=self._failures)
            return False
        self._failures = 0
        self._last_ok_ms = self._clock.monotonic_ms()
        return more
