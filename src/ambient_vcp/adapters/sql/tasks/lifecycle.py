"""Tasks change state, end, are judged later, sealed and archived."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.adapters.sql.session import json_text
from ambient_vcp.adapters.sql.statement import LOCK_FREE_ONES, Batch, json_list, sql
from ambient_vcp.adapters.sql.tasks.base import Stage, storable
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import TERMINAL_STATES
from ambient_vcp.ports.store import TaskUpdate

_DUE = """SELECT id FROM tasks WHERE finished_at_ms IS NULL AND next_check_at_ms <= {now}
    ORDER BY next_check_at_ms, id LIMIT :at_most {locking}"""
_UNSEALED = """SELECT id FROM tasks WHERE finished_at_ms IS NOT NULL AND sealed = 0
    ORDER BY finished_at_ms, id LIMIT :at_most {locking}"""
_DUE_TO_READ = sql(_DUE, locking="")
_DUE_TO_CHANGE = sql(_DUE, locking=LOCK_FREE_ONES)
_UNSEALED_TO_READ = sql(_UNSEALED, locking="")
_UNSEALED_TO_CHANGE = sql(_UNSEALED, locking=LOCK_FREE_ONES)
_CHANGE = """UPDATE tasks SET state = :state, next_check_at_ms = :next_check_at_ms,
        updated_at_ms = {now},
        finished_at_ms = CASE WHEN :finished = 1 THEN {now} ELSE finished_at_ms END,
        hold_code = CASE WHEN :clear_hold = 1 THEN NULL ELSE coalesce(:hold_code, hold_code) END,
        hold_reason = CASE WHEN :clear_hold = 1 THEN NULL
            ELSE coalesce(:hold_reason, hold_reason) END,
        reason = coalesce(:reason, reason), detail = coalesce(:detail, detail),
        decision = coalesce(:decision, decision), assurance = coalesce(:assurance, assurance)
        {accept}
    WHERE id = :id AND finished_at_ms IS NULL AND state IN {expected}"""
_ACCEPT = """, accepted_slot = :slot, accepted_epoch = :epoch, accepted_node_id = (
        SELECT a.node_id FROM attempts a WHERE a.task_id = tasks.id AND a.slot = :slot
            AND a.epoch = :epoch AND a.state = 'completed')"""
_UPDATE = sql(_CHANGE, accept="", expected=json_list("expected"))
_UPDATE_AND_ACCEPT = sql(_CHANGE, accept=_ACCEPT, expected=json_list("expected"))
_ASSURE = sql(
    """UPDATE tasks SET assurance = :assurance, updated_at_ms = {now}
    WHERE id = :id AND accepted_node_id IS NOT NULL AND finished_at_ms IS NOT NULL"""
)
_JUDGE = sql(
    """UPDATE attempts SET verdict = @verdict {from_rows}
    WHERE attempts.task_id = :task_id AND attempts.slot = @slot AND attempts.epoch = @epoch""",
    batch=Batch(slot="int", epoch="int", verdict="text"),
)
_PROVISIONAL = sql(
    """SELECT id FROM tasks WHERE assurance = 'provisional' AND accepted_node_id = :node_id
        AND finished_at_ms IS NOT NULL ORDER BY created_at_ms, id LIMIT :at_most"""
)
_SEAL = sql(
    "UPDATE tasks SET sealed = 1 WHERE id IN {ids} AND finished_at_ms IS NOT NULL",
    ids=json_list("ids"),
)
_ARCHIVE = sql("UPDATE tasks SET archived = 1 WHERE id = :id AND finished_at_ms IS NOT NULL")


class Lifecycle(Stage):
    """Methods of the ``TaskStore`` port that move the task itself."""

    __slots__ = ()

    def due(self, at_most: int) -> list[TaskId]:
        read_only = self._session.read_only
        rows = self._session.rows(
            _DUE_TO_READ if read_only else _DUE_TO_CHANGE, {"at_most": at_most}
        )
        return self._ids_locked(rows)

    def unsealed(self, at_most: int) -> list[TaskId]:
        read_only = self._session.read_only
        rows = self._session.rows(
            _UNSEALED_TO_READ if read_only else _UNSEALED_TO_CHANGE, {"at_most": at_most}
        )
        return self._ids_locked(rows)

    def _ids_locked(self, rows: Sequence[tuple[str, ...]]) -> list[TaskId]:
        ids = [TaskId(row[0]) for row in rows]
        if not self._session.read_only:
            self._work.locked.update(ids)
        return ids

    def update(self, update: TaskUpdate) -> bool:
        self._work.lock_tasks([update.task_id])
        hold = update.hold
        values = {
            "id": update.task_id,
            "expected": json_text(sorted(update.expected)),
            "state": str(update.state),
            "next_check_at_ms": update.next_check_at_ms,
            "finished": int(update.finished or update.state in TERMINAL_STATES),
            "clear_hold": int(update.clear_hold),
            "hold_code": hold.code if hold else None,
            "hold_reason": storable(hold.reason) if hold else None,
            "reason": None if update.reason is None else storable(update.reason),
            "detail": None if update.detail is None else storable(update.detail),
            "decision": update.decision,
            "assurance": update.assurance,
        }
        if update.accepted is None:
            return self._session.run(_UPDATE, values) == 1
        slot, epoch = update.accepted
        return self._session.run(_UPDATE_AND_ACCEPT, {**values, "slot": slot, "epoch": epoch}) == 1

    def set_assurance(self, task_id: TaskId, assurance: str) -> None:
        self._work.lock_tasks([task_id])
        self._session.run(_ASSURE, {"id": task_id, "assurance": assurance})

    def set_verdicts(self, task_id: TaskId, verdicts: dict[tuple[int, int], str]) -> None:
        if not verdicts:
            return
        self._work.lock_tasks([task_id])
        rows = [(slot, epoch, verdict) for (slot, epoch), verdict in verdicts.items()]
        self._session.run_each(_JUDGE, rows, {"task_id": task_id})

    def provisional_of_node(self, node_id: NodeId, at_most: int) -> list[TaskId]:
        rows = self._session.rows(_PROVISIONAL, {"node_id": node_id, "at_most": at_most})
        return [TaskId(row[0]) for row in rows]

    def mark_sealed(self, task_ids: Sequence[TaskId]) -> None:
        if task_ids:
            self._work.lock_tasks(task_ids)
            self._session.run(_SEAL, {"ids": json_text(task_ids)})

    def archive(self, task_id: TaskId) -> None:
        self._work.lock_tasks([task_id])
        self._session.run(_ARCHIVE, {"id": task_id})
