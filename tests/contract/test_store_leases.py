"""Leases decide who may write, and until when."""

from __future__ import annotations

import pytest

from ambient_vcp.domain.errors import IllegalTransitionError
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotState
from ambient_vcp.domain.tasks.spec import LeaseRef
from support.stores import (
    ALICE,
    LEASE_MS,
    START_MS,
    StoreHandle,
    new_task,
    result,
    spec,
    task_id,
)


def load(handle: StoreHandle, number: int):
    return handle.read(lambda tx: tx.tasks.load([task_id(number)]))[task_id(number)]


def test_waiting_slots_come_oldest_first_and_not_before_their_time(handle):
    handle.submit(new_task(1))
    handle.advance(10)
    handle.submit(new_task(2, what=spec(replicas=2)))
    waiting = handle.read(lambda tx: tx.tasks.waiting_slots(10))
    assert [item.slot.task_id for item in waiting] == [task_id(1), task_id(2), task_id(2)]
    assert len(handle.read(lambda tx: tx.tasks.waiting_slots(2))) == 2
    lease = handle.grant(1)
    handle.advance(1)

    def fail(tx):
        assert tx.tasks.record_failure(lease, "node_error", "x", b"")
        tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=tx.now_ms() + 500)

    handle.transact(fail)
    assert len(handle.read(lambda tx: tx.tasks.waiting_slots(10))) == 2
    handle.advance(500)
    waiting = handle.read(lambda tx: tx.tasks.waiting_slots(10))
    assert [item.slot.task_id for item in waiting] == [task_id(2), task_id(2), task_id(1)]


def test_a_waiting_slot_tells_who_voted_who_works_and_who_failed(handle):
    handle.submit(new_task(1, what=spec(replicas=4)))
    voter, worker, loser = (
        handle.grant(1, index, name) for index, name in enumerate(("voter", "worker", "loser"))
    )

    def use_case(tx):
        assert tx.tasks.record_result(voter, result())
        assert tx.tasks.record_failure(loser, "node_error", "", b"")
        tx.tasks.reopen_slot(task_id(1), 2, not_before_ms=0)

    handle.transact(use_case)
    for item in handle.read(lambda tx: tx.tasks.waiting_slots(10)):
        assert item.voted == {voter.node_id}
        assert item.leased == {worker.node_id}
        assert item.failed == {loser.node_id}
        assert item.account_id == ALICE


def test_every_grant_raises_the_epoch_by_one(handle):
    handle.submit(new_task(1))
    for epoch in range(1, 6):
        lease = handle.grant(1, to=f"n{epoch}")
        assert lease.epoch == epoch
        assert handle.grant(1, to="other") is None

        def fail(tx, lease=lease):
            assert tx.tasks.record_failure(lease, "node_error", "gone", b"why")
            tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=0)

        handle.transact(fail)
    attempts = load(handle, 1).attempts
    assert [attempt.epoch for attempt in attempts] == [1, 2, 3, 4, 5]
    assert {attempt.state for attempt in attempts} == {AttemptState.FAILED}
    assert attempts[0].detail == "gone"
    assert attempts[0].log == b"why"


def test_a_claim_can_be_repeated_and_answers_the_same(handle):
    handle.submit(new_task(1), new_task(2))
    one, two = handle.grant(1), handle.grant(2)
    first = handle.transact(lambda tx: tx.tasks.claim([two, one]))
    handle.advance(1000)
    again = handle.transact(lambda tx: tx.tasks.claim([two, one, one]))
    assert first == again
    assert [item.lease for item in first] == [two, one]
    assert all(item.claimed for item in first)
    assert first[0].spec == spec()
    assert load(handle, 1).attempts[0].started_at_ms == START_MS
    assert handle.read(lambda tx: tx.tasks.node_leases(NodeId("n1"), 10)) == sorted(
        first, key=lambda item: item.lease.task_id
    )


WRONG_LEASES = {
    "a stale epoch": lambda lease: LeaseRef(
        task_id=lease.task_id, slot=0, epoch=lease.epoch - 1, node_id=lease.node_id
    ),
    "a future epoch": lambda lease: LeaseRef(
        task_id=lease.task_id, slot=0, epoch=lease.epoch + 1, node_id=lease.node_id
    ),
    "another node": lambda lease: LeaseRef(
        task_id=lease.task_id, slot=0, epoch=lease.epoch, node_id=NodeId("thief")
    ),
    "another slot": lambda lease: LeaseRef(
        task_id=lease.task_id, slot=1, epoch=lease.epoch, node_id=lease.node_id
    ),
    "another task": lambda lease: LeaseRef(
        task_id=task_id(99), slot=0, epoch=lease.epoch, node_id=lease.node_id
    ),
}


@pytest.mark.parametrize("wrong", WRONG_LEASES)
def test_only_the_live_lease_may_write(handle, wrong):
    handle.submit(new_task(1, what=spec(replicas=2)))
    old = handle.grant(1)
    handle.advance(LEASE_MS)

    def sweep(tx):
        assert tx.tasks.expire(10) == [old]
        tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=0)

    handle.transact(sweep)
    lease = handle.grant(1)
    other = WRONG_LEASES[wrong](lease)
    before = load(handle, 1)
    assert handle.transact(lambda tx: tx.tasks.claim([other])) == []
    assert handle.transact(lambda tx: tx.tasks.renew([other], lease_ms=LEASE_MS)) == {}
    assert not handle.transact(lambda tx: tx.tasks.record_result(other, result()))
    assert not handle.transact(lambda tx: tx.tasks.record_failure(other, "trap", "", b""))
    assert load(handle, 1) == before
    assert handle.transact(lambda tx: tx.tasks.record_result(lease, result()))


def test_an_expired_lease_writes_nothing_even_before_the_sweep(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    handle.advance(LEASE_MS)
    assert handle.transact(lambda tx: tx.tasks.claim([lease])) == []
    assert handle.transact(lambda tx: tx.tasks.renew([lease], lease_ms=LEASE_MS)) == {}
    assert not handle.transact(lambda tx: tx.tasks.record_result(lease, result()))
    assert not handle.transact(lambda tx: tx.tasks.record_failure(lease, "trap", "", b""))
    assert handle.read(lambda tx: tx.tasks.node_leases(lease.node_id, 10)) == []


def test_a_lease_lives_to_its_last_millisecond(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    handle.advance(LEASE_MS - 1)
    assert handle.transact(lambda tx: tx.tasks.expire(10)) == []
    assert handle.transact(lambda tx: tx.tasks.record_result(lease, result(b"last")))
    record = load(handle, 1)
    assert record.slots[0].state is SlotState.FILLED
    assert record.attempts[0].state is AttemptState.COMPLETED
    assert record.attempts[0].result == result(b"last")


def test_a_second_result_for_a_slot_is_refused(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    batch = [(lease, result(b"1")), (lease, result(b"2"))]
    assert handle.transact(lambda tx: tx.tasks.record_results(batch)) == [True, False]
    assert not handle.transact(lambda tx: tx.tasks.record_result(lease, result(b"3")))
    assert load(handle, 1).attempts[0].result.output == b"1"


def test_many_results_are_recorded_each_under_its_own_lease(handle):
    handle.submit(*(new_task(number) for number in range(50)))
    leases = [handle.grant(number, to=f"n{number % 3}") for number in range(50)]
    stale = LeaseRef(task_id=task_id(7), slot=0, epoch=9, node_id=NodeId("n1"))
    batch = [(stale, result(b"x")), *((lease, result(lease.task_id.encode())) for lease in leases)]
    answers = handle.transact(lambda tx: tx.tasks.record_results(batch))
    assert answers == [False] + [True] * 50
    records = handle.read(lambda tx: tx.tasks.load([lease.task_id for lease in leases]))
    assert all(r.attempts[0].result.output == i.encode() for i, r in records.items())


def test_renewing_is_bounded_by_the_execution_timeout(handle):
    what = spec()
    handle.submit(new_task(1, what=what))
    lease = handle.grant(1)
    bound = START_MS + what.timeouts.execution_ms + LEASE_MS
    expiry = START_MS + LEASE_MS
    for _ in range(20):
        handle.advance(LEASE_MS - 1)
        now = handle.now_ms()
        answer = handle.transact(lambda tx: tx.tasks.renew([lease], lease_ms=LEASE_MS))
        if now >= expiry:
            assert answer == {}
            break
        expiry = answer[lease.task_id, 0]
        assert expiry == min(now + LEASE_MS, bound)
    else:
        pytest.fail("the lease was renewed for ever")
    assert expiry == bound


def test_renewing_never_shortens_a_lease(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    answer = handle.transact(lambda tx: tx.tasks.renew([lease], lease_ms=1))
    assert answer == {(lease.task_id, 0): START_MS + LEASE_MS}


def test_a_late_result_is_kept_as_evidence_and_touches_no_slot(handle):
    handle.submit(new_task(1))
    late = handle.grant(1, to="slow")
    handle.advance(LEASE_MS)

    def sweep(tx):
        assert tx.tasks.expire(10) == [late]
        tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=0)

    handle.transact(sweep)
    handle.grant(1, to="fast")
    slots = load(handle, 1).slots
    assert handle.transact(lambda tx: tx.tasks.record_late(late, result(b"late")))
    assert not handle.transact(lambda tx: tx.tasks.record_late(late, result(b"again")))
    record = load(handle, 1)
    assert record.slots == slots
    assert record.attempts[0].state is AttemptState.EXPIRED
    assert record.attempts[0].reason == "lease_expired"
    assert record.attempts[0].verdict == "too_late"
    assert record.attempts[0].result.output == b"late"


def test_a_late_result_is_kept_even_if_nobody_has_swept_yet(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    assert not handle.transact(lambda tx: tx.tasks.record_late(lease, result()))
    handle.advance(LEASE_MS)
    assert not handle.transact(lambda tx: tx.tasks.record_result(lease, result(b"late")))
    assert handle.transact(lambda tx: tx.tasks.record_late(lease, result(b"late")))

    def sweep(tx):
        assert tx.tasks.expire(10) == [lease]
        tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=0)

    handle.transact(sweep)
    assert load(handle, 1).attempts[0].result.output == b"late"
    assert handle.grant(1, to="next").epoch == 2


def test_a_slot_that_lost_its_lease_cannot_be_left_hanging(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    with pytest.raises(RuntimeError, match="left leased"):
        handle.transact(lambda tx: tx.tasks.record_failure(lease, "trap", "", b""))
    assert handle.transact(lambda tx: tx.tasks.record_result(lease, result()))


def test_a_slot_under_a_live_lease_cannot_be_reopened(handle):
    handle.submit(new_task(1))
    handle.grant(1)
    with pytest.raises(IllegalTransitionError):
        handle.transact(lambda tx: tx.tasks.reopen_slot(task_id(1), 0, not_before_ms=0))
