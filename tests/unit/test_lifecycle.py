"""The transition tables: what can become what, and what never changes again."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import IllegalTransitionError
from ambient_vcp.domain.tasks.lifecycle import (
    ATTEMPT_MOVES,
    ENDED_ATTEMPTS,
    LIVE_STATES,
    TASK_MOVES,
    TERMINAL_STATES,
    AttemptState,
    SlotState,
    TaskState,
    check_attempt_move,
    check_task_move,
    live_state,
)

MACHINES = [
    (TaskState, TASK_MOVES, check_task_move, TERMINAL_STATES),
    (AttemptState, ATTEMPT_MOVES, check_attempt_move, ENDED_ATTEMPTS),
]


def reachable(moves, start):
    """Every state that some path of the table leads to."""
    seen, todo = {start}, [start]
    while todo:
        for state in moves[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_the_terminal_states_are_exactly_the_promised_ones():
    assert {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED} == TERMINAL_STATES
    assert frozenset(TaskState) - TERMINAL_STATES == LIVE_STATES
    assert set(ENDED_ATTEMPTS) == {
        AttemptState.COMPLETED,
        AttemptState.FAILED,
        AttemptState.EXPIRED,
        AttemptState.SUPERSEDED,
    }


@pytest.mark.parametrize(("states", "moves", "check", "ends"), MACHINES)
def test_a_terminal_state_is_never_left(states, moves, check, ends):
    for state, to in product(ends, states):
        with pytest.raises(IllegalTransitionError) as caught:
            check(state, to)
        assert caught.value.state == state


@pytest.mark.parametrize(("states", "moves", "check", "ends"), MACHINES)
def test_a_move_is_allowed_exactly_when_the_table_says_so(states, moves, check, ends):
    assert set(moves) == set(states)
    for state, to in product(states, states):
        if to in moves[state]:
            assert check(state, to) is to
        else:
            with pytest.raises(IllegalTransitionError):
                check(state, to)


@pytest.mark.parametrize(
    ("moves", "start"),
    [(TASK_MOVES, TaskState.PENDING), (ATTEMPT_MOVES, AttemptState.ASSIGNED)],
)
def test_every_state_is_reachable_from_the_first_one(moves, start):
    assert reachable(moves, start) == set(moves)


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_every_live_task_can_still_end_in_each_way(state):
    assert reachable(TASK_MOVES, state) >= TERMINAL_STATES


SLOTS = st.lists(st.tuples(st.sampled_from(SlotState), st.booleans()), max_size=6).map(tuple)


@given(slots=SLOTS, has_votes=st.booleans(), held=st.booleans())
def test_the_state_of_a_live_task_is_live_and_follows_its_busiest_slot(slots, has_votes, held):
    state = live_state(slots, has_votes=has_votes, held=held)
    assert state in LIVE_STATES
    leased = [claimed for slot, claimed in slots if slot is SlotState.LEASED]
    if leased:
        assert state is (TaskState.RUNNING if any(leased) else TaskState.ASSIGNED)
    elif held:
        assert state is TaskState.HELD
    else:
        assert state is (TaskState.VERIFYING if has_votes else TaskState.PENDING)


@given(
    before=SLOTS,
    after=SLOTS,
    votes_before=st.booleans(),
    votes_after=st.booleans(),
    held=st.booleans(),
)
def test_whatever_happens_to_the_slots_the_table_allows_the_new_state(
    before, after, votes_before, votes_after, held
):
    first = live_state(before, has_votes=votes_before, held=False)
    second = live_state(after, has_votes=votes_after or votes_before, held=False)
    if first is not second:
        assert check_task_move(first, second) is second
    if held and second is not TaskState.HELD:
        assert check_task_move(TaskState.HELD, second) is second
