"""Rows of tasks, slots and attempts as domain values."""

from __future__ import annotations

from collections.abc import Mapping

from ambient_vcp.adapters.sql.session import Row
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState, TaskState
from ambient_vcp.domain.tasks.records import Attempt, Hold, Slot, Task
from ambient_vcp.domain.tasks.spec import TaskSpec
from ambient_vcp.wire.attempt_result import result_from_json

TASK_COLUMNS = (
    "id, account_id, spec_digest, state, created_at_ms, updated_at_ms, next_check_at_ms,"
    " finished_at_ms, hold_code, hold_reason, reason, detail, accepted_slot, accepted_epoch,"
    " decision, assurance, independence_waived, sealed, archived"
)
SLOT_COLUMNS = (
    "slots.task_id, slots.slot, slots.purpose, slots.state, slots.epoch, slots.node_id,"
    " slots.lease_expires_at_ms, slots.not_before_ms, slots.waiting_since_ms"
)
ATTEMPT_COLUMNS = (
    "task_id, slot, epoch, purpose, node_id, state, granted_at_ms, started_at_ms,"
    " finished_at_ms, reason, detail, verdict, result, log"
)
SPEC_DIGEST_AT = 2
"""Position of the specification's digest in a row of ``TASK_COLUMNS``."""


def task_of(row: Row, specs: Mapping[str, TaskSpec]) -> Task:
    return Task(
        id=TaskId(row[0]),
        account_id=AccountId(row[1]),
        spec=specs[row[SPEC_DIGEST_AT]],
        state=TaskState(row[3]),
        created_at_ms=row[4],
        updated_at_ms=row[5],
        next_check_at_ms=row[6],
        finished_at_ms=row[7],
        hold=None if row[8] is None else Hold(code=row[8], reason=row[9] or ""),
        reason=row[10],
        detail=row[11],
        accepted=None if row[12] is None else (row[12], row[13]),
        decision=row[14],
        assurance=row[15],
        independence_waived=bool(row[16]),
        sealed=bool(row[17]),
        archived=bool(row[18]),
    )


def slot_of(row: Row) -> Slot:
    return Slot(
        task_id=TaskId(row[0]),
        index=row[1],
        purpose=SlotPurpose(row[2]),
        state=SlotState(row[3]),
        lease_epoch=row[4],
        node_id=None if row[5] is None else NodeId(row[5]),
        lease_expires_at_ms=row[6],
        not_before_ms=row[7],
        waiting_since_ms=row[8],
    )


def attempt_of(row: Row) -> Attempt:
    return Attempt(
        task_id=TaskId(row[0]),
        slot=row[1],
        epoch=row[2],
        purpose=SlotPurpose(row[3]),
        node_id=NodeId(row[4]),
        state=AttemptState(row[5]),
        granted_at_ms=row[6],
        started_at_ms=row[7],
        finished_at_ms=row[8],
        reason=row[9],
        detail=row[10],
        verdict=row[11],
        result=None if row[12] is None else result_from_json(row[12]),
        log=b"" if row[13] is None else bytes(row[13]),
    )
