"""The three timeouts of a task: in the queue, in one execution, in all."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, SlotState
from ambient_vcp.domain.tasks.records import Slot, TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """Which timeout passed. ``reason`` is stable; it becomes the task's reason."""

    reason: str
    detail: str


def _waiting(record: TaskRecord) -> list[Slot]:
    return [
        slot
        for slot in record.slots
        if slot.state is SlotState.WAITING and slot.purpose is not SlotPurpose.AUDIT
    ]


def timed_out(record: TaskRecord, now_ms: int) -> TimedOut | None:
    """The timeout that ends the task now, if one does.

    The queue timeout runs for each slot from when it began to wait; time on a node does not count.
    """
    task, timeouts = record.task, record.task.spec.timeouts
    if now_ms - task.created_at_ms >= timeouts.total_ms:
        return TimedOut(
            reason="total_timeout", detail=f"not finished within {timeouts.total_ms} ms"
        )
    if any(now_ms - slot.waiting_since_ms >= timeouts.queue_ms for slot in _waiting(record)):
        return TimedOut(
            reason="queue_timeout", detail=f"no node took it within {timeouts.queue_ms} ms"
        )
    return None


def next_deadline_ms(record: TaskRecord) -> int:
    """The earliest time at which :func:`timed_out` could answer something, if nothing happens."""
    task, timeouts = record.task, record.task.spec.timeouts
    deadlines = [task.created_at_ms + timeouts.total_ms]
    deadlines += [slot.waiting_since_ms + timeouts.queue_ms for slot in _waiting(record)]
    return min(deadlines)
