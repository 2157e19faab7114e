"""Keep a live task's state and next wake-up in step with its slots."""

from __future__ import annotations

from ambient_vcp.domain.tasks.deadlines import next_deadline_ms
from ambient_vcp.domain.tasks.lifecycle import (
    LIVE_STATES,
    AttemptState,
    SlotPurpose,
    TaskState,
    live_state,
)
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.ports.store import TaskUpdate, Transaction


def next_check_ms(record: TaskRecord) -> int:
    """When the sweeper must look at this task again, at the latest."""
    return next_deadline_ms(record)


def refresh_state(tx: Transaction, record: TaskRecord) -> TaskState:
    """Recompute the state of a live task from its slots and store it when it changed."""
    task = record.task
    if task.state not in LIVE_STATES:
        return task.state
    claimed = {
        attempt.slot for attempt in record.attempts if attempt.state is AttemptState.IN_PROGRESS
    }
    has_votes = any(
        attempt.state is AttemptState.COMPLETED and attempt.purpose is not SlotPurpose.AUDIT
        for attempt in record.attempts
    )
    slots = tuple((slot.state, slot.index in claimed) for slot in record.slots)
    state = live_state(slots, has_votes=has_votes, held=task.state is TaskState.HELD)
    check_at_ms = next_check_ms(record)
    if state is not task.state or check_at_ms != task.next_check_at_ms:
        tx.tasks.update(
            TaskUpdate(
                task_id=task.id,
                expected=frozenset({task.state}),
                state=state,
                next_check_at_ms=check_at_ms,
                clear_hold=state is not TaskState.HELD,
            )
        )
    return state
