"""How a node gets known and stays logged in: by signing with its own key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from ambient_vcp.adapters.control_plane_http.node_api import NodeApi, Registration
from ambient_vcp.adapters.control_plane_http.transport import Transport
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.apps.node.disk.data_dir import DataDir, NodeState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.nodes.capability import Capabilities, check_capabilities
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.ports.clock import Clock

TOKEN_LIFE_MS_MIN = 60_000
TOKEN_LIFE_MS_MAX = 900_000
RENEWED_JUST_NOW_MS = 2_000
BANDWIDTH_MBPS_MIN = 10.0
BANDWIDTH_MBPS_MAX = 100_000.0
BANDWIDTH_CHANGE_WORTH = 0.25
JOIN_TRIES_MAX = 5
HEARTBEAT_MS_MIN = 500
HEARTBEAT_MS_MAX = 60_000
_MS_PER_S = 1000


class Membership:
    """Enrols, re-enrols when the measured bandwidth changed, and keeps the token fresh."""

    def __init__(
        self,
        api: NodeApi,
        transport: Transport,
        data_dir: DataDir,
        node: NodeState,
        *,
        capabilities: Capabilities,
        report: Callable[[], NodeReport],
        bandwidth_is_declared: bool,
        clock: Clock,
        link: Link,
        log: EventLog,
    ) -> None:
        self._api = api
        self._transport = transport
        self._data_dir = data_dir
        self.node = node
        self.heartbeat_ms = 10_000
        self.round_trip_ms: float | None = None
        self._capabilities = capabilities
        self._report = report
        self._bandwidth_is_declared = bandwidth_is_declared
        self._clock = clock
        self._link = link
        self._log = log
        self._renewing = asyncio.Lock()
        self._renewed_at_ms = -RENEWED_JUST_NOW_MS
        self._token_life_ms = TOKEN_LIFE_MS_MAX
        transport.renew_token = self.renew_token

    async def enrol(self, code: str | None) -> None:
        """Say who we are; the first time with a code. Saves what must survive a restart."""
        about, self.round_trip_ms = await self._api.about()
        known_key = self.node.control_plane_public_key
        if known_key and known_key != about.public_key:
            self._log.warning(
                "the control plane has another key than when this node joined",
                hint="If it was not set up anew, somebody else may answer at this address.",
            )
        self.heartbeat_ms = min(HEARTBEAT_MS_MAX, max(HEARTBEAT_MS_MIN, about.heartbeat_ms))
        enrolment = await self._api.enrol(self._registration(), code)
        self._note_token(enrolment.token_expires_at_ms)
        self._link.succeeded()
        self.node = msgspec.structs.replace(
            self.node,
            enrolled=True,
            control_plane_id=about.control_plane_id,
            control_plane_public_key=enrolment.control_plane_public_key,
        )
        await asyncio.to_thread(self._data_dir.save_state, self.node)

    async def enrol_patiently(self, code: str | None, tries_max: int | None) -> None:
        """``enrol``, again and again while the control plane is away.

        Raises:
            UnavailableError: ``tries_max`` tries in a row came to nothing; None never gives up.
            VcpError: it refused.
        """
        failures = 0
        while True:
            try:
                await self.enrol(code)
            except UnavailableError as error:
                failures += 1
                if failures == tries_max:
                    raise
                self._link.failed(error)
                await self._link.wait(failures)
            else:
                return

    async def bandwidth_measured(self, mbps: float | None) -> None:
        """Tell the control plane when the measured bandwidth is clearly another than declared."""
        if mbps is None or self._bandwidth_is_declared:
            return
        bounded = round(min(BANDWIDTH_MBPS_MAX, max(BANDWIDTH_MBPS_MIN, mbps)), 1)
        declared = self._capabilities.bandwidth_mbps
        if abs(bounded - declared) <= declared * BANDWIDTH_CHANGE_WORTH:
            return
        old = self._capabilities
        self._capabilities = Capabilities(
            bandwidth_mbps=bounded,
            cpu_cores=old.cpu_cores,
            memory_gb=old.memory_gb,
            gpu_available=old.gpu_available,
        )
        self.node = msgspec.structs.replace(self.node, bandwidth_mbps=bounded)
        await self.enrol(None)

    async def set_drained(self, *, drained: bool) -> None:
        """Remember whether it was this agent that drained the node."""
        self.node = msgspec.structs.replace(self.node, drained_by_us=drained)
        await asyncio.to_thread(self._data_dir.save_state, self.node)

    async def renew_token(self) -> None:
        """Get a token by signing. Several callers at once share one."""
        async with self._renewing:
            if self._clock.monotonic_ms() - self._renewed_at_ms < RENEWED_JUST_NOW_MS:
                return
            token = await self._api.renew_token()
            self._note_token(token.token_expires_at_ms)

    async def keep_token_fresh(self) -> None:
        """Until cancelled: renew when two thirds of the token's life are over."""
        failures = 0
        while True:
            age_ms = self._clock.monotonic_ms() - self._renewed_at_ms
            wait_ms = self._token_life_ms * 2 // 3 - age_ms
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / _MS_PER_S)
                continue
            try:
                await self.renew_token()
                failures = 0
            except VcpError as error:
                failures += 1
                self._link.failed(error)
                await self._link.wait(failures)

    def _note_token(self, expires_at_ms: int) -> None:
        # Clocks may differ: the bounds keep a wrong one from renewing all the time or never.
        life_ms = expires_at_ms - self._clock.now_ms()
        self._token_life_ms = min(TOKEN_LIFE_MS_MAX, max(TOKEN_LIFE_MS_MIN, life_ms))
        self._renewed_at_ms = self._clock.monotonic_ms()

    def _registration(self) -> Registration:
        return Registration(
            node_id=self._api.node_id,
            region=self.node.region,
            node_type=self.node.node_type,
            capabilities=check_capabilities(self._capabilities),
            report=self._report(),
        )
