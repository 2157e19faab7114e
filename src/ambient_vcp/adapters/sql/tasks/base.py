"""What every stage of the task store needs."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.adapters.sql.session import Row
from ambient_vcp.adapters.sql.statement import Batch
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.tasks.spec import LeaseRef

LEASES = Batch(task_id="text", slot="int", epoch="int", node_id="text")

LIVE = "slots.state = 'leased' AND slots.lease_expires_at_ms > (SELECT vcp_now_ms())"
"""A lease is live while its slot is leased and its expiry lies ahead by the database's clock."""

HELD_BY_LEASE = (
    "slots.task_id = @task_id AND slots.slot = @slot AND slots.epoch = @epoch"
    " AND slots.node_id = @node_id"
)
ATTEMPT_OF_LEASE = (
    "attempts.task_id = @task_id AND attempts.slot = @slot AND attempts.epoch = @epoch"
    " AND attempts.node_id = @node_id"
)


def lease_rows(leases: Sequence[LeaseRef]) -> list[Row]:
    """The batch behind ``LEASES``."""
    return [(item.task_id, item.slot, item.epoch, item.node_id) for item in leases]


def storable(text: str) -> str:
    """Text without NUL, which PostgreSQL cannot keep; shown escaped instead."""
    return text.replace("\0", "\\0")


class Stage:
    """Base of the stages: holds the open work."""

    __slots__ = ("_session", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._session = work.session
