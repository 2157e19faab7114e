"""The operating system's randomness behind the ``Entropy`` port."""

from __future__ import annotations

import os
import secrets
import uuid

_MANTISSA_BITS = 53


class SystemEntropy:
    """Fit for keys and tokens: every method draws from the operating system."""

    __slots__ = ()

    def token_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    def uuid4(self) -> str:
        return str(uuid.uuid4())

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return secrets.randbits(_MANTISSA_BITS) / (1 << _MANTISSA_BITS)
