"""Accounts, blobs, log, receipts, events and idempotency keys in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import AccountId, NodeId
from ambient_vcp.ports.store import Account, Upload
from support.stores import (
    ALICE,
    BOB,
    LEASE_MS,
    START_MS,
    digest,
    new_task,
    task_id,
)


def account(name: str, number: int = 1) -> Account:
    return Account(
        id=AccountId(task_id(number)),
        username=name,
        password_hash="h",
        email=None,
        role="user",
        created_at_ms=0,
    )


def test_a_username_is_taken_once(handle):
    handle.transact(lambda tx: tx.accounts.insert(account("alice")))
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.accounts.insert(account("alice", 2)))
    stored = handle.read(lambda tx: tx.accounts.by_name("alice"))
    assert stored == replace(account("alice"), created_at_ms=START_MS)
    assert handle.read(lambda tx: tx.accounts.get(stored.id)) == stored
    assert handle.read(lambda tx: tx.accounts.by_name("Alice")) is None
    handle.transact(lambda tx: tx.accounts.set_role(stored.id, "admin"))
    assert handle.read(lambda tx: tx.accounts.get(stored.id)).role == "admin"
    assert handle.read(lambda tx: tx.accounts.count()) == 1


def test_bytes_are_readable_by_who_put_them_or_owns_a_task_that_names_them(handle):
    mine, theirs = digest("mine"), digest("theirs")
    handle.submit(new_task(1, account=ALICE), new_task(2, account=BOB))

    def use_case(tx):
        tx.blobs.add(mine, 10, ALICE)
        tx.blobs.add(mine, 10, ALICE)
        tx.blobs.link_task(task_id(2), [(theirs, 20), (theirs, 20)])

    handle.transact(use_case)
    size_for = lambda what, who: handle.read(lambda tx: tx.blobs.size_for(what, who))  # noqa: E731
    assert size_for(mine, ALICE) == 10
    assert size_for(mine, BOB) is None
    assert size_for(theirs, BOB) == 20
    assert size_for(theirs, ALICE) is None
    assert handle.read(lambda tx: tx.blobs.size(theirs)) == 20
    assert handle.read(lambda tx: tx.blobs.size(digest("nothing"))) is None


def test_a_node_reads_bytes_only_under_a_live_lease_of_their_task(handle):
    handle.submit(new_task(1), new_task(2))
    handle.transact(lambda tx: tx.blobs.link_task(task_id(1), [(digest("m"), 9)]))
    may = lambda: handle.read(  # noqa: E731
        lambda tx: tx.blobs.node_may_read(NodeId("n1"), digest("m"))
    )
    assert may() is None
    handle.grant(2)
    assert may() is None
    lease = handle.grant(1)
    assert may() == 9
    handle.advance(LEASE_MS)
    assert may() is None
    assert lease is not None


def test_uploads_are_kept_until_they_end_or_expire(handle):
    upload = Upload(
        id="u1", account_id=ALICE, digest=digest("x"), size_bytes=5, expires_at_ms=START_MS + 10
    )
    handle.transact(lambda tx: tx.blobs.start_upload(upload))
    assert handle.read(lambda tx: tx.blobs.upload("u1")) == upload
    assert handle.read(lambda tx: tx.blobs.expired_uploads(5)) == []
    handle.advance(10)
    assert handle.read(lambda tx: tx.blobs.expired_uploads(5)) == ["u1"]
    handle.transact(lambda tx: tx.blobs.end_upload("u1"))
    assert handle.read(lambda tx: tx.blobs.upload("u1")) is None


def test_leaves_enter_the_tree_once_and_in_order(handle):
    handle.transact(lambda tx: tx.log.add_many([("audit", bytes([n])) for n in range(5)]))
    assert handle.read(lambda tx: tx.log.head()).size == 0
    assert handle.read(lambda tx: tx.log.head()).checkpoint == ""

    def integrate(tx, at_most):
        first = tx.log.head().size
        pending = tx.log.pending(at_most)
        tx.log.integrate(
            first_index=first,
            sequences=[leaf.sequence for leaf in pending],
            nodes=[(0, first + n, leaf.data) for n, leaf in enumerate(pending)],
            checkpoint=f"size {first + len(pending)}",
        )
        return pending

    first = handle.transact(lambda tx: integrate(tx, 3))
    assert [leaf.data for leaf in first] == [b"\x00", b"\x01", b"\x02"]
    handle.transact(lambda tx: integrate(tx, 3))
    assert handle.transact(lambda tx: tx.log.pending(3)) == []
    head = handle.read(lambda tx: tx.log.head())
    assert (head.size, head.checkpoint) == (5, "size 5")
    leaves = handle.read(lambda tx: tx.log.leaves(1, 3))
    assert [(leaf.index, leaf.data) for leaf in leaves] == [(n, bytes([n])) for n in (1, 2, 3)]
    assert handle.read(lambda tx: tx.log.node(0, 4)) == b"\x04"
    assert handle.read(lambda tx: tx.log.nodes([(0, 1), (3, 3)])) == {(0, 1): b"\x01"}
    assert handle.read(lambda tx: tx.log.checkpoints(9)) == ["size 3", "size 5"]
    with pytest.raises(ConflictError):
        handle.transact(
            lambda tx: tx.log.integrate(first_index=2, sequences=[], nodes=[], checkpoint="x")
        )
    with pytest.raises(ConflictError):
        handle.transact(
            lambda tx: tx.log.integrate(
                first_index=5, sequences=[first[0].sequence], nodes=[], checkpoint="x"
            )
        )
    with pytest.raises(Exception, match="never changes"):
        handle.raw("UPDATE log_leaves SET kind = 'forged'")
    with pytest.raises(Exception, match="never deleted"):
        handle.raw("DELETE FROM log_leaves")


def test_a_receipt_is_stored_once_with_its_leaf(handle):
    handle.submit(new_task(1))
    handle.transact(lambda tx: tx.receipts.insert(task_id(1), "{}", b"leaf"))
    assert handle.read(lambda tx: tx.receipts.get(task_id(1))).leaf_index is None
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.receipts.insert(task_id(1), "{}", b"leaf"))
    leaf = handle.transact(lambda tx: tx.log.pending(9))
    assert [(item.kind, item.data) for item in leaf] == [("receipt", b"leaf")]
    handle.transact(
        lambda tx: tx.log.integrate(
            first_index=0, sequences=[leaf[0].sequence], nodes=[], checkpoint="c"
        )
    )
    stored = handle.read(lambda tx: tx.receipts.get(task_id(1)))
    assert (stored.text, stored.leaf_index) == ("{}", 0)
    assert handle.read(lambda tx: tx.receipts.get(task_id(2))) is None


def test_events_rise_and_are_filtered_by_account_and_task(handle):
    for number in range(6):
        owner = ALICE if number % 2 else BOB

        def use_case(tx, number=number, owner=owner):
            tx.events.add("a", account_id=owner, task_id=task_id(number), fields={"n": str(number)})
            tx.events.add("b", account_id=owner, node_id=NodeId("n"))

        handle.transact(use_case)
    since = lambda sequence=0, **which: handle.read(  # noqa: E731
        lambda tx: tx.events.since(
            sequence, **({"account_id": None, "task_id": None, "at_most": 100} | which)
        )
    )
    everything = since()
    sequences = [event.sequence for event in everything]
    assert len(everything) == 12
    assert sequences == sorted(set(sequences))
    assert [event.kind for event in everything[:2]] == ["a", "b"]
    assert since(sequences[3]) == everything[4:]
    assert since(sequences[3], at_most=2) == everything[4:6]
    assert {event.account_id for event in since(account_id=ALICE)} == {ALICE}
    assert [event.fields for event in since(task_id=task_id(3))] == [{"n": "3"}]
    assert since(account_id=BOB, task_id=task_id(3)) == []
    assert handle.read(lambda tx: tx.events.last_sequence()) == sequences[-1]
    handle.advance(100)
    handle.transact(lambda tx: tx.events.add("late"))
    assert handle.transact(lambda tx: tx.events.prune(older_than_ms=50, at_most=5)) == 5
    assert handle.transact(lambda tx: tx.events.prune(older_than_ms=50, at_most=99)) == 7
    assert [event.kind for event in since()] == ["late"]


def test_an_idempotency_key_keeps_its_answer(handle):
    def run(tx, who=ALICE, body=b"first"):
        stored = tx.idempotency.begin(who, "key", digest("request"))
        if stored is None:
            tx.idempotency.finish(who, "key", status=201, body=body)
        return stored

    assert handle.transact(run) is None
    stored = handle.transact(lambda tx: run(tx, body=b"second"))
    assert (stored.status, stored.body, stored.request_hash) == (201, b"first", digest("request"))
    assert handle.transact(lambda tx: run(tx, who=BOB)) is None
    handle.advance(1000)
    assert handle.transact(lambda tx: tx.idempotency.prune(older_than_ms=500, at_most=1)) == 1
    assert handle.transact(lambda tx: tx.idempotency.prune(older_than_ms=500, at_most=9)) == 1
    assert handle.transact(run) is None


def test_a_failed_request_frees_its_idempotency_key(handle):
    def fail(tx):
        assert tx.idempotency.begin(ALICE, "key", digest("r")) is None
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            handle.transact(fail)
    with pytest.raises(RuntimeError, match="not finished"):
        handle.transact(lambda tx: tx.idempotency.begin(ALICE, "key", digest("r")))


def test_a_reading_use_case_cannot_write(handle):
    with pytest.raises(Exception, match=r"readonly|read-only|cannot be written|cannot answer"):
        handle.read(lambda tx: tx.tasks.insert([new_task(1)], independence_waived=False))
    assert handle.read(lambda tx: tx.tasks.counts()) == {}
