"""Execute a completed task again on another node."""

from __future__ import annotations

from ambient_vcp.domain.ids import TaskId
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, SlotState
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.ports.store import NewSlot, Transaction
from ambient_vcp.services.record import audit


def open_audit(tx: Transaction, task_id: TaskId, count: int) -> None:
    """Open ``count`` audit slots. To the nodes they look like any other work."""
    slot = NewSlot(task_id=task_id, purpose=SlotPurpose.AUDIT, not_before_ms=tx.now_ms())
    tx.tasks.add_slots([slot] * count)
    audit.record(tx, "task.audit_opened", actor="control-plane", subject=task_id)


def is_open(record: TaskRecord) -> bool:
    """Whether an audit of the task is under way already."""
    return any(
        slot.purpose is SlotPurpose.AUDIT and slot.state in (SlotState.WAITING, SlotState.LEASED)
        for slot in record.slots
    )
