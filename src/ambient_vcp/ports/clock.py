"""Time from outside."""

from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC. May jump; never decides a lease."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds from an arbitrary start. Never goes back."""
        ...
