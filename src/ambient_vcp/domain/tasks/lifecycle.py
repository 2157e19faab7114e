"""What a task and an attempt can become. What is not in a table here cannot happen."""

from __future__ import annotations

from enum import StrEnum

from ambient_vcp.domain.errors import IllegalTransitionError


class TaskState(StrEnum):
    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    VERIFYING = "verifying"
    HELD = "held"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SlotState(StrEnum):
    """A slot waits for a node, is leased to one, holds a result, or is no longer needed."""

    WAITING = "waiting"
    LEASED = "leased"
    FILLED = "filled"
    CLOSED = "closed"


class SlotPurpose(StrEnum):
    PRIMARY = "primary"
    DECIDER = "decider"
    AUDIT = "audit"


class AttemptState(StrEnum):
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


_ENDINGS = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})

TASK_MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset(
        {TaskState.ASSIGNED, TaskState.RUNNING, TaskState.VERIFYING, TaskState.HELD} | _ENDINGS
    ),
    TaskState.ASSIGNED: frozenset(
        {TaskState.RUNNING, TaskState.VERIFYING, TaskState.PENDING} | _ENDINGS
    ),
    TaskState.RUNNING: frozenset(
        {TaskState.VERIFYING, TaskState.ASSIGNED, TaskState.PENDING} | _ENDINGS
    ),
    TaskState.VERIFYING: frozenset(
        {TaskState.RUNNING, TaskState.ASSIGNED, TaskState.PENDING, TaskState.HELD} | _ENDINGS
    ),
    TaskState.HELD: frozenset(
        {TaskState.ASSIGNED, TaskState.RUNNING, TaskState.VERIFYING, TaskState.PENDING} | _ENDINGS
    ),
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}

ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.ASSIGNED: frozenset(
        {
            AttemptState.IN_PROGRESS,
            AttemptState.COMPLETED,
            AttemptState.FAILED,
            AttemptState.EXPIRED,
            AttemptState.SUPERSEDED,
        }
    ),
    AttemptState.IN_PROGRESS: frozenset(
        {
            AttemptState.COMPLETED,
            AttemptState.FAILED,
            AttemptState.EXPIRED,
            AttemptState.SUPERSEDED,
        }
    ),
    AttemptState.COMPLETED: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.EXPIRED: frozenset(),
    AttemptState.SUPERSEDED: frozenset(),
}

TERMINAL_STATES = frozenset(state for state, moves in TASK_MOVES.items() if not moves)
LIVE_STATES = frozenset(TaskState) - TERMINAL_STATES
ENDED_ATTEMPTS = frozenset(state for state, moves in ATTEMPT_MOVES.items() if not moves)


def check_task_move(state: TaskState, to: TaskState) -> TaskState:
    """Return ``to`` if a task may go there.

    Raises:
        IllegalTransitionError: the move is not in the table.
    """
    if to not in TASK_MOVES[state]:
        raise IllegalTransitionError(machine="task", state=state, event=f"become {to}")
    return to


def check_attempt_move(state: AttemptState, to: AttemptState) -> AttemptState:
    """The same for an attempt."""
    if to not in ATTEMPT_MOVES[state]:
        raise IllegalTransitionError(machine="attempt", state=state, event=f"become {to}")
    return to


def live_state(
    slots: tuple[tuple[SlotState, bool], ...], *, has_votes: bool, held: bool
) -> TaskState:
    """The state of a task that has not ended, from its open slots.

    Args:
        slots: For each slot its state and whether its live attempt was claimed.
        has_votes: whether any result was recorded.
        held: whether placement found that no node of the registry could ever serve it.
    """
    if any(state is SlotState.LEASED and claimed for state, claimed in slots):
        return TaskState.RUNNING
    if any(state is SlotState.LEASED for state, _ in slots):
        return TaskState.ASSIGNED
    if held:
        return TaskState.HELD
    return TaskState.VERIFYING if has_votes else TaskState.PENDING
