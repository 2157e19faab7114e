"""Triggers that refuse what may never happen, whoever asks: raw SQL included."""

from __future__ import annotations

from dataclasses import dataclass

from alembic import op

_TASK_ENDED = "OLD.state IN ('completed', 'failed', 'cancelled')"
_ATTEMPT_ENDED = "OLD.state IN ('completed', 'failed', 'expired', 'superseded')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Refuses an ``event`` on a ``table`` when ``condition`` holds for OLD and NEW."""

    name: str
    table: str
    event: str
    condition: str
    message: str


GUARDS = (
    Guard(
        name="task_end_is_final",
        table="tasks",
        event="UPDATE",
        condition=f"{_TASK_ENDED} AND ("
        "NEW.state <> OLD.state"
        " OR NEW.finished_at_ms <> OLD.finished_at_ms"
        " OR NEW.accepted_slot IS DISTINCT FROM OLD.accepted_slot"
        " OR NEW.accepted_epoch IS DISTINCT FROM OLD.accepted_epoch)",
        message="a terminal state of a task is never left",
    ),
    Guard(
        name="task_is_never_deleted",
        table="tasks",
        event="DELETE",
        condition="1 = 1",
        message="a task is never deleted",
    ),
    Guard(
        name="attempt_end_is_final",
        table="attempts",
        event="UPDATE",
        condition=f"{_ATTEMPT_ENDED} AND NEW.state <> OLD.state",
        message="a terminal state of an attempt is never left",
    ),
    Guard(
        name="attempt_result_is_final",
        table="attempts",
        event="UPDATE",
        condition="OLD.result IS NOT NULL AND NEW.result IS DISTINCT FROM OLD.result",
        message="a recorded result never changes",
    ),
    Guard(
        name="lease_epoch_rises_by_one",
        table="slots",
        event="UPDATE",
        condition="NEW.epoch <> OLD.epoch AND"
        " (NEW.epoch <> OLD.epoch + 1 OR OLD.state <> 'waiting' OR NEW.state <> 'leased')",
        message="a lease epoch rises by one, and only by a grant",
    ),
    Guard(
        name="log_leaf_is_final",
        table="log_leaves",
        event="UPDATE",
        condition="OLD.leaf_index IS NOT NULL OR NEW.data <> OLD.data OR NEW.kind <> OLD.kind",
        message="a leaf of the log never changes",
    ),
    Guard(
        name="log_leaf_is_never_deleted",
        table="log_leaves",
        event="DELETE",
        condition="1 = 1",
        message="a leaf of the log is never deleted",
    ),
)


def _create_sqlite(guard: Guard) -> None:
    condition = guard.condition.replace("IS DISTINCT FROM", "IS NOT")
    op.execute(
        f"CREATE TRIGGER {guard.name} BEFORE {guard.event} ON {guard.table}"
        f" WHEN {condition} BEGIN SELECT RAISE(ABORT, '{guard.message}'); END"
    )


def _create_postgresql(guard: Guard) -> None:
    op.execute(
        f"CREATE FUNCTION {guard.name}() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN RAISE EXCEPTION '{guard.message}' USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {guard.name} BEFORE {guard.event} ON {guard.table} FOR EACH ROW"
        f" WHEN ({guard.condition}) EXECUTE FUNCTION {guard.name}()"
    )


def create_guards(dialect: str) -> None:
    for guard in GUARDS:
        if dialect == "sqlite":
            _create_sqlite(guard)
        else:
            _create_postgresql(guard)


def drop_guards(dialect: str) -> None:
    for guard in GUARDS:
        if dialect == "sqlite":
            op.execute(f"DROP TRIGGER {guard.name}")
        else:
            op.execute(f"DROP TRIGGER {guard.name} ON {guard.table}")
            op.execute(f"DROP FUNCTION {guard.name}()")
