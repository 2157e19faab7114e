"""The clock of a SQLite database: it belongs to the file, and never goes back.

At open it is set to the machine's clock, or to where the file's clock last stood if that is later.
From then on only the time since boot moves it, so that setting the machine's clock forward or back
while the control plane runs ends no lease early and keeps none alive too long.
"""

from __future__ import annotations

import time
from typing import Protocol


class DatabaseClock(Protocol):
    """Where ``vcp_now_ms()`` of a SQLite database comes from."""

    def start(self, high_water_ms: int) -> None:
        """Begin at ``high_water_ms`` or later. Called once, at open."""
        ...

    def now_ms(self) -> int: ...


class TimeSource(Protocol):
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch. May jump."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since some start. Never jumps; counts suspended time where it can."""
        ...


class MachineTime:
    """The operating system's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        return time.monotonic_ns() // 1_000_000


class AnchoredClock:
    """Reads the wall clock once, at :meth:`start`, and the monotonic one ever after."""

    def __init__(self, source: TimeSource | None = None) -> None:
        self._source = source or MachineTime()
        self._offset_ms = 0

    def start(self, high_water_ms: int) -> None:
        begin_ms = max(self._source.now_ms(), high_water_ms)
        self._offset_ms = begin_ms - self._source.monotonic_ms()

    def now_ms(self) -> int:
        return self._source.monotonic_ms() + self._offset_ms
