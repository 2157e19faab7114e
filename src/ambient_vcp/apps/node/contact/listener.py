"""Listens to the control plane's events, so that work starts within milliseconds."""

from __future__ import annotations

from ambient_vcp.adapters.control_plane_http.events import ServerEvent
from ambient_vcp.adapters.control_plane_http.node_api import NodeApi
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.work.executor import Executor, Stop
from ambient_vcp.domain.errors import UnavailableError, VcpError
from ambient_vcp.domain.ids import TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef


class Listener:
    """Events only hasten what heartbeats would find: losing one loses time, never work."""

    def __init__(
        self, api: NodeApi, state: AgentState, executor: Executor, *, link: Link, log: EventLog
    ) -> None:
        self._api = api
        self._state = state
        self._executor = executor
        self._link = link
        self._log = log

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            try:
                async for event in self._api.events():
                    failures = 0
                    self._link.succeeded()
                    self.handle(event)
            except UnavailableError:
                # Heartbeats report a lost connection; a stream may also end for reasons of its own.
                pass
            except VcpError as error:
                self._log.warning("no events", why=error)
            failures += 1
            await self._link.wait(failures)

    def handle(self, event: ServerEvent) -> None:
        match event.name:
            case "open" | "leases":
                self._state.claim_wanted = True
                self._state.wakes.claim.set()
            case "cancel":
                if (ref := self._ref(event)) is not None:
                    self._executor.stop(ref, Stop.CANCELLED)
                    self._state.end_lease(ref)
            case "drain":
                self._state.wakes.heartbeat.set()
            case _:
                return

    def _ref(self, event: ServerEvent) -> LeaseRef | None:
        task_id, slot, epoch = (event.data.get(name) for name in ("task_id", "slot", "epoch"))
        if isinstance(task_id, str) and isinstance(slot, int) and isinstance(epoch, int):
            return LeaseRef(
                task_id=TaskId(task_id), slot=slot, epoch=epoch, node_id=self._api.node_id
            )
        return None
