"""What a node believes about its leases, by its own monotonic clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.execution.seed import random_seed
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.nodes.agent import (
    RECONNECT_CAP_MS,
    HeldLeases,
    Latency,
    Smoothed,
    reconnect_delay_ms,
)
from ambient_vcp.domain.tasks.spec import LeaseRef

LEASE_MS = 30_000


def a_ref(number: int = 1, epoch: int = 1) -> LeaseRef:
    return LeaseRef(task_id=TaskId(f"task-{number}"), slot=0, epoch=epoch, node_id=NodeId("node-a"))


def held_with(*refs: LeaseRef, at_ms: int = 1_000, cells_max: int = 4) -> HeldLeases:
    held = HeldLeases(cells_max)
    for ref in refs:
        held.add(ref, LEASE_MS, at_ms)
    return held


def test_a_lease_is_due_after_a_third_and_not_before() -> None:
    held = held_with(a_ref())

    assert held.due(10_999) == ()
    assert held.due(11_000) == (a_ref(),)


def test_one_due_lease_brings_the_others_along_in_one_request() -> None:
    held = held_with(a_ref(1))
    held.add(a_ref(2), LEASE_MS, 5_000)

    assert held.due(11_000) == (a_ref(1), a_ref(2))


def test_a_renewal_counts_from_when_it_was_sent_not_from_when_it_was_answered() -> None:
    held = held_with(a_ref())

    held.renewed(a_ref(), LEASE_MS, sent_at_ms=11_000)

    assert held.expired(40_999) == ()
    assert held.expired(41_000) == (a_ref(),)


def test_a_lease_without_renewal_expires_exactly_at_its_end() -> None:
    held = held_with(a_ref())

    assert held.expired(30_999) == ()
    assert held.expired(31_000) == (a_ref(),)


def test_a_renewal_that_comes_too_late_does_not_revive_an_ended_lease() -> None:
    held = held_with(a_ref())
    held.end(a_ref())

    held.renewed(a_ref(), LEASE_MS, sent_at_ms=11_000)

    assert a_ref() not in held


def test_a_finished_attempt_frees_its_cell_but_keeps_its_lease() -> None:
    held = held_with(a_ref(1), a_ref(2), cells_max=2)
    assert held.room == 0

    held.finished(a_ref(1))

    assert held.room == 1
    assert held.due(11_000) == (a_ref(1), a_ref(2))


def test_a_renewed_lease_stays_finished() -> None:
    held = held_with(a_ref())
    held.finished(a_ref())

    held.renewed(a_ref(), LEASE_MS, sent_at_ms=11_000)

    assert held.working == 0


def test_another_epoch_of_the_same_slot_is_another_lease() -> None:
    held = held_with(a_ref(epoch=1))

    assert held.unknown_of([a_ref(epoch=1), a_ref(epoch=2)]) == (a_ref(epoch=2),)


def test_an_empty_table_has_nothing_to_wake_for() -> None:
    assert HeldLeases(1).next_wake_ms() is None


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["add", "finish", "end"]))))
def test_room_is_never_negative_and_never_above_the_cells(
    steps: list[tuple[int, str]],
) -> None:
    held = HeldLeases(3)
    for number, step in steps:
        if step == "add":
            held.add(a_ref(number), LEASE_MS, 0)
        elif step == "finish":
            held.finished(a_ref(number))
        else:
            held.end(a_ref(number))
        assert 0 <= held.room <= 3
        assert held.working <= len(held)


@given(st.integers(1, 1_000_000), st.floats(0, 1, exclude_max=True))
def test_reconnecting_waits_longer_each_time_but_never_beyond_the_cap(
    failures: int, random_unit: float
) -> None:
    delay = reconnect_delay_ms(failures, random_unit)

    assert 250 <= delay <= RECONNECT_CAP_MS
    assert delay >= reconnect_delay_ms(failures, 0.0)


def test_latency_is_the_least_of_the_last_five_round_trips() -> None:
    latency = Latency()
    for sample in (3.0, 900.0, 40.0, 41.0, 42.0, 43.0):
        latency = latency.with_sample(sample)

    assert latency.value_ms == 40.0


def test_nothing_measured_is_unknown() -> None:
    assert Latency().value_ms is None
    assert Smoothed().value is None


def test_the_seed_of_a_task_is_stable_and_its_own() -> None:
    first, second = random_seed(TaskId("a")), random_seed(TaskId("b"))

    # From `sha256sum` over the two parts with their 8-byte lengths, written out by hand.
    assert first.hex() == "d1d752bb691ca9e42ccff4cd7a741759edb2c08069f5f449b3d1844dcfd27e1a"
    assert len(first) == 32
    assert first != second
