"""Challenges that a machine signs to show that it holds its key: each good once, for a minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ambient_vcp.apps.control_plane.http.answers import RateLimitedError
from ambient_vcp.domain.errors import UnauthorizedError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.entropy import Entropy

LIFE_MS = 60_000
OPEN_MAX = 50_000
OPEN_PER_NETWORK_MAX = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    public_key: PublicKey
    network: str
    ends_ms: int


class ChallengeBook:
    """Open challenges, in this process only: after a restart a machine asks again."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        # Insertion order is order of expiry, because all live equally long.
        self._open: dict[str, _Open] = {}
        self._by_network: Counter[str] = Counter()

    def make(self, public_key: PublicKey, network: str) -> tuple[str, int]:
        """A new challenge and when it ends (milliseconds since the epoch).

        Raises:
            RateLimitedError: too many are open, from this network or in all.
        """
        now_ms = self._clock.monotonic_ms()
        self._forget(now_ms)
        if len(self._open) >= OPEN_MAX or self._by_network[network] >= OPEN_PER_NETWORK_MAX:
            raise RateLimitedError(what="too many challenges are open")
        challenge = self._entropy.token_bytes(32).hex()
        self._open[challenge] = _Open(
            public_key=public_key, network=network, ends_ms=now_ms + LIFE_MS
        )
        self._by_network[network] += 1
        return challenge, self._clock.now_ms() + LIFE_MS

    def take(self, challenge: str) -> PublicKey:
        """Spend a challenge; answers the key it was made for.

        Raises:
            UnauthorizedError: unknown, spent or expired.
        """
        self._forget(self._clock.monotonic_ms())
        found = self._drop(challenge)
        if found is None:
            raise UnauthorizedError(reason="the challenge is unknown, used or expired")
        return found.public_key

    def _forget(self, now_ms: int) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if self._open[oldest].ends_ms > now_ms:
                return
            self._drop(oldest)

    def _drop(self, challenge: str) -> _Open | None:
        found = self._open.pop(challenge, None)
        if found is not None:
            self._by_network[found.network] -= 1
            if self._by_network[found.network] <= 0:
                del self._by_network[found.network]
        return found
