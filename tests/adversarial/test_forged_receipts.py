"""Forged receipts: no change of any kind is accepted under a trusted key."""

import copy
import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from ambient_vcp.adapters.ed25519 import Ed25519Verifier
from ambient_vcp.adapters.ed25519.curve import small_order_encodings
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.log.checkpoint import Checkpoint, sign_checkpoint
from ambient_vcp.domain.receipts.receipt import Receipt, Verdict, body_from_dict
from ambient_vcp.domain.receipts.shape import to_json
from ambient_vcp.domain.receipts.verify import ReceiptState, verify_receipt
from ambient_vcp.domain.tasks.spec import AssuranceClass
from ambient_vcp.testing.receipt_kinds import BODIES
from ambient_vcp.testing.receipts import (
    CONTROL_PLANE_ID,
    attempt_of,
    body_of,
    new_log,
    sealed,
    sign_body,
    signer_of,
    statement_facts,
    task_facts,
)

VERIFIER = Ed25519Verifier()
PLANE = signer_of(CONTROL_PLANE_ID)
TRUSTED = {PLANE.public_key: "test"}
RICH_KINDS = ["quorum_majority", "signed_with_late_result", "reexecuted", "failed_undecided"]


def verify(receipt):
    return verify_receipt(receipt, trusted_keys=TRUSTED, verifier=VERIFIER)


def refused(receipt, *checks):
    """Assert that ``receipt`` is not valid, and that the named checks are among the failed ones."""
    found = verify(receipt)
    assert not found.ok
    assert found.guarantees == ()
    failed = {check.name for check in found.checks if not check.ok}
    assert failed >= set(checks), failed
    return found


def leaves_of(value, path=()):
    """Every path to a value that is neither object nor list, and to every empty list."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves_of(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves_of(item, (*path, index))
    else:
        yield path


def at(value, path):
    for key in path:
        value = value[key]
    return value


def with_value(whole, path, new):
    changed = copy.deepcopy(whole)
    at(changed, path[:-1])[path[-1]] = new
    return changed


def other_values(old):
    """Values of the right type that differ from ``old``, and some of wrong types."""
    if isinstance(old, bool):
        return [not old, 1, None]
    if isinstance(old, int):
        return [old + 1, 0 if old else 1, float(old), str(old), None, -1, True, 2**53]
    if isinstance(old, str):
        flipped = ("0" if old[:1] != "0" else "1") + old[1:]
        return [flipped, old + "0", old[:-1], old.upper() + "X", "", None, 7]
    return ["x", 0, [], [1], {}]


def plain(path):
    """A path without indexes, for naming a kind of field."""
    return ".".join(str(key) for key in path if isinstance(key, str))


@pytest.mark.parametrize("kind", BODIES)
def test_no_field_can_be_changed(kind):
    whole = sealed(BODIES[kind]()).to_dict()
    tried = 0
    for path in leaves_of(whole):
        for new in other_values(at(whole, path)):
            if new == at(whole, path) and type(new) is type(at(whole, path)):
                continue
            tried += 1
            assert not verify(with_value(whole, path, new)).ok, (path, new)
    assert tried > 300


@pytest.mark.parametrize("kind", BODIES)
def test_no_field_can_be_removed_renamed_or_added(kind):
    whole = sealed(BODIES[kind]()).to_dict()
    objects = {path[:place] for path in leaves_of(whole) for place in range(len(path))}
    for path in objects:
        if not isinstance(at(whole, path), dict):
            continue
        for key in at(whole, path):
            for rename in (None, key + "_", key.upper()):
                changed = copy.deepcopy(whole)
                value = at(changed, path).pop(key)
                if rename:
                    at(changed, path)[rename] = value
                assert verify(changed).state is ReceiptState.MALFORMED
        changed = copy.deepcopy(whole)
        at(changed, path)["extra"] = None
        assert verify(changed).state is ReceiptState.MALFORMED


def test_no_byte_of_the_text_can_be_changed():
    seed = 20_261_123
    print(f"seed {seed}")
    randomness = random.Random(seed)
    texts = [sealed(BODIES[kind]()).to_json().encode() for kind in RICH_KINDS]
    for number in range(1_000):
        text = bytearray(texts[number % len(texts)])
        place = randomness.randrange(len(text))
        text[place] ^= randomness.randrange(1, 256)
        assert not verify(bytes(text)).ok, (seed, number, place)


def test_no_piece_of_the_text_can_be_cut_doubled_or_moved():
    seed = 20_261_124
    print(f"seed {seed}")
    randomness = random.Random(seed)
    text = sealed(BODIES["quorum_majority"]()).to_json()
    for number in range(400):
        start, end = sorted(randomness.sample(range(len(text) + 1), 2))
        piece, rest = text[start:end], text[:start] + text[end:]
        target = randomness.randrange(len(rest) + 1)
        moved = rest[:target] + piece + rest[target:]
        doubled = text[:end] + piece + text[end:]
        for forged in (rest, doubled, moved):
            assert forged == text or not verify(forged).ok, (seed, number)


@pytest.mark.parametrize("kind", RICH_KINDS)
def test_characters_cannot_move_between_neighbouring_fields(kind):
    whole = sealed(BODIES[kind]()).to_dict()
    paths = [path for path in leaves_of(whole) if isinstance(at(whole, path), str)]
    for one, other in pairwise(paths):
        left, right = at(whole, one), at(whole, other)
        if left:
            moved = with_value(with_value(whole, one, left[:-1]), other, left[-1] + right)
            assert not verify(moved).ok
        if left != right:
            swapped = with_value(with_value(whole, one, right), other, left)
            assert not verify(swapped).ok


# --- A dishonest control plane: it signs and logs what it changed. What does it get away with? ---


def issued(body_dict):
    """Sign and log a changed body with the trusted control plane's own key."""
    return sealed(body_from_dict(body_dict)).to_json()


WORD_OF_THE_CONTROL_PLANE = {
    "task.task_type",
    "task.submitted_at_ms",
    "task.finished_at_ms",
    "task.program",
    "task.limits.fuel_max",
    "task.limits.memory_bytes_max",
    "task.limits.wall_ms_max",
    "task.limits.output_bytes_max",
    "task.limits.stack_bytes_max",
    "task.limits.log_bytes_max",
    "verification.replicas",
    "verification.error_bound.assumed_malicious_ppm",
    "verification.audit.rate_ppm",
    "verification.audit.state",
    "verification.independence.prefixes_distinct",
    "verification.independence.waived",
    "verification.provisional",
    "outcome.detail",
    "attempts.purpose",
    "attempts.node_owner_ref",
    "attempts.trusted",
    "attempts.state",
    "attempts.reason",
    "attempts.granted_at_ms",
    "attempts.finished_at_ms",
    "attempts.energy.millijoules",
    "attempts.energy.label",
    "attempts.energy.source",
}
"""Fields that no node signed and no rule fixes. The receipt's page lists the same."""

ALTERNATIVES = {
    "task.task_type": "computation",
    "task.program": "sort",
    "verification.audit.state": "failed",
    "verification.independence.waived": "private_cluster",
    "attempts.purpose": "audit",
    "attempts.state": "superseded",
    "attempts.energy.label": "measured",
    "verification.requested_class": "signed",
    "verification.achieved_class": "reexecuted",
    "verification.decision": "unanimous",
    "verification.error_bound.formula": "unanimous",
    "attempts.verdict": "too_late",
    "outcome.status": "failed",
    "attempts.statement.reason": "trap",
    "task.interface": "bytes",
}


def valid_change(path, old):
    """Another value that the shape allows."""
    if plain(path) in ALTERNATIVES:
        return ALTERNATIVES[plain(path)]
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + 1
    if isinstance(old, str) and old:
        return ("0" if old[0] != "0" else "1") + old[1:]
    return "x"


@pytest.mark.parametrize("kind", ["quorum_majority", "reexecuted"])
def test_even_the_control_plane_cannot_change_what_nodes_signed_or_rules_fix(kind):
    whole = to_json(BODIES[kind]())
    accepted, tried = set(), set()
    for path in leaves_of(whole):
        if not path or at(whole, path) == []:
            continue
        new = valid_change(path, at(whole, path))
        if new == at(whole, path):
            continue
        tried.add(plain(path))
        try:
            forged = issued(with_value(whole, path, new))
        except InvalidInputError:
            continue
        if verify(forged).ok:
            accepted.add(plain(path))
    assert len(tried) > 60
    assert accepted <= WORD_OF_THE_CONTROL_PLANE, accepted - WORD_OF_THE_CONTROL_PLANE


def test_every_field_on_the_list_of_the_control_planes_word_is_really_unprotected():
    accepted = set()
    for kind in BODIES:
        whole = to_json(BODIES[kind]())
        for path in leaves_of(whole):
            if plain(path) not in WORD_OF_THE_CONTROL_PLANE - accepted:
                continue
            try:
                forged = issued(with_value(whole, path, valid_change(path, at(whole, path))))
            except InvalidInputError:
                continue
            if verify(forged).ok:
                accepted.add(plain(path))
    assert accepted == WORD_OF_THE_CONTROL_PLANE


def test_only_the_control_planes_word_says_that_no_attempt_was_left_out():
    """A known limit, stated among the caveats: what was never shown cannot be missed offline."""
    body = BODIES["quorum_majority"]()
    votes = [each for each in body.attempts if each.verdict is Verdict.AGREED]
    polished = body_of(body.task, votes, requested=AssuranceClass.QUORUM, replicas=2)
    found = verify(sealed(polished).to_json())
    assert found.ok
    assert any("no other attempt" in each for each in found.caveats)


@pytest.mark.parametrize(
    "grant",
    [
        {"task_id": "00000000-0000-4000-8000-000000000000"},
        {"slot": 7},
        {"epoch": 9},
        {"node": "node-9"},
        {"module": "other module"},
        {"args": ("other",)},
        {"output": "wrong"},
    ],
    ids=str,
)
def test_a_node_signature_from_elsewhere_is_refused(grant):
    body = BODIES["quorum_unanimous"]()
    task = task_facts(
        task_id=grant.get("task_id", body.task.task_id),
        args=grant.get("args", body.task.args),
        **({"module_digest": "ab" * 32} if "module" in grant else {}),
    )
    elsewhere = attempt_of(
        task,
        slot=grant.get("slot", 0),
        epoch=grant.get("epoch", 1),
        node=grant.get("node", "node-0"),
        statement=statement_facts(grant.get("output", "right")),
    )
    attempts = (replace(body.attempts[0], signature=elsewhere.signature), *body.attempts[1:])
    refused(sealed(replace(body, attempts=attempts)).to_json(), "node_signatures")


def forged_body(body, **changes):
    return sealed(replace(body, **changes)).to_json()


def test_attempts_cannot_be_swapped_removed_doubled_or_added():
    body = BODIES["quorum_majority"]()
    first, second, third = body.attempts
    stranger = attempt_of(
        body.task, slot=3, node="node-3", statement=statement_facts("right"), verdict=Verdict.AGREED
    )
    for attempts in (
        (second, first, third),
        (first, third),
        (first, second),
        (second,),
        (),
        (first, first, second, third),
        (first, second, third, stranger),
    ):
        refused(forged_body(body, attempts=attempts))
        whole = sealed(body).to_dict()
        whole["body"]["attempts"] = to_json(attempts)
        refused(whole, "signature")


def test_a_vote_cannot_be_counted_twice_under_another_name():
    body = BODIES["quorum_majority"]()
    task = body.task
    twin = attempt_of(
        task, slot=3, node="node-0", statement=statement_facts("right"), verdict=Verdict.AGREED
    )
    refused(forged_body(body, attempts=(*body.attempts, twin)), "attempts", "decision")
    renamed = replace(twin, node_id="node-7")
    signature = signer_of("node-0").sign(renamed.statement_about(task).encode())
    renamed = replace(renamed, signature=signature)
    refused(forged_body(body, attempts=(*body.attempts, renamed)), "attempts")


def test_a_disagreement_cannot_be_hidden_as_a_failure():
    body = BODIES["quorum_majority"]()
    first, second, third = body.attempts
    hidden = replace(second, verdict=Verdict.FAILED)
    refused(forged_body(body, attempts=(first, hidden, third)), "attempts")


def test_a_liar_cannot_be_declared_the_winner():
    body = BODIES["quorum_majority"]()
    wrong = statement_facts("wrong")
    outcome = replace(
        body.outcome,
        output_digest=wrong.output_digest,
        output_size_bytes=wrong.output_size_bytes,
    )
    refused(forged_body(body, outcome=outcome), "outcome")
    turned = tuple(
        replace(
            each,
            verdict=Verdict.AGREED if each.verdict is Verdict.DISAGREED else Verdict.DISAGREED,
        )
        for each in body.attempts
    )
    refused(forged_body(body, outcome=outcome, attempts=turned), "decision")


def test_a_result_cannot_be_made_up_where_nothing_was_accepted():
    body = BODIES["failed_undecided"]()
    won = BODIES["quorum_majority"]()
    refused(forged_body(body, outcome=won.outcome), "outcome")
    refused(forged_body(body, verification=won.verification), "decision")


def test_a_weaker_bound_or_a_better_class_cannot_be_claimed():
    body = BODIES["quorum_private_cluster"]()
    facts = body.verification
    independent = replace(facts.independence, owners_distinct=True, prefixes_distinct=True)
    refused(
        forged_body(body, verification=replace(facts, independence=independent)),
        "independence",
        "error_bound",
    )
    unwaived = replace(facts.independence, waived=None)
    refused(forged_body(body, verification=replace(facts, independence=unwaived)), "independence")
    small = replace(facts.error_bound, parts_per_billion=1)
    refused(forged_body(body, verification=replace(facts, error_bound=small)), "error_bound")
    refused(forged_body(body, verification=replace(facts, error_bound=None)), "error_bound")


def test_the_control_plane_cannot_vote_itself():
    body = BODIES["signed"]()
    own = replace(body.attempts[0], node_public_key=PLANE.public_key)
    own = replace(own, signature=PLANE.sign(own.statement_about(body.task).encode()))
    refused(forged_body(body, attempts=(own,)), "node_keys")


@pytest.mark.parametrize("encoded", sorted(small_order_encodings()), ids=bytes.hex)
def test_a_node_key_that_signs_everything_is_refused(encoded):
    body = BODIES["signed"]()
    forged = replace(
        body.attempts[0], node_public_key=encoded.hex(), signature=encoded.hex() + "00" * 32
    )
    refused(forged_body(body, attempts=(forged,)), "node_keys", "node_signatures")


def test_a_receipt_signed_again_by_an_unknown_key_is_an_untrusted_signer():
    stranger = signer_of("stranger")
    body = BODIES["signed"]()
    plane = replace(body.control_plane, public_key=stranger.public_key)
    body = replace(body, control_plane=plane)
    log = replace_signer(new_log(), stranger)
    signature = sign_body(body, stranger)
    receipt = Receipt(
        body=body, signature=signature, log=log.position(log.append(body.leaf_data(signature)))
    )
    found = refused(receipt.to_json(), "signer_trusted")
    assert found.state is ReceiptState.UNTRUSTED_SIGNER


def replace_signer(log, signer):
    log.signer = signer
    return log


def test_a_receipt_that_names_the_trusted_key_but_has_another_signature_is_forged():
    receipt = sealed(BODIES["signed"]())
    signature = sign_body(receipt.body, signer_of("stranger"))
    found = refused(replace(receipt, signature=signature).to_json(), "signature", "inclusion")
    assert found.state is ReceiptState.FORGED


# --- The place in the log ---


def test_a_wrong_place_in_the_log_is_refused():
    receipt = sealed(BODIES["signed"]())
    log = receipt.log
    size, path = log.tree_size, log.path
    for index in [*range(size), size, 2**52]:
        if index != log.index:
            refused(replace(receipt, log=replace(log, index=index)).to_json(), "inclusion")
    for forged in (path[:-1], path[1:], (), (*path, path[0]), path[::-1], ("00" * 32, *path[1:])):
        refused(replace(receipt, log=replace(log, path=forged)).to_json(), "inclusion")
    for other_size in (size - 1, size + 1, 1):
        refused(replace(receipt, log=replace(log, tree_size=other_size)).to_json(), "checkpoint")
    refused(replace(receipt, log=replace(log, root="00" * 32)).to_json(), "checkpoint")


def test_another_checkpoint_is_refused():
    body = BODIES["signed"]()
    receipt, grown = sealed(body), sealed(body, after=9)
    other_log = sealed(BODIES["quorum_unanimous"]())
    for checkpoint in (grown.log.checkpoint, other_log.log.checkpoint):
        forged = replace(receipt, log=replace(receipt.log, checkpoint=checkpoint))
        refused(forged.to_json(), "checkpoint")
    whole_other = replace(receipt, log=other_log.log)
    refused(whole_other.to_json(), "inclusion")


@pytest.mark.parametrize(
    ("origin", "signer"),
    [
        ("ambient-vcp/test-plane/log", "stranger"),
        ("ambient-vcp/other-plane/log", CONTROL_PLANE_ID),
    ],
)
def test_a_checkpoint_of_another_key_or_origin_is_refused(origin, signer):
    receipt = sealed(BODIES["signed"]())
    key = signer_of(signer)
    head = Checkpoint(
        origin=origin, size=receipt.log.tree_size, root=bytes.fromhex(receipt.log.root)
    )
    note = sign_checkpoint(head, public_key=key.public_key, sign=key.sign)
    forged = replace(receipt, log=replace(receipt.log, checkpoint=note))
    refused(forged.to_json(), "checkpoint")


@pytest.mark.parametrize("note", ["", "x", "\n\n", "a\n1\nAA==\n\n\u2014 a b\n"])
def test_rubbish_in_place_of_a_checkpoint_is_a_finding_and_no_crash(note):
    receipt = sealed(BODIES["signed"]())
    refused(replace(receipt, log=replace(receipt.log, checkpoint=note)).to_json(), "checkpoint")


# --- The text ---


def test_duplicate_keys_floats_and_big_numbers_are_malformed():
    text = sealed(BODIES["signed"]()).to_json()
    doubled = text.replace('{"body":', '{"body":{},"body":', 1)
    inner = text.replace('"version":1', '"version":1,"version":1', 1)
    floated = text.replace('"version":1', '"version":1.0', 1)
    exponent = text.replace('"version":1', '"version":1e0', 1)
    huge = text.replace('"version":1', f'"version":{2**53}', 1)
    boolean = text.replace('"version":1', '"version":true', 1)
    other_version = text.replace('"version":1', '"version":2', 1)
    for forged in (doubled, inner, floated, exponent, huge, boolean, other_version):
        assert forged != text
        assert verify(forged).state is ReceiptState.MALFORMED


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "0", '"receipt"', b"\xff\xfe", "[" * 50_000, '{"body":' * 50],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_receipt_is_malformed_and_never_an_exception(text):
    found = verify(text)
    assert found.state is ReceiptState.MALFORMED
    assert found.receipt is None


def test_random_json_never_raises():
    seed = 20_261_125
    print(f"seed {seed}")
    randomness = random.Random(seed)
    whole = sealed(BODIES["reexecuted"]()).to_dict()
    paths = list(leaves_of(whole))
    pool = [None, True, 0, -1, 2**53, 0.5, "", "x", "\ud800", [], {}, [[]], "0" * 64, "00" * 64]
    for _ in range(2_000):
        forged = whole
        for path in randomness.sample(paths, randomness.randrange(1, 4)):
            forged = with_value(forged, path, randomness.choice(pool))
        if forged != whole:
            assert not verify(forged).ok
    assert verify(json.dumps(whole)).ok
