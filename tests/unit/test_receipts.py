"""Receipts: every kind verifies and says the right things, golden files for ever."""

import importlib.util
import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from ambient_vcp.adapters.ed25519 import Ed25519Verifier
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.log import audit_record, checkpoint, merkle, note
from ambient_vcp.domain.log.verify import verify_log
from ambient_vcp.domain.receipts import receipt as receipt_module
from ambient_vcp.domain.receipts import statement as statement_module
from ambient_vcp.domain.receipts.checks import RECEIPT_CHECKS
from ambient_vcp.domain.receipts.explain import percent
from ambient_vcp.domain.receipts.receipt import (
    AchievedClass,
    Receipt,
    Verdict,
    body_from_dict,
    receipt_from_dict,
    receipt_from_json,
)
from ambient_vcp.domain.receipts.shape import to_json
from ambient_vcp.domain.receipts.verify import ReceiptState, verify_receipt
from ambient_vcp.domain.verification.votes import DecisionKind
from ambient_vcp.testing.receipt_kinds import BODIES
from ambient_vcp.testing.receipts import CONTROL_PLANE_ID, sealed, signer_of

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests/vectors"
VERIFIER = Ed25519Verifier()
TRUSTED = {signer_of(CONTROL_PLANE_ID).public_key: "the test profile"}


def verify(receipt, trusted=TRUSTED):
    return verify_receipt(receipt, trusted_keys=trusted, verifier=VERIFIER)


def generator(folder):
    path = VECTORS / folder / "generate.py"
    spec = importlib.util.spec_from_file_location(f"generate_{folder}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", BODIES)
def test_a_receipt_of_every_kind_is_valid(kind):
    found = verify(sealed(BODIES[kind]()).to_json())
    assert [check for check in found.checks if not check.ok] == []
    assert found.ok
    assert found.guarantees
    assert found.caveats


@pytest.mark.parametrize("kind", BODIES)
def test_a_receipt_comes_back_from_text_and_object(kind):
    receipt = sealed(BODIES[kind]())
    assert receipt_from_json(receipt.to_json()) == receipt
    assert receipt_from_dict(receipt.to_dict()) == receipt
    assert receipt_from_json(json.dumps(receipt.to_dict(), indent=3)) == receipt
    assert body_from_dict(to_json(receipt.body)) == receipt.body


@pytest.mark.parametrize(
    ("kind", "achieved", "decision", "agreeing", "disagreeing", "ppb"),
    [
        ("signed", AchievedClass.SIGNED, DecisionKind.SINGLE, 1, 0, 200_000_000),
        ("signed_after_loss", AchievedClass.SIGNED, DecisionKind.SINGLE, 1, 0, 200_000_000),
        ("trapped_quorum", AchievedClass.QUORUM, DecisionKind.UNANIMOUS, 2, 0, 40_000_000),
        ("quorum_unanimous", AchievedClass.QUORUM, DecisionKind.UNANIMOUS, 3, 0, 8_000_000),
        (
            "quorum_majority",
            AchievedClass.QUORUM,
            DecisionKind.MAJORITY_AFTER_DISAGREEMENT,
            2,
            1,
            104_000_000,
        ),
        ("quorum_private_cluster", AchievedClass.QUORUM, DecisionKind.UNANIMOUS, 2, 0, 200_000_000),
        ("reexecuted", AchievedClass.REEXECUTED, DecisionKind.TRUSTED_REEXECUTION, 2, 1, 0),
        ("failed_undecided", AchievedClass.NONE, None, 0, 0, None),
        ("failed_nodes", AchievedClass.NONE, None, 0, 0, None),
        ("cancelled", AchievedClass.NONE, None, 0, 0, None),
    ],
)
def test_class_decision_and_bound_are_those_of_the_kind(
    kind, achieved, decision, agreeing, disagreeing, ppb
):
    facts = BODIES[kind]().verification
    assert (facts.achieved_class, facts.decision) == (achieved, decision)
    assert (facts.agreeing, facts.disagreeing) == (agreeing, disagreeing)
    assert (facts.error_bound.parts_per_billion if facts.error_bound else None) == ppb


def test_the_liar_is_named():
    found = verify(sealed(BODIES["quorum_majority"]()).to_json())
    verdicts = [attempt.verdict for attempt in found.receipt.body.attempts]
    assert verdicts == [Verdict.AGREED, Verdict.DISAGREED, Verdict.AGREED]
    assert any("another result: node-1" in each for each in found.guarantees)


@pytest.mark.parametrize(
    ("kind", "where", "words"),
    [
        ("signed", "caveats", "one node's word"),
        ("signed", "caveats", "provisional"),
        ("signed", "guarantees", "at most 20 % of tasks"),
        ("quorum_unanimous", "guarantees", "at most 0.8 % of tasks"),
        ("quorum_majority", "guarantees", "at most 10.4 % of tasks"),
        ("quorum_private_cluster", "caveats", "Independence was waived"),
        ("quorum_private_cluster", "guarantees", "at most 20 % of tasks"),
        ("reexecuted", "guarantees", "trusted executor"),
        ("reexecuted", "caveats", "word of the control plane's operator"),
        ("failed_undecided", "guarantees", "No result was accepted"),
        ("signed_with_late_result", "caveats", "came too late"),
        ("cancelled", "guarantees", "was cancelled"),
    ],
)
def test_the_sentences_say_what_a_person_must_know(kind, where, words):
    found = verify(sealed(BODIES[kind]()).to_json())
    assert any(words in each for each in getattr(found, where))


def test_an_unknown_signer_is_not_trusted_and_nothing_is_guaranteed():
    text = sealed(BODIES["signed"]()).to_json()
    for trusted in ({}, {signer_of("somebody else").public_key: "a profile"}):
        found = verify(text, trusted)
        assert found.state is ReceiptState.UNTRUSTED_SIGNER
        assert not found.ok
        assert found.guarantees == ()
        assert [check.name for check in found.checks if not check.ok] == ["signer_trusted"]


def test_the_reason_for_trust_is_said():
    found = verify(sealed(BODIES["signed"]()).to_json())
    assert "the test profile" in found.checks[-1].explanation


def test_checks_are_numbered_and_named_in_order():
    found = verify(sealed(BODIES["signed"]()).to_json())
    assert [check.number for check in found.checks] == list(range(1, len(found.checks) + 1))
    assert [check.name for check in found.checks] == [
        "shape",
        *(check.name for check in RECEIPT_CHECKS),
        "signer_trusted",
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_a_receipt_verifies_at_every_place_of_a_log(size):
    body = BODIES["signed"]()
    for before in range(size):
        receipt = sealed(body, before=before, after=size - before - 1)
        assert receipt.log.index == before
        assert verify(receipt.to_json()).ok


def test_a_receipt_stays_valid_when_the_log_grows():
    body = BODIES["signed"]()
    young, old = sealed(body, after=0), sealed(body, after=90)
    assert young.log.root != old.log.root
    assert verify(young.to_json()).ok
    assert verify(old.to_json()).ok


@pytest.mark.parametrize("name", sorted(BODIES))
def test_golden_receipts_verify_for_ever(name):
    key = (VECTORS / "receipts/control_plane.pub").read_text().strip()
    text = (VECTORS / f"receipts/{name}.json").read_text()
    assert verify(text, {key: "golden"}).ok


def test_golden_receipts_are_what_the_generator_writes():
    expected = generator("receipts").files()
    found = {
        path.name: path.read_text()
        for path in (VECTORS / "receipts").iterdir()
        if path.suffix in {".json", ".pub"}
    }
    assert found == expected


def test_the_golden_log_verifies_and_is_what_the_generator_writes():
    text = (VECTORS / "log/log.json").read_text()
    assert text == generator("log").content()
    golden = json.loads(text)
    report = verify_log(
        [bytes.fromhex(leaf) for leaf in golden["leaves"]],
        golden["checkpoints"],
        origin=golden["origin"],
        public_key=golden["public_key"],
        checker=VERIFIER,
    )
    assert report.ok
    assert report.attested_size == len(golden["leaves"])
    old, new = (checkpoint.parse_checkpoint(golden["checkpoints"][place]) for place in (-2, -1))
    assert merkle.verify_consistency(
        old_size=old.size,
        old_root=old.root,
        new_size=new.size,
        new_root=new.root,
        path=[bytes.fromhex(each) for each in golden["consistency"]["path"]],
    )


def dataclasses_of(*modules):
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    ("page", "kinds"),
    [
        ("receipt.md", dataclasses_of(receipt_module, statement_module)),
        ("log.md", dataclasses_of(note, checkpoint, audit_record)),
    ],
)
def test_the_protocol_pages_name_every_field(page, kinds):
    text = (ROOT / "docs/protocol" / page).read_text()
    missing = [
        f"{kind.__name__}.{each.name}"
        for kind in kinds
        for each in fields(kind)
        if f"`{each.name}`" not in text
    ]
    assert kinds
    assert not missing


def test_the_protocol_page_names_every_check_and_every_word():
    text = (ROOT / "docs/protocol/receipt.md").read_text()
    words = [check.name for check in RECEIPT_CHECKS]
    for kind in (
        receipt_module.Verdict,
        receipt_module.AchievedClass,
        receipt_module.AuditState,
        receipt_module.EnergyLabel,
        receipt_module.OutcomeStatus,
        receipt_module.BoundFormula,
        receipt_module.DecisionKind,
        ReceiptState,
    ):
        words += [each.value for each in kind]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_the_protocol_page_numbers_the_checks_as_the_answer_does():
    text = (ROOT / "docs/protocol/receipt.md").read_text()
    listed = re.findall(r"^\| (\d+) \| `(\w+)`", text.split("## Checks")[1], re.MULTILINE)
    found = verify(sealed(BODIES["signed"]()).to_json()).checks
    assert listed == [(str(check.number), check.name) for check in found]


def test_the_protocol_page_lists_the_parts_of_a_statement_in_order():
    text = (ROOT / "docs/protocol/receipt.md").read_text()
    section = text.split("## Statement")[1].split("**Agreement.**")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if re.match(r"\| \d", line)]
    listed = [name for row in rows for name in re.findall(r"`([\w/-]+)`", row)]
    assert listed == [
        statement_module.RESULT_PROTOCOL,
        *(each.name for each in fields(statement_module.ResultStatement)),
    ]


def test_percentages_are_exact_and_short():
    assert percent(200_000, 1_000_000) == "20 %"
    assert percent(8_000_000, 1_000_000_000) == "0.8 %"
    assert percent(1, 1_000_000_000) == "0.0000001 %"
    assert percent(0, 1_000_000_000) == "0 %"


def test_a_body_cannot_be_read_with_a_field_too_many_or_too_few():
    whole = to_json(BODIES["signed"]())
    with pytest.raises(InvalidInputError, match="unknown extra"):
        body_from_dict(whole | {"extra": 1})
    del whole["outcome"]
    with pytest.raises(InvalidInputError, match="missing outcome"):
        body_from_dict(whole)


def test_verification_does_not_change_with_the_order_of_keys():
    receipt: Receipt = sealed(BODIES["signed"]())
    reversed_keys = json.dumps(dict(reversed(receipt.to_dict().items())))
    assert verify(reversed_keys).ok
    assert replace(receipt, log=receipt.log) == receipt
