"""Slots open again, close, and are added."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.adapters.sql.statement import sql
from ambient_vcp.adapters.sql.tasks.base import Stage
from ambient_vcp.adapters.sql.tasks.rows import SLOT_COLUMNS, slot_of
from ambient_vcp.domain.errors import IllegalTransitionError, NotFoundError
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.records import Slot
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import NewSlot

_REOPEN = sql(
    """UPDATE slots SET state = 'waiting', not_before_ms = :not_before_ms,
        waiting_since_ms = {now}
    WHERE task_id = :task_id AND slot = :slot AND state = 'leased'
        AND lease_expires_at_ms IS NULL"""
)
_LEASED = sql(
    """SELECT task_id, slot, epoch, node_id FROM slots
    WHERE task_id = :task_id AND lease_expires_at_ms IS NOT NULL ORDER BY slot"""
)
_SUPERSEDE = sql(
    """UPDATE attempts SET state = 'superseded', finished_at_ms = {now}
    WHERE task_id = :task_id AND state IN ('assigned', 'in_progress')"""
)
_CLOSE = sql(
    """UPDATE slots SET state = 'closed', lease_expires_at_ms = NULL
    WHERE task_id = :task_id AND state IN ('waiting', 'leased')"""
)
_ADD = sql(
    """INSERT INTO slots (task_id, slot, purpose, state, not_before_ms, waiting_since_ms)
    SELECT t.id, (SELECT coalesce(max(s.slot) + 1, 0) FROM slots s WHERE s.task_id = t.id),
        :purpose, 'waiting', :not_before_ms, {now}
    FROM tasks t WHERE t.id = :task_id
    RETURNING {columns}""",
    columns=SLOT_COLUMNS.replace("slots.", ""),
)


class Slots(Stage):
    """Methods of the ``TaskStore`` port that change which slots are wanted."""

    __slots__ = ()

    def reopen_slot(self, task_id: TaskId, slot: int, *, not_before_ms: int) -> None:
        self._work.lock_tasks([task_id])
        values = {"task_id": task_id, "slot": slot, "not_before_ms": not_before_ms}
        if not self._session.run(_REOPEN, values):
            raise IllegalTransitionError(
                machine="slot", state="not leased, or under a live lease", event="become waiting"
            )
        self._work.loose_slots.discard((task_id, slot))

    def close_slots(self, task_id: TaskId) -> list[LeaseRef]:
        self._work.lock_tasks([task_id])
        of_task = {"task_id": task_id}
        leased = self._session.rows(_LEASED, of_task)
        if leased:
            self._session.run(_SUPERSEDE, of_task)
        self._session.run(_CLOSE, of_task)
        self._work.loose_slots = {item for item in self._work.loose_slots if item[0] != task_id}
        return [
            LeaseRef(task_id=TaskId(row[0]), slot=row[1], epoch=row[2], node_id=NodeId(row[3]))
            for row in leased
        ]

    def add_slots(self, slots: Sequence[NewSlot]) -> list[Slot]:
        self._work.lock_tasks(slot.task_id for slot in slots)
        added = []
        for slot in slots:
            row = self._session.row(
                _ADD,
                {
                    "task_id": slot.task_id,
                    "purpose": str(slot.purpose),
                    "not_before_ms": slot.not_before_ms,
                },
            )
            if row is None:
                raise NotFoundError(kind="task", id=slot.task_id)
            added.append(slot_of(row))
        return added
