"""Tasks are looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ambient_vcp.adapters.sql.session import Row, json_text
from ambient_vcp.adapters.sql.statement import Statement, json_list, sql
from ambient_vcp.adapters.sql.stores.cursors import FIRST_PAGE, decode_cursor, encode_cursor
from ambient_vcp.adapters.sql.stores.specs import load_specs
from ambient_vcp.adapters.sql.tasks.base import Stage
from ambient_vcp.adapters.sql.tasks.rows import (
    ATTEMPT_COLUMNS,
    SLOT_COLUMNS,
    SPEC_DIGEST_AT,
    TASK_COLUMNS,
    attempt_of,
    slot_of,
    task_of,
)
from ambient_vcp.domain.ids import AccountId, TaskId
from ambient_vcp.domain.tasks.lifecycle import TaskState
from ambient_vcp.domain.tasks.records import Attempt, Slot, Task, TaskRecord
from ambient_vcp.domain.tasks.spec import TaskSpec
from ambient_vcp.ports.store import TaskPage

_IDS = json_list("ids")
_TASKS = sql("SELECT {columns} FROM tasks WHERE id IN {ids}", columns=TASK_COLUMNS, ids=_IDS)
_SLOTS = sql(
    "SELECT {columns} FROM slots WHERE task_id IN {ids} ORDER BY task_id, slot",
    columns=SLOT_COLUMNS,
    ids=_IDS,
)
_ATTEMPTS = sql(
    """SELECT {columns} FROM attempts WHERE task_id IN {ids}
    ORDER BY task_id, slot, epoch""",
    columns=ATTEMPT_COLUMNS,
    ids=_IDS,
)
_COUNTS = sql(
    """SELECT state, count(*) FROM tasks WHERE finished_at_ms IS NULL GROUP BY state
    UNION ALL
    SELECT state, count(*) FROM tasks WHERE finished_at_ms IS NOT NULL GROUP BY state"""
)


def _page_statement(condition: str) -> Statement:
    return sql(
        """SELECT {columns} FROM tasks
        WHERE archived = 0 AND (created_at_ms, id) < (:at_ms, :id) {condition}
        ORDER BY created_at_ms DESC, id DESC LIMIT :at_most""",
        columns=TASK_COLUMNS,
        condition=condition,
    )


_PAGES = {
    (False, False): _page_statement(""),
    (False, True): _page_statement("AND state = :state"),
    (True, False): _page_statement("AND account_id = :account_id"),
    (True, True): _page_statement("AND account_id = :account_id AND state = :state"),
}
"""By whether an account and a state are asked for."""


class Reading(Stage):
    """Methods of the ``TaskStore`` port that only read."""

    __slots__ = ()

    def _specs(self, digests: Sequence[str]) -> dict[str, TaskSpec]:
        return load_specs(self._session, self._work.specs, digests)

    def _tasks(self, rows: Sequence[Row]) -> list[Task]:
        specs = self._specs([row[SPEC_DIGEST_AT] for row in rows])
        return [task_of(row, specs) for row in rows]

    def load(self, task_ids: Sequence[TaskId], *, lock: bool = False) -> dict[TaskId, TaskRecord]:
        if not task_ids:
            return {}
        if lock:
            self._work.lock_tasks(task_ids)
        ids = {"ids": json_text(task_ids)}
        slots: defaultdict[str, list[Slot]] = defaultdict(list)
        attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
        tasks = self._tasks(self._session.rows(_TASKS, ids))
        for row in self._session.rows(_SLOTS, ids):
            slots[row[0]].append(slot_of(row))
        for row in self._session.rows(_ATTEMPTS, ids):
            attempts[row[0]].append(attempt_of(row))
        return {
            task.id: TaskRecord(
                task=task, slots=tuple(slots[task.id]), attempts=tuple(attempts[task.id])
            )
            for task in tasks
        }

    def page(
        self,
        account_id: AccountId | None,
        *,
        state: TaskState | None,
        cursor: str | None,
        at_most: int,
    ) -> TaskPage:
        at_ms, last_id = FIRST_PAGE if cursor is None else decode_cursor(cursor)
        values: dict[str, object] = {"at_ms": at_ms, "id": last_id, "at_most": at_most + 1}
        if account_id is not None:
            values["account_id"] = account_id
        if state is not None:
            values["state"] = str(state)
        statement = _PAGES[account_id is not None, state is not None]
        rows = self._session.rows(statement, values)
        tasks = self._tasks(rows[:at_most])
        more = len(rows) > at_most and tasks
        return TaskPage(
            tasks=tuple(tasks),
            next_cursor=encode_cursor(tasks[-1].created_at_ms, tasks[-1].id) if more else None,
        )

    def counts(self) -> dict[str, int]:
        return dict(self._session.rows(_COUNTS))
