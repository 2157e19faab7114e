"""The running agent: its loops, its start and its orderly end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from ambient_vcp.apps.node.contact.bandwidth import BandwidthProbe
from ambient_vcp.apps.node.contact.enrolment import JOIN_TRIES_MAX
from ambient_vcp.apps.node.contact.heartbeat import Gauges, Heartbeat
from ambient_vcp.apps.node.contact.listener import Listener
from ambient_vcp.apps.node.observability import PATH, StatusServer
from ambient_vcp.apps.node.status import status_snapshot
from ambient_vcp.apps.node.wiring import Parts
from ambient_vcp.apps.node.work.claims import Claimer
from ambient_vcp.apps.node.work.delivery import Delivery
from ambient_vcp.apps.node.work.executor import Executor, Stop, Tools
from ambient_vcp.apps.node.work.fetcher import Fetcher
from ambient_vcp.apps.node.work.leases import LeaseKeeper
from ambient_vcp.domain.errors import VcpError

DRAIN_CALL_SECONDS_MAX = 3.0
FLUSH_SECONDS_MAX = 5.0


class Agent:
    """One node's life in this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    async def run(self, code: str | None, *, joining: bool) -> None:
        """Enrol, work until a signal, drain. Returns when everything is in order.

        Raises:
            VcpError: the control plane refused this node, or, while joining, could not be reached.
        """
        self._listen_for_signals()
        parts = self._parts
        patience = JOIN_TRIES_MAX if joining else None
        enrolled = await self._unless_stopped(parts.membership.enrol_patiently(code, patience))
        if not enrolled:
            return
        if parts.membership.round_trip_ms is not None:
            parts.state.latency = parts.state.latency.with_sample(parts.membership.round_trip_ms)
        await self._undrain()
        recovered = await asyncio.to_thread(parts.spool.recover)
        if recovered.entries or recovered.damaged:
            parts.log.info(
                "unsent results of an earlier run",
                count=recovered.entries,
                damaged=", ".join(recovered.damaged) or "none",
            )
        async with asyncio.TaskGroup() as group:
            await self._work(group)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        parts = self._parts
        executor = Executor(self._tools(), parts.state, group)
        delivery = Delivery(
            parts.api,
            parts.state,
            parts.spool,
            group,
            clock=parts.clock,
            link=parts.link,
            log=parts.log,
        )
        heartbeat = self._heartbeat(executor)
        loops = self._loops(executor)
        loops |= {"heartbeat": heartbeat.run(), "delivery": delivery.run()}
        tasks = [group.create_task(loop, name=name) for name, loop in loops.items()]
        server = await self._observe()
        parts.state.wakes.delivery.set()
        self._log_ready()
        await self._stop.wait()
        await self._drain(executor, delivery)
        if server is not None:
            server.close()
        for task in tasks:
            task.cancel()

    def _tools(self) -> Tools:
        parts = self._parts
        fetcher = Fetcher(
            parts.api,
            parts.data_dir.cache,
            clock=parts.clock,
            link=parts.link,
            meter=self._downloaded,
        )
        return Tools(
            sandbox=parts.sandbox,
            signer=parts.signer,
            fetcher=fetcher,
            sensors=parts.sensors,
            clock=parts.clock,
            spool=parts.spool,
            log=parts.log,
            work=parts.data_dir.work,
            chaos=parts.chaos,
        )

    def _heartbeat(self, executor: Executor) -> Heartbeat:
        parts = self._parts
        return Heartbeat(
            parts.api,
            parts.state,
            executor,
            Gauges(
                sensors=parts.sensors,
                data_dir=parts.data_dir,
                spool=parts.spool,
                clock=parts.clock,
            ),
            report=parts.report,
            interval_ms=parts.membership.heartbeat_ms,
            link=parts.link,
            log=parts.log,
        )

    def _loops(self, executor: Executor) -> dict[str, Coroutine[Any, Any, None]]:
        parts, state = self._parts, self._parts.state
        clock, link, log = parts.clock, parts.link, parts.log
        listener = Listener(parts.api, state, executor, link=link, log=log)
        claimer = Claimer(parts.api, state, executor, parts.spool, clock=clock, link=link, log=log)
        keeper = LeaseKeeper(parts.api, state, executor, clock=clock, link=link, log=log)
        probe = BandwidthProbe(parts.api, state, parts.entropy)
        return {
            "events": listener.run(),
            "claims": claimer.run(),
            "leases": keeper.run(),
            "bandwidth": probe.run(self._bandwidth_measured),
            "token": parts.membership.keep_token_fresh(),
        }

    async def _drain(self, executor: Executor, delivery: Delivery) -> None:
        """Take nothing more, let running work end, hand in everything, within bounds."""
        parts = self._parts
        parts.state.draining = True
        parts.log.info(
            "draining: finishing running work; a second signal gives it back",
            running=parts.state.held.working,
            at_most_seconds=parts.drain_seconds,
        )
        await parts.membership.set_drained(drained=True)
        await self._tell_drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(parts.drain_seconds):
                await self._either(executor.idle(), self._stop_now.wait())
        executor.stop_all(Stop.DRAINED)
        await executor.idle()
        try:
            async with asyncio.timeout(FLUSH_SECONDS_MAX):
                await delivery.flushed()
        except TimeoutError:
            parts.log.warning(
                "results are left for the next run: the control plane did not take them",
                count=len(parts.spool),
            )
        parts.log.info("drained")

    async def _tell_drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_CALL_SECONDS_MAX):
                await self._parts.api.drain()
        except (VcpError, TimeoutError) as error:
            # Its leases end by themselves; telling it only saves time.
            self._parts.log.warning("the control plane was not told", why=error)

    async def _undrain(self) -> None:
        if self._parts.membership.node.drained_by_us:
            await self._parts.api.undrain()
            await self._parts.membership.set_drained(drained=False)

    async def _observe(self) -> asyncio.Server | None:
        parts = self._parts
        if parts.observability_port is None:
            return None
        server = await StatusServer(lambda: status_snapshot(parts)).start(parts.observability_port)
        port = server.sockets[0].getsockname()[1]
        parts.log.info("observable", try_this=f"curl -s http://127.0.0.1:{port}{PATH}")
        return server

    async def _bandwidth_measured(self) -> None:
        up, down = self._parts.state.upload_mbps.value, self._parts.state.download_mbps.value
        known = [value for value in (up, down) if value is not None]
        await self._parts.membership.bandwidth_measured(min(known, default=None))

    def _downloaded(self, size_bytes: int, elapsed_ms: int) -> None:
        # Small transfers measure the round trip, not the line.
        if size_bytes >= 1024 * 1024 and elapsed_ms > 0:
            megabits = size_bytes * 8 / 1000 / elapsed_ms
            state = self._parts.state
            state.download_mbps = state.download_mbps.with_sample(megabits)

    def _log_ready(self) -> None:
        parts, limits = self._parts, self._parts.state.limits
        parts.log.info(
            "ready",
            id=parts.api.node_id,
            control_plane=parts.membership.node.url,
            cells=limits.cells_max,
            memory_gib=round(limits.memory_bytes_max / 1024**3, 1),
            engine=parts.sandbox.engine,
        )
        if parts.chaos:
            parts.log.warning("this node misbehaves on purpose (--chaos)", how=parts.chaos)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work came to its end before a signal did."""
        await self._either(work, self._stop.wait())
        return not self._stop.is_set()

    async def _either(self, *waits: Coroutine[Any, Any, object]) -> None:
        """Return when the first ends, cancel the others; its error is ours."""
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
