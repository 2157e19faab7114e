"""What moves tasks along: placing, sweeping, sealing, pruning, telling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ambient_vcp.adapters.obstore.uploads import UploadStaging
from ambient_vcp.apps.control_plane.fanout import Fanout
from ambient_vcp.apps.control_plane.loops import Loop, LoopHealth
from ambient_vcp.domain.log.checkpoint import log_origin
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.signer import Signer
from ambient_vcp.ports.store import Store, Transaction
from ambient_vcp.services.record import log, seal
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks import place, sweep

SEAL_MAX = 100
IDLE_REST = 5
PRUNE_MAX = 1_000
NODE_EVENTS_KEPT = 200
EVENTS_KEPT_MS = 7 * 86_400_000
ANSWERS_KEPT_MS = 48 * 3_600_000


class Work:
    """The loops, and how a request wakes them after its commit."""

    def __init__(
        self,
        *,
        store: Store,
        uploads: UploadStaging,
        fanout: Fanout,
        rules: WorkSettings,
        signer: Signer,
        control_plane_id: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._fanout = fanout
        self._rules = rules
        self._signer = signer
        self._id = control_plane_id
        self._entropy = entropy
        self._cursor = ""
        self.unplaced = 0
        """Slots that the last round found no node for."""

        self._tasks: list[asyncio.Task[None]] = []
        self._scheduler = Loop("scheduler", self._place, clock=clock, every_ms=1_000, gap_ms=2)
        self._sweeper = Loop("sweeper", self._sweep, clock=clock, every_ms=rules.sweep_ms)
        self._sealer = Loop("sealer", self._seal, clock=clock, every_ms=1_000, gap_ms=20)
        self._pump = Loop("events", self._tell, clock=clock, every_ms=1_000, gap_ms=2)
        self._pruner = Loop("pruner", self._prune, clock=clock, every_ms=60_000)
        self._loops = (self._scheduler, self._sweeper, self._sealer, self._pump, self._pruner)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in self._loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def health(self) -> dict[str, LoopHealth]:
        return {loop.name: loop.health() for loop in self._loops}

    def slots_opened(self) -> None:
        """Something waits for a node now, or a node has room again."""
        self._scheduler.wake()
        self.happened()

    def tasks_ended(self) -> None:
        self._sealer.wake()
        self.happened()

    def happened(self) -> None:
        """Events were written."""
        self._pump.wake()

    def leases_cut(self, leases: Iterable[LeaseRef]) -> None:
        self._fanout.cancelled(leases)

    async def _place(self) -> bool:
        report = await self._store.transact(
            lambda tx: place.place(
                tx, settings=self._rules, entropy=self._entropy, cursor=self._cursor
            )
        )
        self._cursor = report.cursor
        self.unplaced = report.unplaced
        # A backlog that nobody can take is looked at less often than one that moves.
        stuck = report.unplaced - report.patient
        self._scheduler.rest = 1 if report.grants or not stuck else IDLE_REST
        if report.grants:
            self._fanout.granted(grant.lease.node_id for grant in report.grants)
            self.happened()
        return len(report.grants) >= self._rules.slots_per_plan_max

    async def _sweep(self) -> bool:
        report = await self._store.transact(
            lambda tx: sweep.sweep(tx, settings=self._rules, entropy=self._entropy)
        )
        if report.cancelled:
            self.leases_cut(report.cancelled)
        if report.expired or report.timed_out or report.offline:
            self.slots_opened()
            self.tasks_ended()
        return report.more

    async def _seal(self) -> bool:
        def work(tx: Transaction) -> int:
            sealed = seal.seal(tx, signer=self._signer, control_plane_id=self._id, at_most=SEAL_MAX)
            log.integrate(tx, signer=self._signer, origin=log_origin(self._id))
            return sealed

        sealed = await self._store.transact(work)
        if sealed:
            self.happened()
        return sealed >= SEAL_MAX

    async def _tell(self) -> bool:
        return await self._fanout.pump()

    async def _prune(self) -> bool:
        def work(tx: Transaction) -> tuple[int, list[str]]:
            pruned = tx.events.prune(older_than_ms=EVENTS_KEPT_MS, at_most=PRUNE_MAX)
            pruned += tx.idempotency.prune(older_than_ms=ANSWERS_KEPT_MS, at_most=PRUNE_MAX)
            pruned += tx.nodes.prune_events(keep_per_node=NODE_EVENTS_KEPT, at_most=PRUNE_MAX)
            stale = tx.blobs.expired_uploads(PRUNE_MAX)
            for upload_id in stale:
                tx.blobs.end_upload(upload_id)
            return pruned + len(stale), stale

        pruned, stale = await self._store.transact(work)
        for upload_id in stale:
            await self._uploads.drop(upload_id)
        return pruned >= PRUNE_MAX
