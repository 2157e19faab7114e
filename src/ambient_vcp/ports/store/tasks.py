"""Tasks with their slots and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import AttemptResult, Hold, Slot, Task, TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef, NewTask
from ambient_vcp.ports.store.placement import Grant, NodeLease, WaitingSlot


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSlot:
    task_id: TaskId
    purpose: SlotPurpose
    not_before_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdate:
    """New values of a task's changeable fields; applied only if its state is still ``expected``.

    ``None`` leaves a field as it is; ``clear_hold`` removes the hold.
    """

    task_id: TaskId
    expected: frozenset[TaskState]
    state: TaskState
    next_check_at_ms: int
    finished: bool = False
    hold: Hold | None = None
    clear_hold: bool = False
    reason: str | None = None
    detail: str | None = None
    accepted: tuple[int, int] | None = None
    decision: str | None = None
    assurance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """One page, newest first. ``next_cursor`` is None on the last one."""

    tasks: tuple[Task, ...]
    next_cursor: str | None


class TaskStore(Protocol):
    """Tasks with their slots and attempts."""

    def insert(self, tasks: Sequence[NewTask], *, independence_waived: bool) -> None:
        """Store tasks as ``pending``, with ``replicas`` waiting primary slots each (indexes 0..).

        ``next_check_at_ms`` is the earlier of its queue and total deadlines.

        Raises:
            ConflictError: a task id exists.
            InvalidInputError: a specification is outside the bounds of its message.
        """
        ...

    def load(self, task_ids: Sequence[TaskId], *, lock: bool = False) -> dict[TaskId, TaskRecord]:
        """Tasks with slots (by index) and attempts (by slot, epoch). Unknown ids are left out.

        ``lock`` keeps other transactions from changing these tasks until this one ends.
        """
        ...

    def page(
        self,
        account_id: AccountId | None,
        *,
        state: TaskState | None,
        cursor: str | None,
        at_most: int,
    ) -> TaskPage:
        """Tasks of one account (None: of all) that are not archived, newest first.

        Raises:
            InvalidInputError: the cursor is not one of ours.
        """
        ...

    def waiting_slots(self, at_most: int) -> list[WaitingSlot]:
        """Slots in state waiting whose ``not_before_ms`` has passed, oldest first.

        Slots of held tasks and audits come after the others and are at most a quarter as many, in
        the order of ``not_before_ms``: what cannot be placed never hides what can.
        """
        ...

    def pass_over(self, slots: Sequence[tuple[TaskId, int]]) -> None:
        """Put waiting slots (task, slot) at the back of the held tasks and audits."""
        ...

    def grant(self, choices: Sequence[tuple[TaskId, int, NodeId]], *, lease_ms: int) -> list[Grant]:
        """Lease slots to nodes: epoch + 1, expiry from the database clock, a new attempt each.

        A choice whose slot is no longer waiting (or whose task has ended, unless the slot is an
        audit) is left out of the answer. Two transactions never both get one slot.
        """
        ...

    def claim(self, leases: Sequence[LeaseRef]) -> list[NodeLease]:
        """Confirm leases: attempt assigned -> in_progress. Repeating a claim answers the same.

        Leases that are not live any more are left out of the answer.
        """
        ...

    def renew(self, leases: Sequence[LeaseRef], *, lease_ms: int) -> dict[tuple[TaskId, int], int]:
        """Extend live leases; answers the new expiry by (task, slot). Dead ones are left out.

        A lease is never extended beyond granted + the task's execution timeout + ``lease_ms``.
        """
        ...

    def node_leases(self, node_id: NodeId, at_most: int) -> list[NodeLease]:
        """Live leases of one node, oldest grant first."""
        ...

    def unclaimed(self, node_id: NodeId, at_most: int) -> list[LeaseRef]:
        """Those of one node's live leases that it has not claimed, oldest grant first."""
        ...

    def record_result(self, lease: LeaseRef, result: AttemptResult) -> bool:
        """Record a result under a live lease: slot filled, attempt completed.

        One statement decides; False means that nothing was written.
        """
        ...

    def record_results(self, results: Sequence[tuple[LeaseRef, AttemptResult]]) -> list[bool]:
        """The same for many in a few statements; one answer each, in order."""
        ...

    def record_failure(self, lease: LeaseRef, reason: str, detail: str, log: bytes) -> bool:
        """End a live lease without a result: attempt failed; the slot keeps state leased.

        The caller re-opens or closes the slot in this transaction, which is checked at its
        commit. False: the lease was not live.
        """
        ...

    def record_late(self, lease: LeaseRef, result: AttemptResult) -> bool:
        """Keep a result whose lease is over on its expired or superseded attempt, for evidence.

        An attempt whose lease ran out, but was not swept yet, becomes expired first. Sets verdict
        ``too_late`` and never touches a slot. False: there is no such attempt, or it already holds
        a result.
        """
        ...

    def reopen_slot(self, task_id: TaskId, slot: int, *, not_before_ms: int) -> None:
        """Slot leased -> waiting (after a failure or expiry).

        Raises:
            IllegalTransitionError: it is not leased, or still under a live lease.
        """
        ...

    def close_slots(self, task_id: TaskId) -> list[LeaseRef]:
        """Close every waiting or leased slot; their live attempts become superseded.

        Answers the leases whose attempts had not ended, so that their nodes can be told.
        """
        ...

    def add_slots(self, slots: Sequence[NewSlot]) -> list[Slot]:
        """Open further slots of tasks (index = next free one)."""
        ...

    def expire(self, at_most: int) -> list[LeaseRef]:
        """End leases whose expiry has passed: attempt expired (reason ``lease_expired``).

        The slot keeps state leased until the caller re-opens or closes it in this transaction.
        """
        ...

    def due(self, at_most: int) -> list[TaskId]:
        """Live tasks whose ``next_check_at_ms`` has passed, oldest first."""
        ...

    def update(self, update: TaskUpdate) -> bool:
        """Apply if the state is one of ``expected``; a terminal state is never left. False: not.

        A terminal state (or ``finished``) stamps ``finished_at_ms``. ``completed`` needs an
        ``accepted`` attempt that is itself completed: the schema refuses anything else.
        Every update stamps ``updated_at_ms``.
        """
        ...

    def set_assurance(self, task_id: TaskId, assurance: str) -> None:
        """Change the assurance note of a task that ended with a result; the state stays."""
        ...

    def set_verdicts(self, task_id: TaskId, verdicts: dict[tuple[int, int], str]) -> None:
        """Set the verdict of attempts by (slot, epoch)."""
        ...

    def provisional_of_node(self, node_id: NodeId, at_most: int) -> list[TaskId]:
        """Ended tasks with assurance ``provisional`` whose accepted result is this node's."""
        ...

    def unsealed(self, at_most: int) -> list[TaskId]:
        """Ended tasks without a receipt, in order of their end."""
        ...

    def mark_sealed(self, task_ids: Sequence[TaskId]) -> None: ...

    def archive(self, task_id: TaskId) -> None:
        """Hide an ended task from lists. Nothing is deleted."""
        ...

    def counts(self) -> dict[str, int]:
        """Number of tasks by state."""
        ...
