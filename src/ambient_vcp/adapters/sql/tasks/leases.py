"""Leases: granted, claimed, renewed, listed, expired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ambient_vcp.adapters.sql.session import Row, json_text
from ambient_vcp.adapters.sql.statement import Batch, Fragment, json_list, sql
from ambient_vcp.adapters.sql.stores.specs import load_specs
from ambient_vcp.adapters.sql.tasks.base import (
    ATTEMPT_OF_LEASE,
    HELD_BY_LEASE,
    LEASES,
    LIVE,
    Stage,
    lease_rows,
)
from ambient_vcp.adapters.sql.tasks.rows import SLOT_COLUMNS, slot_of
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, TaskState
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import Grant, NodeLease, WaitingSlot

_WAITING_TEXT = """SELECT {columns}, t.account_id, t.spec_digest, t.state, t.independence_waived
    FROM slots JOIN tasks t ON t.id = slots.task_id
    WHERE slots.state = 'waiting' AND slots.not_before_ms <= {now} AND {group}
    ORDER BY {order}, slots.task_id, slots.slot LIMIT :at_most"""
_WAITING = sql(
    _WAITING_TEXT,
    columns=SLOT_COLUMNS,
    group="t.finished_at_ms IS NULL AND t.state <> 'held' AND slots.purpose <> 'audit'",
    order="slots.waiting_since_ms",
)
_PATIENT = sql(
    _WAITING_TEXT,
    columns=SLOT_COLUMNS,
    group="(t.state = 'held' OR slots.purpose = 'audit')",
    order="slots.not_before_ms",
)
_PASS_OVER = sql(
    """UPDATE slots SET not_before_ms = {now} {from_rows}
    WHERE slots.task_id = @task_id AND slots.slot = @slot AND slots.state = 'waiting'""",
    batch=Batch(task_id="text", slot="int"),
)
_HISTORY = sql(
    """SELECT task_id, node_id, state FROM attempts WHERE task_id IN {ids}""",
    ids=json_list("ids"),
)
_GRANT = sql(
    """UPDATE slots SET state = 'leased', epoch = slots.epoch + 1, node_id = @node_id,
        granted_at_ms = {now}, lease_expires_at_ms = {now} + :lease_ms
    {from_rows}
    WHERE slots.task_id = @task_id AND slots.slot = @slot AND slots.state = 'waiting'
        AND (slots.purpose = 'audit' OR EXISTS (
            SELECT 1 FROM tasks t WHERE t.id = slots.task_id AND t.finished_at_ms IS NULL))
    RETURNING slots.task_id, slots.slot, slots.epoch, slots.purpose, slots.node_id,
        slots.granted_at_ms, slots.lease_expires_at_ms""",
    batch=Batch(task_id="text", slot="int", node_id="text"),
)
_OPEN_ATTEMPTS = sql(
    """INSERT INTO attempts (task_id, slot, epoch, purpose, node_id, state, granted_at_ms)
    {row} @task_id, @slot, @epoch, @purpose, @node_id, 'assigned', @granted_at_ms {end}""",
    batch=Batch(
        task_id="text",
        slot="int",
        epoch="int",
        purpose="text",
        node_id="text",
        granted_at_ms="int",
    ),
)
_START_ATTEMPTS = sql(
    """UPDATE attempts SET state = 'in_progress', started_at_ms = {now}
    {from_rows}
    WHERE {attempt} AND attempts.state = 'assigned'
        AND EXISTS (SELECT 1 FROM slots WHERE {held} AND {live})""",
    batch=LEASES,
    attempt=ATTEMPT_OF_LEASE,
    held=HELD_BY_LEASE,
    live=LIVE,
)
_LEASE_COLUMNS = (
    "slots.task_id, slots.slot, slots.epoch, slots.node_id, attempts.state, slots.granted_at_ms,"
    " slots.lease_expires_at_ms, t.spec_digest, slots.purpose, t.state"
)
_OF_SLOT = (
    "JOIN attempts ON attempts.task_id = slots.task_id AND attempts.slot = slots.slot"
    " AND attempts.epoch = slots.epoch JOIN tasks t ON t.id = slots.task_id"
)
_CLAIMED = sql(
    """SELECT {columns} FROM slots {joins} {join_rows}
    WHERE {held} AND {live}""",
    columns=_LEASE_COLUMNS,
    batch=LEASES,
    held=HELD_BY_LEASE,
    joins=_OF_SLOT,
    live=LIVE,
)
_OF_NODE = sql(
    """SELECT {columns} FROM slots {joins}
    WHERE slots.node_id = :node_id AND {live}
    ORDER BY slots.granted_at_ms, slots.task_id, slots.slot LIMIT :at_most""",
    columns=_LEASE_COLUMNS,
    joins=_OF_SLOT,
    live=LIVE,
)
_UNCLAIMED = sql(
    """SELECT slots.task_id, slots.slot, slots.epoch, slots.node_id FROM slots
    JOIN attempts ON attempts.task_id = slots.task_id AND attempts.slot = slots.slot
        AND attempts.epoch = slots.epoch
    WHERE slots.node_id = :node_id AND {live} AND attempts.state = 'assigned'
    ORDER BY slots.granted_at_ms, slots.task_id, slots.slot LIMIT :at_most""",
    live=LIVE,
)
_RENEW = sql(
    """UPDATE slots SET lease_expires_at_ms = {greatest}(slots.lease_expires_at_ms,
        {least}({now} + :lease_ms, slots.granted_at_ms + :lease_ms + (
            SELECT t.execution_ms FROM tasks t WHERE t.id = slots.task_id)))
    {from_rows} WHERE {held} AND {live}
    RETURNING slots.task_id, slots.slot, slots.lease_expires_at_ms""",
    batch=LEASES,
    held=HELD_BY_LEASE,
    live=LIVE,
)
_OVERDUE = sql(
    """SELECT slots.task_id, slots.slot, slots.epoch, slots.node_id
    FROM slots JOIN tasks t ON t.id = slots.task_id
    WHERE slots.lease_expires_at_ms <= {now}
    ORDER BY slots.lease_expires_at_ms LIMIT :at_most {lock_tasks}""",
    lock_tasks=Fragment("", "FOR NO KEY UPDATE OF t SKIP LOCKED"),
)
_LET_GO = sql(
    """UPDATE slots SET lease_expires_at_ms = NULL {from_rows}
    WHERE {held} AND slots.lease_expires_at_ms <= {now}
    RETURNING slots.task_id, slots.slot, slots.epoch, slots.node_id""",
    batch=LEASES,
    held=HELD_BY_LEASE,
)
_EXPIRE_ATTEMPTS = sql(
    """UPDATE attempts SET state = 'expired', reason = 'lease_expired', finished_at_ms = {now}
    {from_rows}
    WHERE {attempt} AND attempts.state IN ('assigned', 'in_progress')""",
    batch=LEASES,
    attempt=ATTEMPT_OF_LEASE,
)

_LIVE_ATTEMPT = (AttemptState.ASSIGNED, AttemptState.IN_PROGRESS)
_LOST_ATTEMPT = (AttemptState.FAILED, AttemptState.EXPIRED)


def _lease_of(row: Row) -> LeaseRef:
    return LeaseRef(task_id=TaskId(row[0]), slot=row[1], epoch=row[2], node_id=NodeId(row[3]))


PATIENT_SHARE = 4
"""One patient slot (of a held task, or an audit) is looked at for every four others."""


class Leases(Stage):
    """Methods of the ``TaskStore`` port about who may work on what, until when."""

    __slots__ = ()

    def pass_over(self, slots: Sequence[tuple[TaskId, int]]) -> None:
        if slots:
            self._session.run_each(_PASS_OVER, [(task_id, slot) for task_id, slot in slots])

    def waiting_slots(self, at_most: int) -> list[WaitingSlot]:
        rows = self._session.rows(_WAITING, {"at_most": at_most})
        rows += self._session.rows(_PATIENT, {"at_most": max(1, at_most // PATIENT_SHARE)})
        if not rows:
            return []
        voted: defaultdict[str, set[NodeId]] = defaultdict(set)
        leased: defaultdict[str, set[NodeId]] = defaultdict(set)
        failed: defaultdict[str, set[NodeId]] = defaultdict(set)
        ids = json_text(sorted({row[0] for row in rows}))
        for task_id, node_id, state in self._session.rows(_HISTORY, {"ids": ids}):
            # A late result is evidence, not a vote: its node may try again.
            if state == AttemptState.COMPLETED:
                voted[task_id].add(node_id)
            elif state in _LIVE_ATTEMPT:
                leased[task_id].add(node_id)
            elif state in _LOST_ATTEMPT:
                failed[task_id].add(node_id)
        specs = load_specs(self._session, self._work.specs, [row[10] for row in rows])
        return [
            WaitingSlot(
                slot=slot_of(row),
                spec=specs[row[10]],
                account_id=AccountId(row[9]),
                task_state=TaskState(row[11]),
                voted=frozenset(voted[row[0]]),
                leased=frozenset(leased[row[0]]),
                failed=frozenset(failed[row[0]]),
                independence_waived=bool(row[12]),
            )
            for row in rows
        ]

    def grant(self, choices: Sequence[tuple[TaskId, int, NodeId]], *, lease_ms: int) -> list[Grant]:
        if not choices:
            return []
        self._work.lock_tasks(choice[0] for choice in choices)
        rows = self._session.rows_each(_GRANT, choices, {"lease_ms": lease_ms})
        if rows:
            self._session.run_each(_OPEN_ATTEMPTS, [row[:6] for row in rows])
        return [
            Grant(
                lease=LeaseRef(
                    task_id=TaskId(row[0]), slot=row[1], epoch=row[2], node_id=NodeId(row[4])
                ),
                granted_at_ms=row[5],
                expires_at_ms=row[6],
            )
            for row in rows
        ]

    def claim(self, leases: Sequence[LeaseRef]) -> list[NodeLease]:
        if not leases:
            return []
        self._work.lock_tasks(lease.task_id for lease in leases)
        unique = list(dict.fromkeys(leases))
        batch_rows = lease_rows(unique)
        self._session.run_each(_START_ATTEMPTS, batch_rows)
        found = {
            item.lease: item
            for item in self._node_leases(self._session.rows_each(_CLAIMED, batch_rows))
        }
        return [found[lease] for lease in unique if lease in found]

    def renew(self, leases: Sequence[LeaseRef], *, lease_ms: int) -> dict[tuple[TaskId, int], int]:
        if not leases:
            return {}
        self._work.lock_tasks(lease.task_id for lease in leases)
        rows = self._session.rows_each(_RENEW, lease_rows(leases), {"lease_ms": lease_ms})
        return {(TaskId(task_id), slot): expires_at_ms for task_id, slot, expires_at_ms in rows}

    def node_leases(self, node_id: NodeId, at_most: int) -> list[NodeLease]:
        return self._node_leases(
            self._session.rows(_OF_NODE, {"node_id": node_id, "at_most": at_most})
        )

    def unclaimed(self, node_id: NodeId, at_most: int) -> list[LeaseRef]:
        rows = self._session.rows(_UNCLAIMED, {"node_id": node_id, "at_most": at_most})
        return [_lease_of(row) for row in rows]

    def _node_leases(self, rows: Sequence[Row]) -> list[NodeLease]:
        specs = load_specs(self._session, self._work.specs, [row[7] for row in rows])
        return [
            NodeLease(
                lease=_lease_of(row),
                claimed=row[4] == AttemptState.IN_PROGRESS,
                granted_at_ms=row[5],
                expires_at_ms=row[6],
                spec=specs[row[7]],
                purpose=SlotPurpose(row[8]),
                task_state=TaskState(row[9]),
            )
            for row in rows
        ]

    def expire(self, at_most: int) -> list[LeaseRef]:
        overdue = self._session.rows(_OVERDUE, {"at_most": at_most})
        if not overdue:
            return []
        self._work.locked.update(TaskId(row[0]) for row in overdue)
        ended = self._session.rows_each(_LET_GO, overdue)
        if ended:
            self._session.run_each(_EXPIRE_ATTEMPTS, ended)
        self._work.loose_slots.update((TaskId(row[0]), row[1]) for row in ended)
        return [_lease_of(row) for row in ended]
