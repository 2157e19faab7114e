"""Only the database's clock decides leases, whatever happens to the machine's."""

from __future__ import annotations

import random

from ambient_vcp.adapters.sql import AnchoredClock, SqlStore
from support.stores import (
    LEASE_MS,
    START_MS,
    new_task,
    result,
    task_id,
)


class FakeMachine:
    """A machine whose wall clock can be set, and whose time since boot cannot."""

    def __init__(self) -> None:
        self.wall_ms = START_MS
        self.boot_ms = 77

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_ms(self) -> int:
        return self.boot_ms

    def pass_time(self, by_ms: int) -> None:
        self.wall_ms += by_ms
        self.boot_ms += by_ms


def test_setting_the_machines_clock_never_ends_or_prolongs_a_lease(tmp_path):
    """A thousand leases while the clock is set back and forward by up to a year."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    machine = FakeMachine()
    wrong = 0
    with SqlStore.open_sync("sqlite://", clock=AnchoredClock(machine)) as store:
        for number in range(1000):
            task = new_task(number)
            store.transact(lambda tx, t=task: tx.tasks.insert([t], independence_waived=False))
            choice = (task.id, 0, "n1")
            lease = store.transact(lambda tx, c=choice: tx.tasks.grant([c], lease_ms=LEASE_MS))[0]
            machine.wall_ms += chance.randint(-(10**10), 10**10)
            machine.pass_time(LEASE_MS - 1)
            wrong += bool(store.transact(lambda tx: tx.tasks.expire(10)) if number % 2 else 0)
            wrong += not store.transact(lambda tx, i=lease.lease: tx.tasks.claim([i]))
            machine.wall_ms += chance.randint(-(10**10), 10**10)
            machine.pass_time(1)
            wrong += store.transact(lambda tx, i=lease.lease: tx.tasks.record_result(i, result()))

            def sweep(tx):
                for ended in tx.tasks.expire(10):
                    tx.tasks.close_slots(ended.task_id)

            store.transact(sweep)
    assert wrong == 0


def test_after_a_restart_with_the_clock_set_back_time_goes_on_from_where_it_was(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    machine = FakeMachine()
    with SqlStore.open_sync(url, clock=AnchoredClock(machine)) as store:
        store.transact(lambda tx: tx.tasks.insert([new_task(1)], independence_waived=False))
        machine.pass_time(5_000)
        choice = (task_id(1), 0, "n1")
        lease = store.transact(lambda tx: tx.tasks.grant([choice], lease_ms=LEASE_MS))[0]
        stood_at = store.read(lambda tx: tx.now_ms())
    machine.wall_ms -= 86_400_000
    with SqlStore.open_sync(url, clock=AnchoredClock(machine)) as store:
        assert store.read(lambda tx: tx.now_ms()) == stood_at
        assert store.transact(lambda tx: tx.tasks.claim([lease.lease]))
        machine.pass_time(LEASE_MS)
        assert not store.transact(lambda tx: tx.tasks.claim([lease.lease]))
    machine.wall_ms += 2 * 86_400_000
    with SqlStore.open_sync(url, clock=AnchoredClock(machine)) as store:
        assert store.read(lambda tx: tx.now_ms()) == machine.wall_ms
