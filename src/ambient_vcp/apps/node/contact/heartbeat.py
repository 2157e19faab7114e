"""Measures, reports, and learns what the control plane thinks is ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.adapters.control_plane_http.messages import HeartbeatAnswer
from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link, wait_for_event
from ambient_vcp.apps.node.disk.data_dir import DataDir
from ambient_vcp.apps.node.disk.spool import Spool
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.work.executor import Executor, Stop
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.owner_limits import MachineState, refusals
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.telemetry import MachineSample, MachineSensors

CLOCK_SKEW_MS_MAX = 30_000
BREAKER_RETRY_MS = 2_000


class LocalClock(Clock, Protocol):
    """A clock that also knows the owner's time of day, in minutes since midnight."""

    def minute_of_day(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What a heartbeat reads."""

    sensors: MachineSensors
    data_dir: DataDir
    spool: Spool
    clock: LocalClock


class Heartbeat:
    """Every ``interval_ms``, and at once when something changed that the others should know."""

    def __init__(
        self,
        api: NodeApi,
        state: AgentState,
        executor: Executor,
        gauges: Gauges,
        *,
        report: Callable[[], NodeReport],
        interval_ms: int,
        link: Link,
        log: EventLog,
    ) -> None:
        self._api = api
        self._state = state
        self._executor = executor
        self._gauges = gauges
        self._report = report
        self._interval_ms = interval_ms
        self._link = link
        self._log = log
        self._skew_reported = False

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            self.measure()
            try:
                await self._beat()
                failures = 0
            except VcpError as error:
                failures += 1
                self._link.failed(error)
                if isinstance(error, UnavailableError):
                    await self._link.wait(failures)
                    continue
            await wait_for_event(self._state.wakes.heartbeat, self._pause_ms())

    def _pause_ms(self) -> int:
        """Shorter while a breaker is open, so that the node recovers soon after its cause."""
        if self._state.breakers(self._gauges.clock.monotonic_ms()):
            return min(self._interval_ms, BREAKER_RETRY_MS)
        return self._interval_ms

    def measure(self) -> None:
        """Take a sample and decide anew what speaks against taking work."""
        state, gauges = self._state, self._gauges
        before = state.refusing(gauges.clock.monotonic_ms())
        sample = gauges.sensors.sample()
        state.telemetry = self._telemetry(sample)
        state.telemetry_at_ms = gauges.clock.monotonic_ms()
        state.owner_refusals = refusals(
            state.limits,
            MachineState(
                minute_of_day=gauges.clock.minute_of_day(),
                temperature_c=sample.temperature_c,
                on_battery=sample.on_battery,
                disk_free_bytes=gauges.data_dir.free_bytes(),
                spool_full=gauges.spool.is_full,
                draining=state.draining,
            ),
        )
        now = state.refusing(gauges.clock.monotonic_ms())
        # Before the first sample there is nothing to compare: telemetry counts as stale then.
        if now != before and (now or before != ("stale_telemetry",)):
            if now:
                self._log.warning("taking no new work", why=", ".join(now))
            else:
                self._log.info("taking work again")

    async def _beat(self) -> None:
        state = self._state
        telemetry = state.telemetry
        if telemetry is None:
            return
        sent_ms = self._gauges.clock.now_ms()
        answer, round_trip_ms = await self._api.heartbeat(telemetry, self._report())
        self._link.succeeded()
        state.latency = state.latency.with_sample(round_trip_ms)
        self._check_clock(answer.now_ms, sent_ms)
        self._note_status(answer.node_status)
        state.health_score = answer.health_score
        for item in answer.cancelled:
            ref = item.ref(self._api.node_id)
            self._executor.stop(ref, Stop.CANCELLED)
            state.end_lease(ref)
        self._take_up(answer)

    def _take_up(self, answer: HeartbeatAnswer) -> None:
        state = self._state
        if any(not lease.claimed for lease in answer.leases):
            state.claim_wanted = True
        claimed = [lease.ref(self._api.node_id) for lease in answer.leases if lease.claimed]
        state.recover = {
            ref
            for ref in state.held.unknown_of(claimed)
            if ref not in self._gauges.spool and not state.has_ended(ref)
        }
        if state.claim_wanted or state.recover:
            state.wakes.claim.set()

    def _telemetry(self, sample: MachineSample) -> Telemetry:
        state = self._state
        return Telemetry(
            measured_at_ms=self._gauges.clock.now_ms(),
            upload_mbps=_rounded(state.upload_mbps.value),
            download_mbps=_rounded(state.download_mbps.value),
            latency_ms=_rounded(state.latency.value_ms),
            cpu_percent=sample.cpu_percent,
            memory_percent=sample.memory_percent,
            temperature_c=sample.temperature_c,
            power_watts=sample.power_watts,
            power_source=sample.power_source,
        )

    def _note_status(self, status: str) -> None:
        if status and status != self._state.server_status:
            if self._state.server_status or status != "online":
                self._log.info("standing at the control plane", status=status)
            self._state.server_status = status

    def _check_clock(self, server_now_ms: int, sent_ms: int) -> None:
        skew_ms = sent_ms - server_now_ms
        if server_now_ms and abs(skew_ms) > CLOCK_SKEW_MS_MAX and not self._skew_reported:
            self._skew_reported = True
            self._log.warning(
                "this machine's clock differs from the control plane's",
                by_seconds=round(skew_ms / 1000),
                hint="Synchronise it, for example with chrony. Leases do not depend on it.",
            )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
