"""What shares a commit, and what a node may still claim."""

from __future__ import annotations

import asyncio
import time

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.domain.ids import NodeId
from support.stores import FakeClock, new_task

PATIENCE_MS = 2_000


def test_a_patient_change_goes_with_the_next_that_is_not(tmp_path):
    async def main() -> float:
        store = await SqlStore.open(f"sqlite:///{tmp_path / 'state.db'}", clock=FakeClock())
        try:
            began = time.monotonic()
            patient = asyncio.ensure_future(
                store.transact(lambda tx: tx.events.last_sequence(), within_ms=PATIENCE_MS)
            )
            await asyncio.sleep(0)
            await store.transact(lambda tx: None)
            await patient
            return time.monotonic() - began
        finally:
            await store.close()

    assert asyncio.run(main()) < PATIENCE_MS / 1000


def test_a_patient_change_alone_is_done_in_its_time(tmp_path):
    async def main() -> int:
        store = await SqlStore.open(f"sqlite:///{tmp_path / 'state.db'}", clock=FakeClock())
        try:
            return await asyncio.wait_for(store.transact(lambda tx: 7, within_ms=10), timeout=20)
        finally:
            await store.close()

    assert asyncio.run(main()) == 7


def test_closing_finishes_a_patient_change(tmp_path):
    async def main() -> int:
        store = await SqlStore.open(f"sqlite:///{tmp_path / 'state.db'}", clock=FakeClock())
        patient = asyncio.ensure_future(store.transact(lambda tx: 7, within_ms=3_600_000))
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.wait_for(patient, timeout=20)

    assert asyncio.run(main()) == 7


def test_unclaimed_leases_are_the_live_ones_nobody_confirmed_oldest_first(handle):
    handle.submit(*(new_task(number) for number in (1, 2, 3)))
    leases = []
    for number in (3, 1, 2):
        leases.append(handle.grant(number))
        handle.advance(1)
    node_id = NodeId("n1")
    assert handle.read(lambda tx: tx.tasks.unclaimed(node_id, 10)) == leases
    assert handle.read(lambda tx: tx.tasks.unclaimed(node_id, 1)) == leases[:1]
    handle.transact(lambda tx: tx.tasks.claim([leases[1]]))
    assert handle.read(lambda tx: tx.tasks.unclaimed(node_id, 10)) == [leases[0], leases[2]]
    assert handle.read(lambda tx: tx.tasks.unclaimed(NodeId("n2"), 10)) == []
    handle.advance(3_600_000)
    assert handle.read(lambda tx: tx.tasks.unclaimed(node_id, 10)) == []
