"""What must hold in the simulated cluster, checked against a model that shares no code with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, TERMINAL_STATES, SlotState, TaskState
from ambient_vcp.domain.tasks.records import AttemptResult, TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import Grant, NodeLease
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks.leases import Renewal
from ambient_vcp.services.tasks.results import Answer, AnswerStatus, Submission
from ambient_vcp.testing.clock import FakeClock

SLACK_MS = 1_500
"""Between a sweep and the next look of the checker."""


class InvariantViolationError(AssertionError):
    """A promise was broken. The message names it."""


def demand(holds: object, promise: str, detail: object = "") -> None:
    if not holds:
        raise InvariantViolationError(f"{promise}: {detail}")


@dataclass(slots=True)
class _Lease:
    epoch: int
    node_id: NodeId
    expires_at_ms: int
    open: bool = True
    filled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """A result that a node really made."""

    result: AttemptResult
    lied: bool


@dataclass(slots=True)
class Witness:
    """Sees every commit of the control plane and every run of a node; knows what may happen next.

    Its leases are a model of their own: granted, renewed, ended. ``capacity`` is by node.
    """

    clock: FakeClock
    settings: WorkSettings
    capacity: dict[NodeId, int] = field(default_factory=dict)
    leases: dict[tuple[TaskId, int], _Lease] = field(default_factory=dict)
    produced: dict[tuple[LeaseRef, str], Produced] = field(default_factory=dict)
    commits: dict[str, list[TaskId]] = field(default_factory=dict)
    acknowledged: dict[str, list[TaskId]] = field(default_factory=dict)
    ended: dict[TaskId, TaskState] = field(default_factory=dict)
    epochs: dict[tuple[TaskId, int], int] = field(default_factory=dict)
    late: list[LeaseRef] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    recoveries_ms: list[int] = field(default_factory=list)
    down_since_ms: int | None = None
    last_start_ms: int = 0
    _crashed: dict[tuple[TaskId, int, int], tuple[int, int]] = field(default_factory=dict)
    _starts: int = 0

    # What happens.

    def committed(self, key: str, ids: Sequence[TaskId]) -> None:
        known = self.commits.setdefault(key, list(ids))
        demand(known == list(ids), "I6: one key gives one answer", key)

    def told(self, key: str, ids: Sequence[TaskId]) -> None:
        """The client got its 201."""
        self.acknowledged[key] = list(ids)
        demand(self.commits.get(key) == list(ids), "I1: only what is committed is told", key)

    def plane_down(self) -> None:
        self.down_since_ms = self.clock.now_ms()

    def plane_up(self) -> None:
        self.down_since_ms = None
        self.last_start_ms = self.clock.now_ms()
        self._starts += 1

    def node_crashed(self, node_id: NodeId) -> None:
        now_ms = self.clock.now_ms()
        for (task_id, slot), lease in self.leases.items():
            if lease.open and lease.node_id == node_id:
                self._crashed.setdefault((task_id, slot, lease.epoch), (now_ms, self._starts))

    def granted(self, grants: Sequence[Grant]) -> None:
        now_ms = self.clock.now_ms()
        for grant in grants:
            ref = grant.lease
            key = (ref.task_id, ref.slot)
            before = self.leases.get(key)
            demand(
                ref.epoch == (before.epoch if before else 0) + 1,
                "I4: an epoch rises by one with each grant",
                ref,
            )
            demand(before is None or not before.open, "I3: a live lease is never given away", ref)
            demand(before is None or not before.filled, "I3: a filled slot is never granted", ref)
            demand(
                now_ms <= grant.expires_at_ms <= now_ms + self.settings.lease_ms,
                "I9: a lease ends by the database's clock",
                ref,
            )
            demand(
                all(
                    other.node_id != ref.node_id
                    for (task, _), other in self.leases.items()
                    if task == ref.task_id and (other.open or other.filled)
                ),
                "replicas of a task are on distinct nodes",
                ref,
            )
            self.leases[key] = _Lease(ref.epoch, ref.node_id, grant.expires_at_ms)
            self.counts["attempts"] += 1
        held = Counter(
            lease.node_id
            for lease in self.leases.values()
            if lease.open and now_ms < lease.expires_at_ms
        )
        for node_id in {grant.lease.node_id for grant in grants}:
            demand(
                held[node_id] <= self.capacity[node_id],
                "a node never holds more than its capacity",
                (node_id, held[node_id]),
            )

    def _live(self, ref: LeaseRef) -> bool:
        lease = self.leases.get((ref.task_id, ref.slot))
        return (
            lease is not None
            and lease.open
            and (lease.epoch, lease.node_id) == (ref.epoch, ref.node_id)
            and self.clock.now_ms() < lease.expires_at_ms
        )

    def claimed(self, confirmed: Sequence[NodeLease]) -> None:
        for entry in confirmed:
            demand(self._live(entry.lease), "I3: only a live lease is confirmed", entry.lease)
            # A node that came back and takes up its own live lease has recovered the work itself.
            self._moved_on(entry.lease)

    def renewed(self, node_id: NodeId, asked: Sequence[LeaseRef], renewal: Renewal) -> None:
        for ref in asked:
            key = (ref.task_id, ref.slot)
            live = self._live(ref)
            if key in renewal.renewed and ref not in renewal.lost:
                demand(live and ref.node_id == node_id, "I3: only a live lease is renewed", ref)
                self.leases[key].expires_at_ms = renewal.renewed[key]
            else:
                demand(not live, "a live lease is renewed when asked for", ref)

    def executed(self, ref: LeaseRef, result: AttemptResult, *, lied: bool) -> None:
        self.produced[ref, result.signature] = Produced(result=result, lied=lied)
        self.counts["runs"] += 1
        self.counts["lies"] += lied

    def answered(self, submissions: Sequence[Submission], answers: Sequence[Answer]) -> None:
        for submission, answer in zip(submissions, answers, strict=True):
            ref = submission.lease
            live = self._live(ref)
            accepted = answer.status is AnswerStatus.ACCEPTED
            demand(accepted == live, "I3: exactly a live lease's result is accepted", answer)
            demand(
                answer.status is not AnswerStatus.REFUSED,
                "a well-formed result under a granted lease is never refused",
                answer,
            )
            if accepted:
                lease = self.leases[ref.task_id, ref.slot]
                lease.open = False
                lease.filled = isinstance(submission.result, AttemptResult)
                self._moved_on(ref)
            elif isinstance(submission.result, AttemptResult):
                self.counts[f"{answer.status}"] += 1
                if answer.status is AnswerStatus.TOO_LATE:
                    self.late.append(ref)
            self.cut(answer.cancelled)

    def cut(self, leases: Sequence[LeaseRef]) -> None:
        for ref in leases:
            lease = self.leases[ref.task_id, ref.slot]
            if lease.epoch == ref.epoch:
                lease.open = False

    def swept(self) -> None:
        """After a sweep nothing that has expired is still leased."""
        now_ms = self.clock.now_ms()
        for (task_id, slot), lease in self.leases.items():
            if lease.open and lease.expires_at_ms <= now_ms:
                lease.open = False
                self.counts["expiries"] += 1
                self._moved_on(
                    LeaseRef(task_id=task_id, slot=slot, epoch=lease.epoch, node_id=lease.node_id)
                )

    def _moved_on(self, ref: LeaseRef) -> None:
        crash = self._crashed.pop((ref.task_id, ref.slot, ref.epoch), None)
        if crash is None or crash[1] != self._starts:
            return
        self.recoveries_ms.append(self.clock.now_ms() - crash[0])

    # What the store says.

    def look(self, records: Sequence[TaskRecord]) -> None:
        """Check a snapshot of the store. The plane is up and has swept lately."""
        now_ms = self.clock.now_ms()
        grace_ms = self.settings.sweep_ms + SLACK_MS
        for record in records:
            task = record.task
            before = self.ended.get(task.id)
            if before is not None:
                demand(task.state is before, "I2: an end is never left", (task.id, task.state))
            if task.state in TERMINAL_STATES:
                self.ended[task.id] = task.state
            self._look_at_slots(record, now_ms, grace_ms)
            if task.state in LIVE_STATES:
                demand(
                    now_ms - task.next_check_at_ms <= grace_ms,
                    "I5: a live task is looked at when it is due",
                    (task.id, task.next_check_at_ms - now_ms),
                )
                demand(
                    now_ms < task.created_at_ms + task.spec.timeouts.total_ms + grace_ms,
                    "no task outlives its total timeout",
                    task.id,
                )
                open_slots = {slot.state for slot in record.slots}
                demand(
                    open_slots & {SlotState.WAITING, SlotState.LEASED},
                    "I5: a live task waits for something",
                    (task.id, task.state),
                )

    def _look_at_slots(self, record: TaskRecord, now_ms: int, grace_ms: int) -> None:
        done: defaultdict[int, int] = defaultdict(int)
        for attempt in record.attempts:
            done[attempt.slot] += attempt.state == "completed"
        for slot in record.slots:
            key = (slot.task_id, slot.index)
            demand(slot.lease_epoch >= self.epochs.get(key, 0), "I4: an epoch never falls", key)
            self.epochs[key] = slot.lease_epoch
            demand(done[slot.index] <= 1, "I3: one accepted result a slot", key)
            if slot.state is SlotState.LEASED:
                demand(slot.lease_expires_at_ms is not None, "I5: a lease ends", key)
                overdue_ms = now_ms - (slot.lease_expires_at_ms or 0)
                demand(overdue_ms <= grace_ms, "I5: an expired lease is swept", (key, overdue_ms))
