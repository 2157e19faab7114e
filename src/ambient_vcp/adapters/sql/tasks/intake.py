"""Tasks come in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ambient_vcp.adapters.sql.statement import Batch, sql
from ambient_vcp.adapters.sql.stores.specs import encode, insert_specs
from ambient_vcp.adapters.sql.tasks.base import Stage
from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.tasks.spec import NewTask

_INSERT_TASKS = sql(
    """INSERT INTO tasks (id, account_id, spec_digest, state, created_at_ms, updated_at_ms,
        next_check_at_ms, execution_ms, independence_waived)
    {row} @id, @account_id, @spec_digest, 'pending', {now}, {now}, {now} + @wait_ms,
        @execution_ms, CAST(:waived AS int) {end}
    ON CONFLICT DO NOTHING""",
    batch=Batch(
        id="text", account_id="text", spec_digest="text", wait_ms="int", execution_ms="int"
    ),
)
_INSERT_SLOTS = sql(
    """INSERT INTO slots (task_id, slot, purpose, state, not_before_ms, waiting_since_ms)
    {row} @task_id, @slot, 'primary', 'waiting', {now}, {now} {end}""",
    batch=Batch(task_id="text", slot="int"),
)


class Intake(Stage):
    """Methods of the ``TaskStore`` port that store new tasks."""

    __slots__ = ()

    def insert(self, tasks: Sequence[NewTask], *, independence_waived: bool) -> None:
        rows = []
        slots = []
        encoded = encode([task.spec for task in tasks])
        for task, known in zip(tasks, encoded, strict=True):
            spec = task.spec
            times = spec.timeouts
            wait_ms = min(times.queue_ms, times.total_ms)
            rows.append((task.id, task.account_id, known.digest, wait_ms, times.execution_ms))
            slots += [(task.id, index) for index in range(spec.verification.replicas)]
        if not rows:
            return
        fresh = insert_specs(self._session, self._work.specs, encoded)
        self._work.callbacks.append(partial(self._work.specs.add, fresh))
        waived = {"waived": int(independence_waived)}
        if self._session.run_each(_INSERT_TASKS, rows, waived) != len(rows):
            raise ConflictError(what="a task with this id exists", advice="Use a new id.")
        self._session.run_each(_INSERT_SLOTS, slots)
