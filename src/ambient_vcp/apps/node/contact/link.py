"""Whether the control plane can be reached, and how long to wait when it cannot."""

from __future__ import annotations

import asyncio

from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.nodes.agent import reconnect_delay_ms
from ambient_vcp.ports.entropy import Entropy

_MS_PER_S = 1000


class Link:
    """Shared by all loops: the first success of one ends the waiting of the others."""

    def __init__(self, log: EventLog, entropy: Entropy) -> None:
        self._log = log
        self._entropy = entropy
        self._up = asyncio.Event()
        self._reported = ""

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    def succeeded(self) -> None:
        if self._reported:
            self._log.info("connected again")
            self._reported = ""
        self._up.set()

    def failed(self, error: VcpError) -> None:
        """Note a failure; it is logged when the cause changes, not at each try."""
        self._up.clear()
        if str(error) != self._reported:
            self._reported = str(error)
            hint = {"hint": error.hint} if error.hint else {}
            self._log.warning("cannot reach the control plane", why=error, **hint)

    async def wait(self, failures: int) -> None:
        """Sleep after ``failures`` in a row, or until some other loop got through."""
        delay_ms = reconnect_delay_ms(failures, self._entropy.random())
        if self._up.is_set():
            await asyncio.sleep(delay_ms / _MS_PER_S)
            return
        try:
            async with asyncio.timeout(delay_ms / _MS_PER_S):
                await self._up.wait()
        except TimeoutError:
            return


async def wait_for_event(event: asyncio.Event, at_most_ms: float | None) -> None:
    """Wait until the event is set or the time is over, and clear it."""
    try:
        async with asyncio.timeout(None if at_most_ms is None else max(0, at_most_ms) / _MS_PER_S):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
