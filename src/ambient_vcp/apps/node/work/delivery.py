"""Sends finished attempts until each is acknowledged."""

from __future__ import annotations

import asyncio

from ambient_vcp.adapters.control_plane_http.errors import RefusedError
from ambient_vcp.adapters.control_plane_http.messages import ResultAnswer
from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.apps.node.disk.spool import Entry, Spool, batch_of
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.clock import Clock

BATCH_COUNT_MAX = 64
BATCH_BYTES_MAX = 900 * 1024
LARGE_AT_ONCE_MAX = 2
UNTAKEABLE_STATUSES = frozenset({400, 413, 422})


class Delivery:
    """Small results go in batches; each large output goes on its own and holds up nobody."""

    def __init__(
        self,
        api: NodeApi,
        state: AgentState,
        spool: Spool,
        group: asyncio.TaskGroup,
        *,
        clock: Clock,
        link: Link,
        log: EventLog,
    ) -> None:
        self._api = api
        self._state = state
        self._spool = spool
        self._group = group
        self._clock = clock
        self._link = link
        self._log = log
        self._large: set[LeaseRef] = set()
        self._emptied = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        wake = self._state.wakes.delivery
        while True:
            await wake.wait()
            wake.clear()
            self._start_large()
            failures = 0
            while batch := batch_of(self._small(), BATCH_COUNT_MAX, BATCH_BYTES_MAX):
                failures = await self._try(batch, failures)
            if not len(self._spool):
                self._emptied.set()

    async def flushed(self) -> None:
        """Return when every result is acknowledged."""
        while len(self._spool):
            self._emptied.clear()
            self._state.wakes.delivery.set()
            await self._emptied.wait()

    def _small(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._spool.pending() if not entry.large_output)

    def _start_large(self) -> None:
        for entry in self._spool.pending():
            if len(self._large) >= LARGE_AT_ONCE_MAX:
                return
            if entry.large_output and entry.ref not in self._large:
                self._large.add(entry.ref)
                self._group.create_task(self._deliver_large(entry), name=f"upload {entry.task_id}")

    async def _deliver_large(self, entry: Entry) -> None:
        failures, uploaded = 0, False
        while entry.ref in self._spool:
            try:
                if not uploaded:
                    await self._upload(entry)
                    uploaded = True
            except UnavailableError as error:
                failures += 1
                self._link.failed(error)
                await self._link.wait(failures)
                continue
            failures = await self._try((entry,), failures)
        self._large.discard(entry.ref)
        self._state.wakes.delivery.set()

    async def _upload(self, entry: Entry) -> None:
        digest, path = entry.large_output, self._spool.output_path(entry.ref)
        if digest is None:
            return
        began_ms = self._clock.monotonic_ms()
        try:
            await self._api.blobs.upload(digest, path, entry.output_size_bytes)
        except UnavailableError:
            raise
        except (VcpError, OSError) as error:
            # Without a live lease nobody takes the bytes; the result itself still counts as a vote.
            self._log.warning("output not uploaded", task=entry.task_id, why=error)
            return
        elapsed_ms = self._clock.monotonic_ms() - began_ms
        if elapsed_ms > 0:
            megabits = entry.output_size_bytes * 8 / 1000 / elapsed_ms
            self._state.upload_mbps = self._state.upload_mbps.with_sample(megabits)

    async def _try(self, batch: tuple[Entry, ...], failures: int) -> int:
        """Send once. Returns how many tries in a row have failed now."""
        try:
            answers = await self._api.hand_in([entry.message for entry in batch])
        except RefusedError as error:
            if error.status in UNTAKEABLE_STATUSES:
                await self._narrow_down(batch, error)
                return 0
            return await self._failed(error, failures)
        except VcpError as error:
            return await self._failed(error, failures)
        self._link.succeeded()
        answered = {self._api.lease_of(answer): answer for answer in answers}
        for entry in batch:
            if (answer := answered.get(entry.ref)) is not None:
                await self._acknowledged(entry, answer)
        if not answered:
            return await self._failed(UnavailableError(reason="no result was answered"), failures)
        return 0

    async def _failed(self, error: VcpError, failures: int) -> int:
        self._link.failed(error)
        await self._link.wait(failures + 1)
        return failures + 1

    async def _narrow_down(self, batch: tuple[Entry, ...], error: RefusedError) -> None:
        """A request that can never be taken: find the result that spoils it and set it aside."""
        if len(batch) > 1:
            for entry in batch:
                await self._try((entry,), 0)
            return
        self._log.error("result set aside", task=batch[0].task_id, why=error, hint=error.hint)
        await asyncio.to_thread(self._spool.set_aside, batch[0].ref)
        self._state.end_lease(batch[0].ref)

    async def _acknowledged(self, entry: Entry, answer: ResultAnswer) -> None:
        await asyncio.to_thread(self._spool.acknowledged, entry.ref)
        self._state.end_lease(entry.ref)
        if answer.status == "accepted":
            self._log.info("accepted", task=entry.task_id, task_status=answer.task_status)
        else:
            self._log.warning(
                "not accepted", task=entry.task_id, status=answer.status, why=answer.message
            )
