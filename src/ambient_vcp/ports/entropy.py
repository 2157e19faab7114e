"""Randomness from outside."""

from typing import Protocol

UUID_BYTES = 16


class Entropy(Protocol):
    """A source of randomness: the operating system's in programs, seeded in tests."""

    def token_bytes(self, size: int) -> bytes: ...

    def uuid4(self) -> str:
        """A random UUID, version 4, as text."""
        ...

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...


def random_uuids(entropy: Entropy, count: int) -> list[str]:
    """``count`` UUIDs of version 4 (RFC 9562) from one draw."""
    digits = entropy.token_bytes(UUID_BYTES * count).hex()
    return [
        f"{part[:8]}-{part[8:12]}-4{part[13:16]}-{_VARIANT[part[16]]}{part[17:20]}-{part[20:]}"
        for part in (digits[at : at + 32] for at in range(0, len(digits), 32))
    ]


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The highest two bits of this digit are 10; the other two are drawn."""
