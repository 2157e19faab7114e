"""A clock that moves only when it is told to."""

from __future__ import annotations

START_MS = 1_790_000_000_000
"""Where test clocks begin: a moment in 2026."""


class FakeClock:
    """Implements the port ``Clock``, and can be the clock of a SQLite database."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._elapsed_ms = 0
        self._offset_ms = 0

    def start(self, high_water_ms: int) -> None:
        """Begin no earlier than where a database's clock last stood."""
        self._offset_ms += max(0, high_water_ms - self.now_ms())

    def now_ms(self) -> int:
        """Wall time. :meth:`jump` moves it either way."""
        return self._start_ms + self._elapsed_ms + self._offset_ms

    def monotonic_ms(self) -> int:
        return self._elapsed_ms

    def advance(self, by_ms: int) -> None:
        """Let time pass."""
        assert by_ms >= 0, "time does not run backwards; use jump for wall clocks"
        self._elapsed_ms += by_ms

    def advance_to(self, elapsed_ms: int) -> None:
        """Let time pass until ``elapsed_ms`` after the start."""
        self.advance(elapsed_ms - self._elapsed_ms)

    def jump(self, by_ms: int) -> None:
        """Set the wall clock forward or back; the monotonic clock does not notice."""
        self._offset_ms += by_ms
