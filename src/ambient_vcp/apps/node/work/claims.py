"""Takes granted work: at once when the control plane calls, as much as there is room for."""

from __future__ import annotations

import asyncio

from ambient_vcp.adapters.control_plane_http.messages import Assignment
from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.apps.node.disk.spool import Spool
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.work.executor import Executor
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.clock import Clock


class Claimer:
    """The only one that claims, so that no lease is ever started twice."""

    def __init__(
        self,
        api: NodeApi,
        state: AgentState,
        executor: Executor,
        spool: Spool,
        *,
        clock: Clock,
        link: Link,
        log: EventLog,
    ) -> None:
        self._api = api
        self._state = state
        self._executor = executor
        self._spool = spool
        self._clock = clock
        self._link = link
        self._log = log
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        wake = self._state.wakes.claim
        while True:
            await wake.wait()
            wake.clear()
            try:
                await self.step()
                self._failures = 0
            except UnavailableError as error:
                self._failures += 1
                self._link.failed(error)
                await self._link.wait(self._failures)
                wake.set()
            except VcpError as error:
                # The next heartbeat or event tries again.
                self._log.error("claim refused", why=error, hint=error.hint)
                await asyncio.sleep(1)

    async def step(self) -> None:
        """Claim until nothing more is granted or there is no more room."""
        await self._recover()
        state = self._state
        while state.claim_wanted and state.may_claim(self._clock.monotonic_ms()):
            room = state.held.room
            if room == 0:
                return
            state.claim_wanted = False
            try:
                count = self._accept(await self._timed_claim(room))
            except VcpError:
                state.claim_wanted = True
                raise
            self._link.succeeded()
            # A full answer may have left something behind.
            state.claim_wanted = state.claim_wanted or count == room

    async def _recover(self) -> None:
        """Take up leases that count as claimed by us while we know nothing of them."""
        wanted = [ref for ref in self._state.recover if not self._is_known(ref)]
        self._state.recover.clear()
        wanted = wanted[: self._state.held.room]
        if not wanted or self._state.draining:
            return
        sent_at_ms = self._clock.monotonic_ms()
        assignments = await self._api.claim(wanted)
        if assignments:
            self._log.info("taking up claimed work again", count=len(assignments))
        self._accept((assignments, sent_at_ms))

    async def _timed_claim(self, room: int) -> tuple[tuple[Assignment, ...], int]:
        sent_at_ms = self._clock.monotonic_ms()
        return await self._api.claim_up_to(room), sent_at_ms

    def _accept(self, claimed: tuple[tuple[Assignment, ...], int]) -> int:
        assignments, sent_at_ms = claimed
        for assignment in assignments:
            if not self._is_known(assignment.ref):
                self._executor.start(assignment, sent_at_ms)
        return len(assignments)

    def _is_known(self, ref: LeaseRef) -> bool:
        return ref in self._state.held or ref in self._spool or self._state.has_ended(ref)
