"""Randomness that a seed decides."""

from __future__ import annotations

import random
import uuid


class SeededEntropy:
    """Implements the port ``Entropy``. Equal seeds give equal sequences. Never for real secrets."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def uuid4(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def random(self) -> float:
        return self._random.random()


class FixedEntropy(SeededEntropy):
    """Like :class:`SeededEntropy`, but ``random`` always answers ``unit``, to force a branch."""

    def __init__(self, unit: float, seed: int = 0) -> None:
        super().__init__(seed)
        self._unit = unit

    def random(self) -> float:
        return self._unit
