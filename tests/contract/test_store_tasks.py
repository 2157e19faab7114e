"""Tasks in the store: what goes in comes out, and an end is an end."""

from __future__ import annotations

import pytest

from ambient_vcp.domain.errors import ConflictError, InvalidInputError
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState, TaskState
from ambient_vcp.domain.tasks.records import Hold
from ambient_vcp.ports.store import NewSlot, TaskUpdate
from support.stores import (
    ALICE,
    BOB,
    LEASE_MS,
    START_MS,
    StoreHandle,
    new_task,
    result,
    spec,
    task_id,
)

LIVE = frozenset(
    {
        TaskState.PENDING,
        TaskState.ASSIGNED,
        TaskState.RUNNING,
        TaskState.VERIFYING,
        TaskState.HELD,
    }
)


def load(handle: StoreHandle, number: int):
    return handle.read(lambda tx: tx.tasks.load([task_id(number)]))[task_id(number)]


def end(number: int, state: TaskState = TaskState.CANCELLED, **fields) -> TaskUpdate:
    return TaskUpdate(
        task_id=task_id(number),
        expected=LIVE,
        state=state,
        next_check_at_ms=0,
        finished=True,
        **fields,
    )


def complete(handle: StoreHandle, number: int, *, node: str = "n1", assurance: str = "final"):
    """Take a task through grant, claim and result to its end."""
    lease = handle.grant(number, to=node)

    def use_case(tx):
        assert tx.tasks.claim([lease])
        assert tx.tasks.record_result(lease, result())
        assert tx.tasks.update(
            end(number, TaskState.COMPLETED, accepted=(0, lease.epoch), assurance=assurance)
        )

    handle.transact(use_case)
    return lease


def test_a_stored_task_is_found_again_with_its_slots(handle):
    what = spec(replicas=3, name='ünï "quoted" \x00 name')
    handle.submit(new_task(1, what=what), waived=True)
    record = load(handle, 1)
    assert record.task.spec == what
    assert record.task.account_id == ALICE
    assert record.task.state is TaskState.PENDING
    assert record.task.created_at_ms == START_MS
    assert record.task.next_check_at_ms == START_MS + what.timeouts.queue_ms
    assert record.task.independence_waived
    assert [slot.index for slot in record.slots] == [0, 1, 2]
    assert {slot.state for slot in record.slots} == {SlotState.WAITING}
    assert {slot.purpose for slot in record.slots} == {SlotPurpose.PRIMARY}
    assert record.attempts == ()


def test_a_task_id_is_taken_once_and_a_refused_batch_leaves_nothing(handle):
    handle.submit(new_task(1))
    with pytest.raises(ConflictError):
        handle.submit(new_task(2), new_task(1))
    assert handle.read(lambda tx: tx.tasks.load([task_id(2)])) == {}


def test_an_exception_in_a_use_case_rolls_everything_back(handle):
    heard = []

    def use_case(tx):
        tx.tasks.insert([new_task(1)], independence_waived=False)
        tx.on_commit(lambda: heard.append("committed"))
        raise LookupError("no")

    with pytest.raises(LookupError):
        handle.transact(use_case)
    assert handle.read(lambda tx: tx.tasks.load([task_id(1)])) == {}
    assert heard == []


def test_callbacks_run_after_the_commit_and_their_failure_harms_nobody(handle):
    heard = []

    def use_case(tx):
        tx.tasks.insert([new_task(1)], independence_waived=False)
        tx.on_commit(lambda: 1 / 0)
        tx.on_commit(lambda: heard.append(len(handle.read(lambda r: r.tasks.load([task_id(1)])))))

    handle.transact(use_case)
    assert heard == [1]


def test_pages_are_complete_ordered_and_private(handle):
    for number in range(25):
        handle.submit(new_task(number, account=ALICE if number % 5 else BOB))
        handle.advance(number % 3)
    seen = []
    cursor = None
    while True:
        page = handle.read(
            lambda tx, at=cursor: tx.tasks.page(ALICE, state=None, cursor=at, at_most=7)
        )
        seen += page.tasks
        cursor = page.next_cursor
        if cursor is None:
            break
    assert {task.id for task in seen} == {task_id(n) for n in range(25) if n % 5}
    assert len(seen) == 20
    keys = [(task.created_at_ms, task.id) for task in seen]
    assert keys == sorted(keys, reverse=True)
    everyone = handle.read(lambda tx: tx.tasks.page(None, state=None, cursor=None, at_most=100))
    assert len(everyone.tasks) == 25
    assert everyone.next_cursor is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "djEgMSAy!", "é", "v1 1 a", "AAAA" * 200, "djEgLTEgYQ"]
)
def test_a_foreign_cursor_is_refused(handle, cursor):
    with pytest.raises(InvalidInputError):
        handle.read(lambda tx: tx.tasks.page(ALICE, state=None, cursor=cursor, at_most=5))


def test_pages_can_be_limited_to_a_state_and_hide_what_is_archived(handle):
    handle.submit(new_task(1), new_task(2), new_task(3))
    handle.transact(lambda tx: tx.tasks.update(end(1)))
    handle.transact(lambda tx: tx.tasks.update(end(2)))
    handle.transact(lambda tx: tx.tasks.archive(task_id(2)))
    handle.transact(lambda tx: tx.tasks.archive(task_id(3)))

    def ids(state):
        page = handle.read(lambda tx: tx.tasks.page(ALICE, state=state, cursor=None, at_most=9))
        return {task.id for task in page.tasks}

    assert ids(TaskState.CANCELLED) == {task_id(1)}
    assert ids(TaskState.PENDING) == {task_id(3)}
    assert ids(None) == {task_id(1), task_id(3)}
    assert load(handle, 2).task.archived
    assert handle.read(lambda tx: tx.tasks.counts()) == {"cancelled": 2, "pending": 1}


def test_closing_slots_supersedes_live_attempts_and_names_them(handle):
    handle.submit(new_task(1, what=spec(replicas=3)))
    done, live = handle.grant(1, 0, "a"), handle.grant(1, 1, "b")
    handle.transact(lambda tx: tx.tasks.record_result(done, result()))
    assert handle.transact(lambda tx: tx.tasks.close_slots(task_id(1))) == [live]
    record = load(handle, 1)
    assert [slot.state for slot in record.slots] == [
        SlotState.FILLED,
        SlotState.CLOSED,
        SlotState.CLOSED,
    ]
    assert [attempt.state for attempt in record.attempts] == [
        AttemptState.COMPLETED,
        AttemptState.SUPERSEDED,
    ]
    assert not handle.transact(lambda tx: tx.tasks.record_result(live, result()))
    assert handle.transact(lambda tx: tx.tasks.record_late(live, result()))


def test_further_slots_get_the_next_free_indexes(handle):
    handle.submit(new_task(1, what=spec(replicas=2)))
    wanted = [
        NewSlot(task_id=task_id(1), purpose=SlotPurpose.DECIDER, not_before_ms=0),
        NewSlot(task_id=task_id(1), purpose=SlotPurpose.AUDIT, not_before_ms=START_MS + 50),
    ]
    added = handle.transact(lambda tx: tx.tasks.add_slots(wanted))
    assert [(slot.index, slot.purpose) for slot in added] == [
        (2, SlotPurpose.DECIDER),
        (3, SlotPurpose.AUDIT),
    ]
    assert load(handle, 1).slots[2:] == tuple(added)


def test_an_ended_task_gets_no_lease_except_for_an_audit(handle):
    handle.submit(new_task(1, what=spec(replicas=2)))
    handle.transact(lambda tx: tx.tasks.update(end(1)))
    audit = NewSlot(task_id=task_id(1), purpose=SlotPurpose.AUDIT, not_before_ms=0)
    handle.transact(lambda tx: tx.tasks.add_slots([audit]))
    waiting = handle.read(lambda tx: tx.tasks.waiting_slots(10))
    assert [item.slot.index for item in waiting] == [2]
    assert handle.grant(1, 1) is None
    assert handle.grant(1, 2) is not None


def test_an_update_needs_the_expected_state(handle):
    handle.submit(new_task(1))
    wrong = TaskUpdate(
        task_id=task_id(1),
        expected=frozenset({TaskState.RUNNING}),
        state=TaskState.VERIFYING,
        next_check_at_ms=5,
    )
    assert not handle.transact(lambda tx: tx.tasks.update(wrong))
    handle.advance(7)
    held = TaskUpdate(
        task_id=task_id(1),
        expected=LIVE,
        state=TaskState.HELD,
        next_check_at_ms=5,
        hold=Hold(code="no_gpu", reason="nobody has one"),
    )
    assert handle.transact(lambda tx: tx.tasks.update(held))
    task = load(handle, 1).task
    assert (task.state, task.hold, task.next_check_at_ms) == (TaskState.HELD, held.hold, 5)
    assert task.updated_at_ms == START_MS + 7
    free = TaskUpdate(
        task_id=task_id(1),
        expected=LIVE,
        state=TaskState.PENDING,
        next_check_at_ms=6,
        clear_hold=True,
        detail="d\x00d",
    )
    assert handle.transact(lambda tx: tx.tasks.update(free))
    assert load(handle, 1).task.hold is None
    assert load(handle, 1).task.detail == "d\\0d"


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED])
def test_a_terminal_state_is_never_left_not_even_by_raw_sql(handle, state):
    handle.submit(new_task(1))
    if state is TaskState.COMPLETED:
        complete(handle, 1)
    else:
        handle.transact(lambda tx: tx.tasks.update(end(1, state, reason="why")))
    before = load(handle, 1)
    assert before.task.finished_at_ms == START_MS
    for target in TaskState:
        move = TaskUpdate(
            task_id=task_id(1), expected=frozenset(TaskState), state=target, next_check_at_ms=1
        )
        assert not handle.transact(lambda tx, move=move: tx.tasks.update(move))
        if target is not state:
            with pytest.raises(Exception, match=r"terminal state|task_end_is_stamped"):
                handle.raw(f"UPDATE tasks SET state = '{target}', finished_at_ms = NULL")
    with pytest.raises(Exception, match="never deleted"):
        handle.raw("DELETE FROM tasks")
    assert load(handle, 1) == before


def test_nothing_completes_a_task_but_a_recorded_result(handle):
    handle.submit(new_task(1))
    lease = handle.grant(1)
    for accepted in (None, (0, lease.epoch), (0, 77)):
        update = end(1, TaskState.COMPLETED, accepted=accepted)
        with pytest.raises(Exception, match=r"task_(completes|accepts)|CHECK"):
            handle.transact(lambda tx, update=update: tx.tasks.update(update))
    assert load(handle, 1).task.state is TaskState.PENDING
    with pytest.raises(Exception, match=r"attempt_completes_by_a_result|CHECK"):
        handle.raw("UPDATE attempts SET state = 'completed'")


def test_raw_sql_cannot_reuse_an_epoch_or_change_a_result(handle):
    handle.submit(new_task(1))
    complete(handle, 1)
    with pytest.raises(Exception, match="epoch rises by one"):
        handle.raw("UPDATE slots SET epoch = epoch - 1")
    with pytest.raises(Exception, match="result never changes"):
        handle.raw("UPDATE attempts SET result = '{}'")
    with pytest.raises(Exception, match="terminal state"):
        handle.raw("UPDATE attempts SET state = 'failed'")
    with pytest.raises(Exception, match=r"attempts_one_accepted|UNIQUE"):
        handle.raw(
            "INSERT INTO attempts (task_id, slot, epoch, purpose, node_id, state, granted_at_ms,"
            " result) SELECT task_id, slot, 9, purpose, node_id, state, 0, result FROM attempts"
        )


def test_due_tasks_come_oldest_first_and_ended_ones_never(handle):
    handle.submit(new_task(1), new_task(2), new_task(3))
    for number, at_ms in ((1, 300), (2, 100), (3, 200)):
        move = TaskUpdate(
            task_id=task_id(number),
            expected=LIVE,
            state=TaskState.PENDING,
            next_check_at_ms=START_MS + at_ms,
        )
        handle.transact(lambda tx, move=move: tx.tasks.update(move))
    assert handle.transact(lambda tx: tx.tasks.due(10)) == []
    handle.advance(200)
    assert handle.transact(lambda tx: tx.tasks.due(10)) == [task_id(2), task_id(3)]
    assert handle.read(lambda tx: tx.tasks.due(1)) == [task_id(2)]
    handle.transact(lambda tx: tx.tasks.update(end(2)))
    handle.advance(200)
    assert handle.transact(lambda tx: tx.tasks.due(10)) == [task_id(3), task_id(1)]


def test_expiry_takes_at_most_what_is_asked_and_oldest_first(handle):
    handle.submit(*(new_task(number) for number in range(5)))
    leases = []
    for number in range(5):
        leases.append(handle.grant(number))
        handle.advance(1)
    handle.advance(LEASE_MS - 3)

    def sweep(tx, at_most):
        ended = tx.tasks.expire(at_most)
        for lease in ended:
            tx.tasks.reopen_slot(lease.task_id, lease.slot, not_before_ms=0)
        return ended

    assert handle.transact(lambda tx: sweep(tx, 2)) == leases[:2]
    assert handle.transact(lambda tx: sweep(tx, 10)) == leases[2:3]
    assert handle.transact(lambda tx: sweep(tx, 10)) == []


def test_provisional_tasks_of_a_node_are_found_and_can_be_disputed(handle):
    handle.submit(*(new_task(number) for number in range(4)))
    complete(handle, 0, node="liar", assurance="provisional")
    complete(handle, 1, node="honest", assurance="provisional")
    complete(handle, 2, node="liar", assurance="audited")
    of_liar = lambda tx: tx.tasks.provisional_of_node(NodeId("liar"), 10)  # noqa: E731
    assert handle.read(of_liar) == [task_id(0)]
    handle.transact(lambda tx: tx.tasks.set_assurance(task_id(0), "disputed"))
    assert handle.read(of_liar) == []
    assert load(handle, 0).task.assurance == "disputed"
    assert load(handle, 0).task.state is TaskState.COMPLETED
    handle.transact(lambda tx: tx.tasks.set_verdicts(task_id(0), {(0, 1): "disagreed"}))
    assert load(handle, 0).attempts[0].verdict == "disagreed"


def test_unsealed_tasks_come_in_the_order_of_their_end(handle):
    handle.submit(*(new_task(number) for number in range(3)))
    for number in (2, 0, 1):
        handle.transact(lambda tx, number=number: tx.tasks.update(end(number)))
        handle.advance(1)
    order = [task_id(2), task_id(0), task_id(1)]
    assert handle.transact(lambda tx: tx.tasks.unsealed(10)) == order
    handle.transact(lambda tx: tx.tasks.mark_sealed([task_id(0)]))
    assert handle.read(lambda tx: tx.tasks.unsealed(10)) == [task_id(2), task_id(1)]


def test_a_thousand_tasks_go_in_and_come_out(handle):
    tasks = [new_task(n, what=spec(name=f"t{n % 10}")) for n in range(1000)]
    handle.submit(*tasks)
    records = handle.read(lambda tx: tx.tasks.load([task.id for task in tasks]))
    assert {item: record.task.spec for item, record in records.items()} == {
        task.id: task.spec for task in tasks
    }
    assert handle.raw("SELECT count(*) FROM specs") == [(10,)]
