"""The three timeouts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.tasks.deadlines import next_deadline_ms, timed_out
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, SlotState
from ambient_vcp.domain.tasks.spec import Timeouts
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import START_MS

TIMEOUTS = Timeouts(queue_ms=10_000, execution_ms=5_000, total_ms=60_000)


def task_with(*slots):
    return builders.record(builders.spec(timeouts=TIMEOUTS), slots=slots)


@pytest.mark.parametrize(("after_ms", "reason"), [(9_999, None), (10_000, "queue_timeout")])
def test_a_slot_may_wait_up_to_the_queue_timeout_and_not_longer(after_ms, reason):
    late = timed_out(task_with(builders.slot()), START_MS + after_ms)
    assert (late and late.reason) == reason


@pytest.mark.parametrize(("after_ms", "reason"), [(59_999, None), (60_000, "total_timeout")])
def test_the_total_timeout_runs_while_a_node_works(after_ms, reason):
    late = timed_out(task_with(builders.slot(state=SlotState.LEASED)), START_MS + after_ms)
    assert (late and late.reason) == reason


def test_time_on_a_node_does_not_count_as_waiting():
    again = builders.slot(waiting_since_ms=START_MS + 30_000)
    assert timed_out(task_with(again), START_MS + 39_999) is None
    assert timed_out(task_with(again), START_MS + 40_000).reason == "queue_timeout"


def test_an_audit_that_waits_never_ends_the_task():
    audit = builders.slot(purpose=SlotPurpose.AUDIT)
    assert timed_out(task_with(audit), START_MS + 50_000) is None


def test_the_total_timeout_is_named_when_both_have_passed():
    assert timed_out(task_with(builders.slot()), START_MS + 60_000).reason == "total_timeout"


SLOTS = st.lists(
    st.builds(
        lambda index, state, purpose, since: builders.slot(
            index, state=state, purpose=purpose, waiting_since_ms=START_MS + since
        ),
        st.integers(0, 9),
        st.sampled_from(SlotState),
        st.sampled_from(SlotPurpose),
        st.integers(0, 60_000),
    ),
    max_size=5,
)


@given(slots=SLOTS)
def test_nothing_times_out_before_the_next_deadline_and_something_does_at_it(slots):
    record = task_with(*slots)
    record = replace(record, slots=tuple(slots))
    deadline_ms = next_deadline_ms(record)
    assert timed_out(record, deadline_ms - 1) is None
    assert timed_out(record, deadline_ms) is not None
