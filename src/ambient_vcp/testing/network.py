"""Virtual time and a network that drops, duplicates, delays and reorders."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import TypeVar

from ambient_vcp.testing.clock import FakeClock

T = TypeVar("T")
TAIL_LINES_MAX = 80
DELAY_MS_MAX = 5_000


class Journal:
    """What happened, in order: the last lines for people, a digest of all for replay."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._hash = sha256()
        self._tail: list[str] = []
        self.lines = 0

    def note(self, who: str, what: str) -> None:
        line = f"{self._clock.monotonic_ms():>8} {who:<8} {what}"
        self._hash.update(line.encode())
        self.lines += 1
        self._tail.append(line)
        if len(self._tail) > 2 * TAIL_LINES_MAX:
            del self._tail[:TAIL_LINES_MAX]

    def digest(self) -> str:
        return self._hash.hexdigest()

    def tail(self) -> str:
        return "\n".join(self._tail[-TAIL_LINES_MAX:])


class Timeline:
    """The only loop: callbacks in the order of their virtual times, ties in order of creation."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, delay_ms: int, callback: Callable[[], None]) -> None:
        at_ms = self.clock.monotonic_ms() + max(0, delay_ms)
        heapq.heappush(self._queue, (at_ms, next(self._numbers), callback))

    def every(self, period_ms: int, callback: Callable[[], None], *, first_ms: int = 0) -> None:
        def again() -> None:
            callback()
            self.after(period_ms, again)

        self.after(first_ms, again)

    def run_until(self, until_ms: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Run callbacks up to a time, or until ``stop`` says so."""
        while self._queue and self._queue[0][0] <= until_ms and not stop():
            at_ms, _, callback = heapq.heappop(self._queue)
            self.clock.advance_to(at_ms)
            callback()


@dataclass(slots=True)
class Weather:
    """Probabilities of one message. ``slow`` messages take up to ``DELAY_MS_MAX``."""

    drop: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0


@dataclass(slots=True)
class Network:
    """Carries messages between the control plane and named peers.

    ``inward`` and ``outward`` name the peers whose messages to and from the control plane are
    blocked now; blocked messages are lost.
    """

    timeline: Timeline
    random: random.Random
    weather: Weather = field(default_factory=Weather)
    inward: set[str] = field(default_factory=set)
    outward: set[str] = field(default_factory=set)
    sent: int = 0
    lost: int = 0

    def heal(self) -> None:
        self.weather = Weather()
        self.inward.clear()
        self.outward.clear()

    def carry(self, peer: str, blocked: set[str], deliver: Callable[[], None]) -> None:
        """Deliver none, one or two copies, each after a time of its own."""
        weather, draw = self.weather, self.random.random
        copies = 2 if draw() < weather.duplicate else 1
        for _ in range(copies):
            self.sent += 1
            if draw() < weather.drop:
                self.lost += 1
                continue
            longest_ms = DELAY_MS_MAX if draw() < weather.slow else 60
            delay_ms = 1 + int(draw() * longest_ms)
            self.timeline.after(delay_ms, lambda: self._arrive(peer, blocked, deliver))

    def _arrive(self, peer: str, blocked: set[str], deliver: Callable[[], None]) -> None:
        if peer in blocked:
            self.lost += 1
            return
        deliver()

    def call(
        self,
        peer: str,
        handle: Callable[[], T | None],
        answered: Callable[[T], None],
    ) -> None:
        """A request and its answer. ``handle`` returns None when the other side gives none."""

        def serve() -> None:
            answer = handle()
            if answer is not None:
                self.carry(peer, self.outward, lambda: answered(answer))

        self.carry(peer, self.inward, serve)

    def push(self, peer: str, deliver: Callable[[], None]) -> None:
        """A message from the control plane that nobody answers."""
        self.carry(peer, self.outward, deliver)
