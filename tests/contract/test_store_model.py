"""Random sequences of task, lease and slot operations against a small pure model."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.tasks.lifecycle import (
    ATTEMPT_MOVES,
    AttemptState,
    SlotPurpose,
    SlotState,
    TaskState,
)
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import NewSlot, TaskUpdate
from support.stores import (
    LEASE_MS,
    START_MS,
    StoreHandle,
    new_task,
    postgresql_handle,
    result,
    spec,
    sqlite_handle,
    task_id,
)

NODES = ("n1", "n2", "n3")
EXECUTION_MS = spec().timeouts.execution_ms
LIVE_ATTEMPTS = (AttemptState.ASSIGNED, AttemptState.IN_PROGRESS)


@dataclass
class ModelAttempt:
    node: str
    state: AttemptState
    granted_at: int
    output: bytes | None = None
    verdict: str = ""

    def become(self, state: AttemptState) -> None:
        assert state in ATTEMPT_MOVES[self.state]
        self.state = state


@dataclass
class ModelSlot:
    purpose: SlotPurpose
    state: SlotState = SlotState.WAITING
    expires_at: int | None = None
    attempts: list[ModelAttempt] = field(default_factory=list)


@dataclass
class ModelTask:
    slots: list[ModelSlot]
    state: TaskState = TaskState.PENDING

    @property
    def ended(self) -> bool:
        return self.state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)


class StoreModel(RuleBasedStateMachine):
    """``opened`` yields a fresh store for each sequence."""

    opened: ClassVar = None

    def __init__(self) -> None:
        super().__init__()
        self._context = type(self).opened()
        self.handle: StoreHandle = self._context.__enter__()
        self.now = START_MS
        self.tasks: list[ModelTask] = []

    def teardown(self) -> None:
        self._context.__exit__(None, None, None)

    def _pick(self, data, *, with_attempt: bool = False):
        """A slot of a task, with one of its leases (perhaps an old one or a wrong one)."""
        places = [
            (number, index)
            for number, task in enumerate(self.tasks)
            for index, slot in enumerate(task.slots)
            if slot.attempts or not with_attempt
        ]
        number, index = data.draw(st.sampled_from(places))
        return number, index, self.tasks[number].slots[index]

    def _lease(self, data):
        number, index, slot = self._pick(data, with_attempt=True)
        epoch = data.draw(st.integers(1, len(slot.attempts)))
        attempt = slot.attempts[epoch - 1]
        node = data.draw(st.sampled_from([attempt.node, attempt.node, attempt.node, *NODES]))
        lease = LeaseRef(task_id=task_id(number), slot=index, epoch=epoch, node_id=NodeId(node))
        live = (
            epoch == len(slot.attempts)
            and node == attempt.node
            and slot.state is SlotState.LEASED
            and slot.expires_at is not None
            and slot.expires_at > self.now
        )
        return lease, slot, attempt, live

    def _granted(self) -> bool:
        return any(slot.attempts for task in self.tasks for slot in task.slots)

    @precondition(lambda self: len(self.tasks) < 4)
    @rule(replicas=st.integers(1, 3))
    def submit(self, replicas):
        self.handle.submit(new_task(len(self.tasks), what=spec(replicas=replicas)))
        self.tasks.append(ModelTask([ModelSlot(SlotPurpose.PRIMARY) for _ in range(replicas)]))

    @rule(by_ms=st.sampled_from([1, 1_000, LEASE_MS - 1, LEASE_MS]))
    def time_passes(self, by_ms):
        self.handle.advance(by_ms)
        self.now += by_ms

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), node=st.sampled_from(NODES))
    def grant(self, data, node):
        number, index, slot = self._pick(data)
        lease = self.handle.grant(number, index, node)
        allowed = slot.state is SlotState.WAITING and (
            not self.tasks[number].ended or slot.purpose is SlotPurpose.AUDIT
        )
        assert (lease is not None) == allowed
        if allowed:
            slot.attempts.append(ModelAttempt(node, AttemptState.ASSIGNED, self.now))
            slot.state, slot.expires_at = SlotState.LEASED, self.now + LEASE_MS
            assert lease.epoch == len(slot.attempts)

    @precondition(lambda self: self._granted())
    @rule(data=st.data())
    def claim(self, data):
        lease, _, attempt, live = self._lease(data)
        answer = self.handle.transact(lambda tx: tx.tasks.claim([lease]))
        assert [item.lease for item in answer] == ([lease] if live else [])
        if live:
            attempt.state = AttemptState.IN_PROGRESS

    @precondition(lambda self: self._granted())
    @rule(data=st.data())
    def renew(self, data):
        lease, slot, attempt, live = self._lease(data)
        answer = self.handle.transact(lambda tx: tx.tasks.renew([lease], lease_ms=LEASE_MS))
        if live:
            bound = attempt.granted_at + EXECUTION_MS + LEASE_MS
            slot.expires_at = max(slot.expires_at, min(self.now + LEASE_MS, bound))
        assert answer == ({(lease.task_id, lease.slot): slot.expires_at} if live else {})

    @precondition(lambda self: self._granted())
    @rule(data=st.data(), output=st.binary(max_size=3))
    def record(self, data, output):
        lease, slot, attempt, live = self._lease(data)
        late = (
            not live
            and lease.node_id == attempt.node
            and attempt.output is None
            and attempt.state not in (AttemptState.COMPLETED, AttemptState.FAILED)
        )

        def use_case(tx):
            if tx.tasks.record_result(lease, result(output)):
                return "recorded"
            return "late" if tx.tasks.record_late(lease, result(output)) else "refused"

        answer = self.handle.transact(use_case)
        assert answer == ("recorded" if live else "late" if late else "refused")
        if live:
            attempt.become(AttemptState.COMPLETED)
            attempt.output, slot.state, slot.expires_at = output, SlotState.FILLED, None
        elif late:
            if attempt.state in LIVE_ATTEMPTS:
                attempt.become(AttemptState.EXPIRED)
            attempt.output, attempt.verdict = output, "too_late"

    @precondition(lambda self: self._granted())
    @rule(data=st.data())
    def fail(self, data):
        lease, slot, attempt, live = self._lease(data)

        def use_case(tx):
            done = tx.tasks.record_failure(lease, "node_error", "", b"")
            if done:
                tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=0)
            return done

        assert self.handle.transact(use_case) == live
        if live:
            attempt.become(AttemptState.FAILED)
            slot.state, slot.expires_at = SlotState.WAITING, None

    @rule(at_most=st.integers(1, 5))
    def sweep(self, at_most):
        def use_case(tx):
            leases = tx.tasks.expire(at_most)
            for lease in leases:
                tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=0)
            return leases

        leases = self.handle.transact(use_case)
        overdue = {
            (task_id(number), index): slot
            for number, task in enumerate(self.tasks)
            for index, slot in enumerate(task.slots)
            if slot.expires_at is not None and slot.expires_at <= self.now
        }
        assert len(leases) == min(at_most, len(overdue))
        for lease in leases:
            slot = overdue[lease.task_id, lease.slot]
            assert lease.epoch == len(slot.attempts)
            if slot.attempts[-1].state in LIVE_ATTEMPTS:
                slot.attempts[-1].become(AttemptState.EXPIRED)
            slot.state, slot.expires_at = SlotState.WAITING, None

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), purpose=st.sampled_from(list(SlotPurpose)))
    def add_slot(self, data, purpose):
        number = data.draw(st.integers(0, len(self.tasks) - 1))
        if len(self.tasks[number].slots) >= 5:
            return
        slot = NewSlot(task_id=task_id(number), purpose=purpose, not_before_ms=0)
        added = self.handle.transact(lambda tx: tx.tasks.add_slots([slot]))
        assert added[0].index == len(self.tasks[number].slots)
        self.tasks[number].slots.append(ModelSlot(purpose))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), state=st.sampled_from(list(TaskState)))
    def move(self, data, state):
        number = data.draw(st.integers(0, len(self.tasks) - 1))
        task = self.tasks[number]
        filled = [
            (index, len(slot.attempts))
            for index, slot in enumerate(task.slots)
            if slot.state is SlotState.FILLED
        ]
        if state is TaskState.COMPLETED and not filled:
            return
        update = TaskUpdate(
            task_id=task_id(number),
            expected=frozenset(TaskState),
            state=state,
            next_check_at_ms=self.now,
            accepted=filled[0] if state is TaskState.COMPLETED else None,
        )
        closes = state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)

        def use_case(tx):
            done = tx.tasks.update(update)
            return done, tx.tasks.close_slots(task_id(number)) if done and closes else []

        done, told = self.handle.transact(use_case)
        assert done == (not task.ended)
        if not done:
            return
        task.state = state
        if closes:
            leased = [i for i, slot in enumerate(task.slots) if slot.expires_at is not None]
            assert [lease.slot for lease in told] == leased
            for slot in task.slots:
                if slot.state in (SlotState.WAITING, SlotState.LEASED):
                    if slot.attempts and slot.attempts[-1].state in LIVE_ATTEMPTS:
                        slot.attempts[-1].become(AttemptState.SUPERSEDED)
                    slot.state, slot.expires_at = SlotState.CLOSED, None

    @invariant()
    def store_and_model_agree(self):
        ids = [task_id(number) for number in range(len(self.tasks))]
        records = self.handle.read(lambda tx: tx.tasks.load(ids))
        assert len(records) == len(self.tasks)
        for name, task in zip(ids, self.tasks, strict=True):
            record = records[name]
            assert record.task.state is task.state
            assert [(s.state, s.lease_epoch, s.lease_expires_at_ms) for s in record.slots] == [
                (s.state, len(s.attempts), s.expires_at) for s in task.slots
            ]
            assert [
                (a.slot, a.epoch, a.node_id, a.state, a.verdict, a.result and a.result.output)
                for a in record.attempts
            ] == [
                (index, epoch, a.node, a.state, a.verdict, a.output)
                for index, slot in enumerate(task.slots)
                for epoch, a in enumerate(slot.attempts, 1)
            ]


def check(opened, **options):
    machine = type("Machine", (StoreModel,), {"opened": staticmethod(opened)})
    case = machine.TestCase
    case.settings = settings(
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **options,
    )
    case("runTest").runTest()


def test_the_store_in_memory_behaves_as_the_model(tmp_path):
    """More sequences can be asked for by ``AMBIENT_VCP_TEST_EXAMPLES``."""
    check(
        lambda: sqlite_handle("sqlite-memory", tmp_path),
        max_examples=int(os.environ.get("AMBIENT_VCP_TEST_EXAMPLES", "100")),
        stateful_step_count=50,
    )


@pytest.mark.postgres
def test_the_store_on_postgresql_behaves_as_the_model(postgres_server):
    check(
        lambda: postgresql_handle(postgres_server, connections=1),
        max_examples=4,
        stateful_step_count=30,
    )
