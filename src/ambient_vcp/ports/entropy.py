"""Randomness from outside."""

from typing import Protocol


class Entropy(Protocol):
    """A source of randomness: the operating system's in programs, seeded in tests."""

    def token_bytes(self, size: int) -> bytes: ...

    def uuid4(self) -> str:
        """A random UUID, version 4, as text."""
        ...

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...
