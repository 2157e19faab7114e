"""Measures the bandwidth to the control plane, seldom and small."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.ports.entropy import Entropy

SMALL_PROBE_BYTES = 256 * 1024
LARGE_PROBE_BYTES = 4 * 1024 * 1024
LARGE_WORTH_BELOW_MS = 200
"""A small probe that took longer says enough; the large one would only cost the owner's line."""

SETTLE_S = 1.0
"""Lets the first heartbeat go alone, so that it measures the line and not this probe."""

REFRESH_S = 30 * 60
BUSY_RETRY_S = 5
FAILED_RETRY_S = 60


class BandwidthProbe:
    """Sets ``upload_mbps`` and ``download_mbps`` from real transfers of at most 4 MiB each way."""

    def __init__(self, api: NodeApi, state: AgentState, entropy: Entropy) -> None:
        self._api = api
        self._state = state
        # Incompressible, so that nothing on the way can flatter us.
        self._data = entropy.token_bytes(SMALL_PROBE_BYTES)

    async def run(self, measured: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled; ``measured`` is awaited after each measurement."""
        await asyncio.sleep(SETTLE_S)
        while True:
            if self._state.held.working:
                await asyncio.sleep(BUSY_RETRY_S)
                continue
            try:
                await self.probe()
                await measured()
                await asyncio.sleep(REFRESH_S)
            except VcpError:
                # Heartbeats report what is wrong; the figure stays as it was.
                await asyncio.sleep(FAILED_RETRY_S)

    async def probe(self) -> None:
        down = await _measure(self._api.probe_down)
        up = await _measure(self._send)
        self._state.download_mbps = self._state.download_mbps.with_sample(down)
        self._state.upload_mbps = self._state.upload_mbps.with_sample(up)
        self._state.wakes.heartbeat.set()

    async def _send(self, size_bytes: int) -> float:
        repeats = size_bytes // len(self._data)
        return await self._api.probe_up(self._data * repeats)


async def _measure(transfer: Callable[[int], Awaitable[float]]) -> float:
    """Megabits per second."""
    size_bytes, elapsed_ms = SMALL_PROBE_BYTES, await transfer(SMALL_PROBE_BYTES)
    if elapsed_ms < LARGE_WORTH_BELOW_MS:
        size_bytes, elapsed_ms = LARGE_PROBE_BYTES, await transfer(LARGE_PROBE_BYTES)
    return size_bytes * 8 / 1000 / max(elapsed_ms, 0.001)
