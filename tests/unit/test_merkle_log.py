"""Whole logs: what `verify_log` finds when leaves or checkpoints were tampered with."""

import random

import pytest

from ambient_vcp.adapters.ed25519 import Ed25519Verifier
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.log.audit_record import AuditRecord
from ambient_vcp.domain.log.merkle import consistency_proof, frontier_at, verify_consistency
from ambient_vcp.domain.log.verify import FINDINGS_MAX, verify_log
from ambient_vcp.testing.receipts import audit_leaf, new_log, signer_of

VERIFIER = Ed25519Verifier()


def log_of(size, every=7):
    log, notes = new_log(), []
    for number in range(size):
        log.append(audit_leaf(number))
        if (number + 1) % every == 0 or number + 1 == size:
            notes.append(log.checkpoint())
    return log, notes


def report(leaves, notes, origin=None, key=None):
    log = new_log()
    return verify_log(
        leaves,
        notes,
        origin=origin or log.origin,
        public_key=key or log.signer.public_key,
        checker=VERIFIER,
    )


def test_an_honest_log_has_no_findings():
    log, notes = log_of(50)
    found = report(log.leaves, notes)
    assert found.ok
    assert (found.size, found.attested_size, found.checkpoints) == (50, 50, 8)
    assert found.root == log.frontier.root()


def test_an_empty_log_is_an_honest_log():
    log = new_log()
    assert report([], []).ok
    assert report([], [log.checkpoint()]).ok


def test_leaves_after_the_last_checkpoint_are_not_attested():
    log, notes = log_of(20, every=20)
    log.append(audit_leaf(20))
    found = report(log.leaves, notes)
    assert found.ok
    assert (found.size, found.attested_size) == (21, 20)


def test_each_of_a_thousand_manipulations_is_found():
    seed = 20_261_122
    print(f"seed {seed}")
    randomness = random.Random(seed)
    log, notes = log_of(60)

    def edit(leaves, place):
        byte = randomness.randrange(len(leaves[place]))
        changed = bytearray(leaves[place])
        changed[byte] ^= 1 << randomness.randrange(8)
        leaves[place] = bytes(changed)

    def delete(leaves, place):
        del leaves[place]

    def insert(leaves, place):
        leaves.insert(place, b"new")

    def swap(leaves, place):
        other = (place + 1 + randomness.randrange(len(leaves) - 1)) % len(leaves)
        leaves[place], leaves[other] = leaves[other], leaves[place]

    def truncate(leaves, place):
        del leaves[place:]

    def double(leaves, place):
        leaves.insert(place, leaves[place])

    def shift(leaves, place):
        joined = leaves[place]
        other = (place + 1) % len(leaves)
        leaves[place], leaves[other] = joined[:-1], joined[-1:] + leaves[other]

    kinds = [edit, delete, insert, swap, truncate, double, shift]
    for number in range(1_000):
        leaves = list(log.leaves)
        # Not the last leaf: doubling it is an append, which no checkpoint speaks about yet.
        kinds[number % len(kinds)](leaves, randomness.randrange(len(leaves) - 1))
        assert not report(leaves, notes).ok, (seed, number)


def test_a_truncated_log_is_named_as_such():
    log, notes = log_of(30)
    findings = report(log.leaves[:25], notes).findings
    assert any("cut off" in each for each in findings)


def test_a_checkpoint_of_another_key_or_log_is_found():
    log, notes = log_of(10)
    assert not report(log.leaves, notes, key=signer_of("stranger").public_key).ok
    assert not report(log.leaves, notes, origin="ambient-vcp/other/log").ok


def test_two_checkpoints_of_one_size_with_different_roots_are_found():
    log, notes = log_of(14)
    other = new_log()
    for number in range(14):
        other.append(audit_leaf(number + (number == 3)))
    found = report(log.leaves, [*notes, other.checkpoint()])
    assert [each for each in found.findings if "another root" in each]


def test_a_checkpoint_that_goes_back_is_found():
    log, notes = log_of(21)
    found = report(log.leaves, [notes[2], notes[0]])
    assert any("goes back" in each for each in found.findings)


def test_unreadable_checkpoints_are_found_and_findings_are_bounded():
    log, _ = log_of(3)
    found = report(log.leaves, ["rubbish"] * 500)
    assert len(found.findings) == FINDINGS_MAX
    assert found.attested_size == 0


def test_checkpoints_of_one_log_are_consistent_with_each_other():
    log, _ = log_of(40)
    for old in range(41):
        assert verify_consistency(
            old_size=old,
            old_root=frontier_at(old, log.lookup).root(),
            new_size=40,
            new_root=log.frontier.root(),
            path=consistency_proof(old, 40, log.lookup),
        )


def test_audit_records_that_differ_have_different_leaves():
    base = {"kind": "k", "at_ms": 1, "actor": "ab", "subject": "c", "fields": {"x": 1}}
    changes = [
        {},
        {"kind": "kk"},
        {"at_ms": 2},
        {"actor": "a", "subject": "bc"},
        {"fields": {"x": "1"}},
        {"fields": {}},
    ]
    leaves = {AuditRecord(**(base | change)).leaf_data() for change in changes}
    assert len(leaves) == len(changes)


def test_audit_records_take_no_floats():
    record = AuditRecord(kind="k", at_ms=1, actor="a", subject="s", fields={"x": 0.5})
    with pytest.raises(InvalidInputError):
        record.leaf_data()


def test_an_audit_leaf_begins_with_its_own_domain_tag():
    assert audit_leaf(1)[8:].startswith(b"ambient-vcp/audit-leaf/v1")
