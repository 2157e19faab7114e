"""The machine's clocks behind the ``Clock`` port."""

from __future__ import annotations

import time

NANOSECONDS_PER_MS = 1_000_000


class SystemClock:
    """Real time. Stateless: every instance reads the same clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // NANOSECONDS_PER_MS

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start.

        Counts time asleep where the system offers such a clock (Linux ``CLOCK_BOOTTIME``), so a
        laptop that was closed finds its leases expired when it wakes.
        """
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // NANOSECONDS_PER_MS
        return time.monotonic_ns() // NANOSECONDS_PER_MS

    def minute_of_day(self) -> int:
        """Local wall-clock time as minutes since midnight, 0 to 1439."""
        local = time.localtime()
        return local.tm_hour * 60 + local.tm_min
