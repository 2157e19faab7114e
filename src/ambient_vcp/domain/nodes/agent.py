"""What a node holds and may do: its leases, their renewal and end, and its room for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ambient_vcp.domain.tasks.spec import LeaseRef

RENEWALS_PER_LEASE = 3
CLAIM_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """One lease by the node's monotonic clock. ``working`` is False once its result is ready."""

    ref: LeaseRef
    expires_at_ms: int
    renew_at_ms: int
    working: bool = True


class HeldLeases:
    """The leases of one node.

    Every time is milliseconds of the node's monotonic clock, given by the caller. A lease is
    counted from the moment when the request that granted or renewed it was *sent*, so the node
    never believes in a lease for longer than the control plane does.
    """

    def __init__(self, cells_max: int) -> None:
        self.cells_max = cells_max
        self._held: dict[LeaseRef, HeldLease] = {}

    def __contains__(self, ref: LeaseRef) -> bool:
        return ref in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def working(self) -> int:
        """Attempts that fetch, run or wait for memory."""
        return sum(lease.working for lease in self._held.values())

    @property
    def room(self) -> int:
        """How many more may be claimed now."""
        return max(0, min(CLAIM_MAX, self.cells_max - self.working))

    def add(self, ref: LeaseRef, expires_in_ms: int, sent_at_ms: int) -> None:
        self._held[ref] = _lease(ref, expires_in_ms, sent_at_ms)

    def renewed(self, ref: LeaseRef, expires_in_ms: int, sent_at_ms: int) -> None:
        """Extend a lease that is still held; one that ended meanwhile stays ended."""
        if (old := self._held.get(ref)) is not None:
            fresh = _lease(ref, expires_in_ms, sent_at_ms)
            self._held[ref] = replace(fresh, working=old.working)

    def finished(self, ref: LeaseRef) -> None:
        """The work is done and its result waits to be acknowledged: a cell is free again."""
        if (old := self._held.get(ref)) is not None:
            self._held[ref] = replace(old, working=False)

    def end(self, ref: LeaseRef) -> None:
        """Forget a lease: acknowledged, lost, cancelled or expired. Idempotent."""
        self._held.pop(ref, None)

    def due(self, now_ms: int) -> tuple[LeaseRef, ...]:
        """What to renew now, most urgent first.

        Everything held, as soon as one is due, so that one request serves all.
        """
        urgent_first = sorted(self._held.values(), key=lambda lease: lease.renew_at_ms)
        if not urgent_first or urgent_first[0].renew_at_ms > now_ms:
            return ()
        return tuple(lease.ref for lease in urgent_first)

    def expired(self, now_ms: int) -> tuple[LeaseRef, ...]:
        return tuple(ref for ref, lease in self._held.items() if lease.expires_at_ms <= now_ms)

    def next_wake_ms(self) -> int | None:
        """When ``due`` or ``expired`` may next say something; None while nothing is held."""
        times = [min(held.renew_at_ms, held.expires_at_ms) for held in self._held.values()]
        return min(times, default=None)

    def unknown_of(self, granted: Iterable[LeaseRef]) -> tuple[LeaseRef, ...]:
        """Leases that the control plane says are ours and that we do not hold."""
        return tuple(ref for ref in granted if ref not in self._held)


def _lease(ref: LeaseRef, expires_in_ms: int, sent_at_ms: int) -> HeldLease:
    return HeldLease(
        ref=ref,
        expires_at_ms=sent_at_ms + expires_in_ms,
        renew_at_ms=sent_at_ms + expires_in_ms // RENEWALS_PER_LEASE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """An exponentially weighted mean; the first sample is taken as it is."""

    value: float | None = None
    weight: float = 0.3

    def with_sample(self, sample: float) -> Smoothed:
        if self.value is None:
            return replace(self, value=sample)
        return replace(self, value=self.value + self.weight * (sample - self.value))


LATENCY_SAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The least of the last round trips: what the network adds, without a busy moment's queue."""

    samples_ms: tuple[float, ...] = ()

    @property
    def value_ms(self) -> float | None:
        return min(self.samples_ms, default=None)

    def with_sample(self, round_trip_ms: float) -> Latency:
        return Latency(samples_ms=(*self.samples_ms, round_trip_ms)[-LATENCY_SAMPLES:])


RECONNECT_BASE_MS = 500
RECONNECT_CAP_MS = 15_000


def reconnect_delay_ms(failures: int, random_unit: float) -> int:
    """How long to wait after ``failures`` (at least 1) attempts in a row came to nothing.

    Exponential from half a second, at most 15 s, with the upper half random, so that nodes do not
    come back in step after an outage.
    """
    ceiling = min(RECONNECT_CAP_MS, RECONNECT_BASE_MS * 2 ** min(failures - 1, 20))
    return int(ceiling * (0.5 + random_unit / 2))
