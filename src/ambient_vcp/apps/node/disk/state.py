"""What the agent's loops share: one object, one thread, no locks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from ambient_vcp.domain.nodes.agent import HeldLeases, Latency, Smoothed
from ambient_vcp.domain.nodes.breaker import BreakerInput, breaker_reasons
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.owner_limits import OwnerLimits
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import LeaseRef

ENDED_REMEMBERED_MAX = 1024


@dataclass(slots=True)
class Wakes:
    """One event for each loop that sleeps until there is something to do."""

    claim: asyncio.Event = field(default_factory=asyncio.Event)
    leases: asyncio.Event = field(default_factory=asyncio.Event)
    delivery: asyncio.Event = field(default_factory=asyncio.Event)
    heartbeat: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class AgentState:
    """``*_at_ms`` are by the monotonic clock. ``claim_wanted``: more was granted than was claimed.

    ``recover`` names leases that the control plane counts as claimed by us and that we do not know:
    an answer was lost, or the agent was killed.
    """

    limits: OwnerLimits
    held: HeldLeases
    started_at_ms: int
    wakes: Wakes = field(default_factory=Wakes)
    telemetry: Telemetry | None = None
    telemetry_at_ms: int | None = None
    latency: Latency = field(default_factory=Latency)
    upload_mbps: Smoothed = field(default_factory=Smoothed)
    download_mbps: Smoothed = field(default_factory=Smoothed)
    consecutive_errors: int = 0
    last_error_at_ms: int | None = None
    owner_refusals: tuple[str, ...] = ()
    server_status: str = ""
    health_score: float | None = None
    draining: bool = False
    claim_wanted: bool = False
    recover: set[LeaseRef] = field(default_factory=set)
    _ended: dict[LeaseRef, None] = field(default_factory=dict)

    def breakers(self, now_ms: int) -> tuple[str, ...]:
        return tuple(
            breaker_reasons(
                BreakerInput(
                    telemetry=self.telemetry,
                    received_at_ms=self.telemetry_at_ms,
                    consecutive_errors=self.consecutive_errors,
                    last_error_at_ms=self.last_error_at_ms,
                ),
                now_ms,
            )
        )

    def refusing(self, now_ms: int) -> tuple[str, ...]:
        """Every reason to take nothing new now, the owner's first."""
        return (*self.owner_refusals, *self.breakers(now_ms))

    def may_claim(self, now_ms: int) -> bool:
        serving = self.server_status in {"", "online", "offline"}
        return serving and not self.draining and not self.refusing(now_ms)

    def report(self, standing: NodeReport, now_ms: int) -> NodeReport:
        """``standing`` with what changes from moment to moment."""
        return replace(standing, running=self.held.working, refusing=self.refusing(now_ms))

    def record_own_error(self, now_ms: int) -> None:
        """The node itself failed an attempt; guests' failures do not count."""
        self.consecutive_errors += 1
        self.last_error_at_ms = now_ms

    def record_success(self) -> None:
        self.consecutive_errors = 0

    def end_lease(self, ref: LeaseRef) -> None:
        self.held.end(ref)
        self._ended[ref] = None
        while len(self._ended) > ENDED_REMEMBERED_MAX:
            del self._ended[next(iter(self._ended))]

    def has_ended(self, ref: LeaseRef) -> bool:
        return ref in self._ended
