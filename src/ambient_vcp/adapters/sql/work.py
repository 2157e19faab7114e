"""What one use case has open: its session, what waits for the commit, what must hold by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ambient_vcp.adapters.sql.session import Session, json_text
from ambient_vcp.adapters.sql.statement import json_list, sql
from ambient_vcp.adapters.sql.stores.specs import SpecCache
from ambient_vcp.domain.ids import TaskId

_LOCK_TASKS = sql("SELECT 1 FROM tasks WHERE id IN {ids} ORDER BY id {lock}", ids=json_list("ids"))


class InvariantError(RuntimeError):
    """A use case was about to commit what must never be. It is rolled back; this is a bug."""


class Work:
    """State of one use case, shared by the aggregates' stores.

    ``loose_slots`` have lost their lease and must be re-opened or closed before the commit;
    ``open_keys`` are idempotency keys that must get their answer.
    """

    __slots__ = (
        "callbacks",
        "event_ordinal",
        "flushers",
        "locked",
        "loose_slots",
        "open_keys",
        "session",
        "specs",
    )

    def __init__(self, session: Session, specs: SpecCache) -> None:
        self.session = session
        self.specs = specs
        self.callbacks: list[Callable[[], None]] = []
        self.loose_slots: set[tuple[TaskId, int]] = set()
        self.open_keys: set[tuple[str, str]] = set()
        self.locked: set[TaskId] = set()
        self.flushers: list[Callable[[], None]] = []
        self.event_ordinal = 0

    def lock_tasks(self, task_ids: Iterable[TaskId]) -> None:
        """Keep others from changing these tasks until the end of the transaction.

        Everything that writes slots or attempts locks their tasks first, in the order of their
        ids, so two transactions never hold what the other waits for. SQLite has one writer.
        """
        if self.session.is_sqlite:
            return
        wanted = sorted(set(task_ids) - self.locked)
        if wanted:
            self.session.rows(_LOCK_TASKS, {"ids": json_text(wanted)})
            self.locked.update(wanted)

    def flush(self) -> None:
        """Write what was gathered, so that many small additions cost one statement."""
        flushers, self.flushers = self.flushers, []
        for write in flushers:
            write()

    def check(self) -> None:
        """Write what was gathered and assert what must hold at the commit.

        Raises:
            InvariantError: it does not.
        """
        self.flush()
        if self.loose_slots:
            raise InvariantError(
                f"slots without lease were left leased: {sorted(self.loose_slots)[:5]}"
            )
        if self.open_keys:
            raise InvariantError("an idempotency key was begun and not finished")
