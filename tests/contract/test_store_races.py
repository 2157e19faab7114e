"""Many threads at once: what may happen once happens once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.tasks.lifecycle import ENDED_ATTEMPTS, AttemptState, TaskState
from ambient_vcp.ports.store import TaskUpdate
from support.stores import ALICE, LEASE_MS, digest, new_task, node, result, spec, task_id

THREADS = 32


def all_at_once(count, work):
    """Run ``work(number)`` in threads that start together; answers their values."""
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_one_of_many_racing_requests_with_one_key_runs(handle):
    ran = []

    def request(number):
        def use_case(tx):
            stored = tx.idempotency.begin(ALICE, "key", digest("r"))
            if stored is not None:
                return stored.body
            tx.tasks.insert([new_task(number)], independence_waived=False)
            tx.on_commit(lambda: ran.append(number))
            tx.idempotency.finish(ALICE, "key", status=201, body=str(number).encode())
            return str(number).encode()

        return handle.transact(use_case)

    bodies = all_at_once(THREADS, request)
    assert len(set(bodies)) == 1
    assert ran == [int(bodies[0])]
    assert handle.read(lambda tx: tx.tasks.counts()) == {"pending": 1}


def test_one_of_many_racing_nodes_spends_an_invitation(handle):
    handle.transact(lambda tx: tx.nodes.add_invite(digest("c"), ALICE, ttl_ms=1000))
    owners = all_at_once(
        THREADS,
        lambda n: handle.transact(lambda tx: tx.nodes.use_invite(digest("c"), NodeId(f"n{n}"))),
    )
    assert Counter(owners) == {ALICE: 1, None: THREADS - 1}


def test_one_of_many_racing_enrolments_gets_a_key(handle):
    names = [f"n{number}" for number in range(THREADS)]
    for name in names:
        handle.transact(lambda tx, name=name: tx.nodes.insert(node(name, enrolled=False)))

    def enrol(number):
        try:
            handle.transact(lambda tx: tx.nodes.set_key(NodeId(names[number]), digest("key")))
        except ConflictError:
            return False
        return True

    assert sum(all_at_once(THREADS, enrol)) == 1


def test_one_of_many_results_for_one_lease_is_recorded(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    recorded = all_at_once(
        THREADS,
        lambda n: handle.transact(lambda tx: tx.tasks.record_result(lease, result(bytes([n])))),
    )
    assert sum(recorded) == 1
    stored = handle.read(lambda tx: tx.tasks.load([task_id(1)]))[task_id(1)].attempts[0].result
    assert stored.output == bytes([recorded.index(True)])


def test_one_of_many_endings_of_a_task_wins(handle):
    handle.submit(new_task(1))
    states = (TaskState.FAILED, TaskState.CANCELLED)

    def end(number):
        update = TaskUpdate(
            task_id=task_id(1),
            expected=frozenset({TaskState.PENDING}),
            state=states[number % 2],
            next_check_at_ms=0,
            reason=str(number),
        )
        return handle.transact(lambda tx: tx.tasks.update(update))

    won = all_at_once(THREADS, end)
    assert sum(won) == 1
    task = handle.read(lambda tx: tx.tasks.load([task_id(1)]))[task_id(1)].task
    assert task.reason == str(won.index(True))


def test_a_locked_task_is_changed_by_one_after_the_other(handle):
    handle.submit(new_task(1))

    def count(_):
        def use_case(tx):
            task = tx.tasks.load([task_id(1)], lock=True)[task_id(1)].task
            update = TaskUpdate(
                task_id=task.id,
                expected=frozenset({task.state}),
                state=task.state,
                next_check_at_ms=0,
                detail=str(int(task.detail or "0") + 1),
            )
            assert tx.tasks.update(update)

        handle.transact(use_case)

    all_at_once(THREADS, count)
    task = handle.read(lambda tx: tx.tasks.load([task_id(1)]))[task_id(1)].task
    assert task.detail == str(THREADS)


class Market:
    """Sweepers, placers and workers on the same slots, and what each was told."""

    tasks = 25
    sweepers = 8
    placers = 8

    def __init__(self, handle):
        self.handle = handle
        self.stop = time.monotonic() + 2.0
        self.granted = []
        self.swept = []
        self.recorded = []
        self.failed = []

    def run(self, number):
        while time.monotonic() < self.stop or not self.recorded:
            if len(self.recorded) == self.tasks * 2:
                return
            if number < self.sweepers:
                self.sweep()
            elif number < self.sweepers + self.placers:
                self.place(number - self.sweepers)
            else:
                self.work(number)

    def sweep(self):
        def use_case(tx):
            leases = tx.tasks.expire(5)
            for lease in leases:
                tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=0)
            return leases

        self.swept += [(i.task_id, i.slot, i.epoch) for i in self.handle.transact(use_case)]
        self.handle.advance(LEASE_MS // 100)
        time.sleep(0.02)

    def place(self, number):
        waiting = self.handle.read(lambda tx: tx.tasks.waiting_slots(8))
        choices = [(w.slot.task_id, w.slot.index, NodeId(f"n{number}")) for w in waiting]
        grants = self.handle.transact(lambda tx: tx.tasks.grant(choices, lease_ms=LEASE_MS))
        self.granted += [(g.lease.task_id, g.lease.slot, g.lease.epoch) for g in grants]

    def work(self, number):
        node_id = NodeId(f"n{number % self.placers}")
        mine = self.handle.read(lambda tx: tx.tasks.node_leases(node_id, 4))
        leases = [item.lease for item in mine]
        for item in self.handle.transact(lambda tx: tx.tasks.claim(leases))[:1]:
            lease = item.lease
            if number % 3 == 0:
                if self.handle.transact(lambda tx, lease=lease: fail(tx, lease)):
                    self.failed.append((lease.task_id, lease.slot, lease.epoch))
            elif self.handle.transact(
                lambda tx, lease=lease: tx.tasks.record_result(lease, result())
            ):
                self.recorded.append((lease.task_id, lease.slot))


def fail(tx, lease):
    done = tx.tasks.record_failure(lease, "node_error", "", b"")
    if done:
        tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=0)
    return done


def test_sweepers_placers_and_workers_in_many_threads_never_share_a_lease(handle):
    """Eight sweepers, eight placers and sixteen workers on fifty slots, for two seconds."""
    market = Market(handle)
    ids = [task_id(number) for number in range(market.tasks)]
    handle.submit(*(new_task(number, what=spec(replicas=2)) for number in range(market.tasks)))
    all_at_once(THREADS, market.run)
    for name in ("granted", "swept", "recorded", "failed"):
        told = getattr(market, name)
        assert len(told) == len(set(told)), f"one lease was {name} twice"
    assert not set(market.swept) & set(market.failed)
    records = handle.read(lambda tx: tx.tasks.load(ids))
    attempts = [attempt for record in records.values() for attempt in record.attempts]
    assert {(a.task_id, a.slot, a.epoch) for a in attempts} == set(market.granted)
    completed = [a for a in attempts if a.state is AttemptState.COMPLETED]
    assert sorted((a.task_id, a.slot) for a in completed) == sorted(market.recorded)
    for record in records.values():
        for slot in record.slots:
            mine = [a for a in record.attempts if a.slot == slot.index]
            assert [a.epoch for a in mine] == list(range(1, slot.lease_epoch + 1))
            assert all(a.state in ENDED_ATTEMPTS for a in mine[:-1])


def test_no_reader_of_events_ever_misses_one(handle):
    """A reader follows the events while many write; it sees each exactly once, in order."""
    per_thread, writers = 15, 8
    seen = []
    done = threading.Event()

    def write(number):
        for item in range(per_thread):

            def use_case(tx, item=item):
                tx.events.add("a", fields={"from": str(number), "item": str(item)})
                time.sleep(0.001 * (number % 3))
                tx.events.add("b", fields={"from": str(number), "item": str(item)})

            handle.transact(use_case)

    def follow():
        position = 0
        while True:
            last_round = done.is_set()
            batch = handle.read(
                lambda tx, after=position: tx.events.since(
                    after, account_id=None, task_id=None, at_most=7
                )
            )
            seen.extend(batch)
            if batch:
                position = batch[-1].sequence
            elif last_round:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        all_at_once(writers, write)
    finally:
        done.set()
        reader.join()
    sequences = [event.sequence for event in seen]
    assert sequences == sorted(set(sequences))
    found = Counter((event.kind, event.fields["from"], event.fields["item"]) for event in seen)
    assert len(found) == per_thread * writers * 2
    assert set(found.values()) == {1}
