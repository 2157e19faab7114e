"""Results and failures, each under the lease that allows them."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.adapters.sql.statement import Batch, sql
from ambient_vcp.adapters.sql.tasks.base import (
    ATTEMPT_OF_LEASE,
    HELD_BY_LEASE,
    LEASES,
    LIVE,
    Stage,
    lease_rows,
    storable,
)
from ambient_vcp.domain.tasks.records import AttemptResult
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.wire.attempt_result import result_to_json

_FILL = sql(
    """UPDATE slots SET state = 'filled', lease_expires_at_ms = NULL {from_rows}
    WHERE {held} AND {live} RETURNING slots.task_id, slots.slot, slots.epoch""",
    batch=LEASES,
    held=HELD_BY_LEASE,
    live=LIVE,
)
_COMPLETE = sql(
    """UPDATE attempts SET state = 'completed', finished_at_ms = {now}, result = @result
    {from_rows}
    WHERE {attempt} AND attempts.state IN ('assigned', 'in_progress')""",
    batch=Batch(task_id="text", slot="int", epoch="int", node_id="text", result="text"),
    attempt=ATTEMPT_OF_LEASE,
)
_LET_GO = sql(
    """UPDATE slots SET lease_expires_at_ms = NULL {from_rows}
    WHERE {held} AND {live}""",
    batch=LEASES,
    held=HELD_BY_LEASE,
    live=LIVE,
)
_OF_ATTEMPT = "task_id = :task_id AND slot = :slot AND epoch = :epoch AND node_id = :node_id"
_FAIL = sql(
    """UPDATE attempts SET state = 'failed', finished_at_ms = {now}, reason = :reason,
        detail = :detail, log = :log
    WHERE {of_attempt} AND state IN ('assigned', 'in_progress')""",
    of_attempt=_OF_ATTEMPT,
)
_END_OVERDUE = sql(
    """UPDATE attempts SET state = 'expired', reason = 'lease_expired', finished_at_ms = {now}
    WHERE {of_attempt} AND state IN ('assigned', 'in_progress')
        AND NOT EXISTS (SELECT 1 FROM slots WHERE slots.task_id = attempts.task_id
            AND slots.slot = attempts.slot AND slots.epoch = attempts.epoch AND {live})""",
    of_attempt=_OF_ATTEMPT,
    live=LIVE,
)
_KEEP_LATE = sql(
    """UPDATE attempts SET result = :result, verdict = 'too_late'
    WHERE {of_attempt} AND state IN ('expired', 'superseded') AND result IS NULL""",
    of_attempt=_OF_ATTEMPT,
)


class Results(Stage):
    """Methods of the ``TaskStore`` port that end attempts."""

    __slots__ = ()

    def record_result(self, lease: LeaseRef, result: AttemptResult) -> bool:
        return self.record_results([(lease, result)])[0]

    def record_results(self, results: Sequence[tuple[LeaseRef, AttemptResult]]) -> list[bool]:
        if not results:
            return []
        first: dict[LeaseRef, tuple[int, str]] = {}
        for position, (lease, result) in enumerate(results):
            if lease not in first:
                first[lease] = (position, result_to_json(result).decode())
        self._work.lock_tasks(lease.task_id for lease in first)
        filled = {tuple(row) for row in self._session.rows_each(_FILL, lease_rows(list(first)))}
        kept = {
            lease: entry
            for lease, entry in first.items()
            if (lease.task_id, lease.slot, lease.epoch) in filled
        }
        if kept:
            rows = [
                (lease.task_id, lease.slot, lease.epoch, lease.node_id, text)
                for lease, (_, text) in kept.items()
            ]
            self._session.run_each(_COMPLETE, rows)
        recorded = {position for position, _ in kept.values()}
        return [position in recorded for position in range(len(results))]

    def record_failure(self, lease: LeaseRef, reason: str, detail: str, log: bytes) -> bool:
        self._work.lock_tasks([lease.task_id])
        if not self._session.run_each(_LET_GO, lease_rows([lease])):
            return False
        self._session.run(
            _FAIL,
            {
                **_values(lease),
                "reason": storable(reason),
                "detail": storable(detail),
                "log": log or None,
            },
        )
        self._work.loose_slots.add((lease.task_id, lease.slot))
        return True

    def record_late(self, lease: LeaseRef, result: AttemptResult) -> bool:
        self._work.lock_tasks([lease.task_id])
        # The lease may be over without the sweep having come by: its result is late all the same.
        self._session.run(_END_OVERDUE, _values(lease))
        late = {**_values(lease), "result": result_to_json(result).decode()}
        return self._session.run(_KEEP_LATE, late) == 1


def _values(lease: LeaseRef) -> dict[str, object]:
    return {
        "task_id": lease.task_id,
        "slot": lease.slot,
        "epoch": lease.epoch,
        "node_id": lease.node_id,
    }
