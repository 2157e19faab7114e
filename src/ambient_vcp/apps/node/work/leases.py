"""Keeps leases alive, and stops work whose lease ended."""

from __future__ import annotations

from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link, wait_for_event
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.work.executor import Executor, Stop
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.clock import Clock

RETRY_MS = 1_000
RENEW_MAX = 256
"""More than can run at once; what is left over is due again at once."""


class LeaseKeeper:
    """Renews everything held in one request, every third of a lease."""

    def __init__(
        self,
        api: NodeApi,
        state: AgentState,
        executor: Executor,
        *,
        clock: Clock,
        link: Link,
        log: EventLog,
    ) -> None:
        self._api = api
        self._state = state
        self._executor = executor
        self._clock = clock
        self._link = link
        self._log = log

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.step()
            next_ms = self._state.held.next_wake_ms()
            if next_ms is None:
                await wait_for_event(self._state.wakes.leases, None)
            else:
                # An overdue renewal means that the last one failed: try again soon, not at once.
                wait_ms = next_ms - self._clock.monotonic_ms()
                await wait_for_event(self._state.wakes.leases, wait_ms if wait_ms > 0 else RETRY_MS)

    async def step(self) -> None:
        """Stop what has expired, renew what is due."""
        held = self._state.held
        for ref in held.expired(self._clock.monotonic_ms()):
            self._end(ref, Stop.EXPIRED)
        sent_at_ms = self._clock.monotonic_ms()
        due = held.due(sent_at_ms)[:RENEW_MAX]
        if not due:
            return
        try:
            answer = await self._api.renew(due)
        except VcpError as error:
            self._link.failed(error)
            return
        self._link.succeeded()
        for item in answer.renewed:
            held.renewed(item.ref(self._api.node_id), item.expires_in_ms, sent_at_ms)
        for item in answer.lost:
            self._end(item.ref(self._api.node_id), Stop.LOST)

    def _end(self, ref: LeaseRef, why: Stop) -> None:
        if ref in self._state.held:
            self._log.warning("lease ended", task=ref.task_id, slot=ref.slot, why=why)
        self._executor.stop(ref, why)
        self._state.end_lease(ref)
