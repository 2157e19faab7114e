"""The checks of a receipt, in order. Each returns what is wrong, as sentences; none is good."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from ambient_vcp.domain.errors import InvalidInputError, InvalidKeyError
from ambient_vcp.domain.execution.outcome import DETERMINISTIC_REASONS, GUEST_SUSPECT_REASONS
from ambient_vcp.domain.ids import PublicKey, Signature
from ambient_vcp.domain.log.checkpoint import log_origin, open_checkpoint, parse_checkpoint
from ambient_vcp.domain.log.merkle import leaf_hash, verify_inclusion
from ambient_vcp.domain.receipts.conclusion import bound_of, conclude
from ambient_vcp.domain.receipts.receipt import (
    VOTING,
    AchievedClass,
    AttemptFacts,
    EnergyLabel,
    OutcomeFacts,
    OutcomeStatus,
    Receipt,
    StatementFacts,
    Verdict,
)
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.lifecycle import ENDED_ATTEMPTS, AttemptState
from ambient_vcp.domain.tasks.spec import AssuranceClass

EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
QUORUM_REPLICAS_MIN = 2


class Ed25519Checker(Protocol):
    """What the checks need of cryptography."""

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool: ...

    def check_public_key(self, public_key: str) -> PublicKey: ...


Find = Callable[[Receipt, Ed25519Checker], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptCheck:
    """``meaning`` is what holds when ``find`` finds nothing.

    ``find`` may raise InvalidInputError or InvalidKeyError; that counts as a finding.
    """

    name: str
    meaning: str
    find: Find


def _signer_key(receipt: Receipt, checker: Ed25519Checker) -> list[str]:
    checker.check_public_key(receipt.body.control_plane.public_key)
    return []


def _signature(receipt: Receipt, checker: Ed25519Checker) -> list[str]:
    key = receipt.body.control_plane.public_key
    if checker.verify(key, receipt.body.message(), receipt.signature):
        return []
    return ["the body is not what the control plane's key signed"]


def _task(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    task = receipt.body.task
    problems = []
    if receipt.body.receipt_id != task.task_id:
        problems.append("the receipt's id is not the task's")
    if not task.call_is_plain():
        problems.append(f"a call by interface {task.interface} cannot have these arguments")
    if arguments_digest(task.call()) != task.arguments_digest:
        problems.append("the arguments digest is not that of the arguments")
    return problems


def _attempts(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    attempts = receipt.body.attempts
    problems = []
    places = [(each.slot, each.epoch) for each in attempts]
    if any(later <= earlier for earlier, later in pairwise(places)):
        problems.append("the attempts are not in the order of slot and epoch, each once")
    voters = [each for each in attempts if each.verdict in VOTING]
    if len({each.node_id for each in voters}) != len(voters):
        problems.append("a node has two votes")
    if len({each.node_public_key for each in voters}) != len(voters):
        problems.append("two votes are signed by one key")
    return problems + [
        f"attempt {each.slot}/{each.epoch}: {problem}"
        for each in attempts
        for problem in _attempt_problems(each)
    ]


def _attempt_problems(attempt: AttemptFacts) -> Iterator[str]:
    statement, verdict = attempt.statement, attempt.verdict
    if attempt.state not in ENDED_ATTEMPTS:
        yield f"its state {attempt.state} is not an end"
    if (statement is None) != (attempt.signature is None):
        yield "a statement and its signature come together"
    if (attempt.energy.millijoules is None) != (attempt.energy.label is EnergyLabel.UNKNOWN):
        yield "energy is unknown exactly when it has no figure"
    if statement is None:
        if verdict in VOTING or verdict is Verdict.TOO_LATE:
            yield f"its verdict is {verdict}, but it has no statement"
        if attempt.state is AttemptState.COMPLETED:
            yield "it completed without a statement"
        return
    is_answer = statement.reason is None or statement.reason in DETERMINISTIC_REASONS
    may_vote = is_answer or statement.reason in GUEST_SUSPECT_REASONS
    if verdict is Verdict.NONE:
        yield "it has a statement, but its verdict is none"
    if verdict in VOTING and not may_vote:
        yield f"a node's own failure ({statement.reason}) is no vote"
    if verdict is Verdict.FAILED and is_answer:
        yield "its statement is an answer, but it was not counted"


def _node_keys(receipt: Receipt, checker: Ed25519Checker) -> list[str]:
    problems = []
    for key in sorted({each.node_public_key for each in receipt.body.attempts}):
        try:
            checker.check_public_key(key)
        except (InvalidInputError, InvalidKeyError) as error:
            problems.append(f"node key {key[:16]}...: {error}")
    if receipt.body.control_plane.public_key in {
        each.node_public_key for each in receipt.body.attempts
    }:
        problems.append("a node has the control plane's key")
    return problems


def _node_signatures(receipt: Receipt, checker: Ed25519Checker) -> list[str]:
    task = receipt.body.task
    return [
        f"attempt {each.slot}/{each.epoch}: node {each.node_id} did not sign this statement"
        for each in receipt.body.attempts
        if each.statement is not None
        and each.signature is not None
        and not checker.verify(
            each.node_public_key, each.statement_about(task).encode(), each.signature
        )
    ]


def _decision(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    facts, attempts = receipt.body.verification, receipt.body.attempts
    found = conclude(receipt.body.task, attempts, facts.replicas)
    stated = (facts.decision, facts.achieved_class, facts.agreeing, facts.disagreeing)
    counted = (found.decision, found.achieved, found.agreeing, found.disagreeing)
    problems = []
    if stated != counted:
        problems.append(
            f"the votes give {found.decision or 'no decision'} ({found.agreeing} for, "
            f"{found.disagreeing} against, class {found.achieved}), the receipt says otherwise"
        )
    if found.verdicts != tuple(each.verdict for each in attempts):
        problems.append("the verdicts are not those that the votes give")
    if facts.requested_class is AssuranceClass.SIGNED and facts.replicas != 1:
        problems.append("class signed has one replica")
    if facts.requested_class is AssuranceClass.QUORUM and facts.replicas < QUORUM_REPLICAS_MIN:
        problems.append("class quorum has at least two replicas")
    provisional_by_class = {AchievedClass.SIGNED: True, AchievedClass.REEXECUTED: False}
    if facts.provisional is not provisional_by_class.get(facts.achieved_class, facts.provisional):
        problems.append(f"class {facts.achieved_class} with provisional {facts.provisional}")
    if facts.achieved_class is AchievedClass.NONE and facts.provisional:
        problems.append("no result was accepted, so none is provisional")
    return problems


def _outcome(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    outcome, decision = receipt.body.outcome, receipt.body.verification.decision
    problems = []
    if (outcome.status is OutcomeStatus.COMPLETED) != (not outcome.reason):
        problems.append("a reason stands exactly where the task did not complete")
    if decision is None:
        if outcome.status is OutcomeStatus.COMPLETED:
            problems.append("the task completed, but no result was accepted")
        sizes = (outcome.output_size_bytes, outcome.fuel_used, outcome.memory_peak_bytes)
        if outcome.output_digest != EMPTY_DIGEST or any(sizes) or outcome.trap:
            problems.append("a result is shown, but none was accepted")
        return problems
    if outcome.status is OutcomeStatus.CANCELLED:
        problems.append("the task was cancelled, but a result was accepted")
    accepted = [each.statement for each in receipt.body.attempts if each.verdict is Verdict.AGREED]
    if not any(each is not None and _same_result(each, outcome) for each in accepted):
        problems.append("the result is not the one that the agreeing nodes signed")
    return problems


def _same_result(statement: StatementFacts, outcome: OutcomeFacts) -> bool:
    return (
        statement.reason or "",
        statement.trap,
        statement.output_digest,
        statement.output_size_bytes,
        statement.fuel_used,
        statement.memory_peak_bytes,
    ) == (
        outcome.reason,
        outcome.trap,
        outcome.output_digest,
        outcome.output_size_bytes,
        outcome.fuel_used,
        outcome.memory_peak_bytes,
    )


def _independence(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    facts, body = receipt.body.verification, receipt.body
    found = conclude(body.task, body.attempts, facts.replicas)
    stated = facts.independence
    problems = []
    if stated.owners_distinct is not found.owners_distinct:
        problems.append("whether the owners differ is not what their references say")
    both = stated.owners_distinct and stated.prefixes_distinct
    if facts.achieved_class is AchievedClass.QUORUM and not both and stated.waived is None:
        problems.append("the replicas are not independent, and nothing waives that")
    return problems


def _error_bound(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    facts, body = receipt.body.verification, receipt.body
    found = conclude(body.task, body.attempts, facts.replicas)
    if facts.error_bound is None:
        return [] if found.decision is None else ["the error bound is missing"]
    bound = bound_of(found, facts.independence, facts.error_bound.assumed_malicious_ppm)
    if bound == facts.error_bound:
        return []
    right = "there is none" if bound is None else f"{bound.parts_per_billion} ppb, {bound.formula}"
    return [f"the error bound is not what its formula gives: {right}"]


def _checkpoint(receipt: Receipt, checker: Ed25519Checker) -> list[str]:
    log, signer = receipt.log, receipt.body.control_plane
    origin = log_origin(signer.id)
    head = parse_checkpoint(log.checkpoint)
    problems = []
    if head.origin != origin:
        problems.append(f"the checkpoint is of another log, not of {origin}")
    elif not open_checkpoint(
        log.checkpoint, origin=origin, public_key=signer.public_key, checker=checker
    ):
        problems.append("the control plane's key did not sign the checkpoint")
    if (head.size, head.root.hex()) != (log.tree_size, log.root):
        problems.append("the checkpoint's size and root are not those stated")
    return problems


def _inclusion(receipt: Receipt, _: Ed25519Checker) -> list[str]:
    log = receipt.log
    if log.index >= log.tree_size:
        return ["the index is not below the tree size"]
    is_included = verify_inclusion(
        leaf_hash(receipt.body.leaf_data(receipt.signature)),
        index=log.index,
        size=log.tree_size,
        path=[bytes.fromhex(each) for each in log.path],
        root=bytes.fromhex(log.root),
    )
    return [] if is_included else ["the inclusion proof does not lead to the root"]


RECEIPT_CHECKS = (
    ReceiptCheck(
        name="signer_key",
        meaning="The control plane's key is a proper Ed25519 key.",
        find=_signer_key,
    ),
    ReceiptCheck(
        name="signature",
        meaning="The control plane's key signed exactly this body.",
        find=_signature,
    ),
    ReceiptCheck(
        name="task",
        meaning="The digests of the task are those of what it shows.",
        find=_task,
    ),
    ReceiptCheck(
        name="attempts",
        meaning="The attempts are complete, each once, and nobody votes twice.",
        find=_attempts,
    ),
    ReceiptCheck(
        name="node_keys",
        meaning="Every node's key is a proper Ed25519 key, and none is the signer's.",
        find=_node_keys,
    ),
    ReceiptCheck(
        name="node_signatures",
        meaning="Every node signed the statement that this receipt says it made.",
        find=_node_signatures,
    ),
    ReceiptCheck(
        name="decision",
        meaning="The votes, counted again, give the stated decision and class.",
        find=_decision,
    ),
    ReceiptCheck(
        name="outcome",
        meaning="The outcome is the one that was decided.",
        find=_outcome,
    ),
    ReceiptCheck(
        name="independence",
        meaning="What is said about the nodes' independence fits their owners.",
        find=_independence,
    ),
    ReceiptCheck(
        name="error_bound",
        meaning="The error bound follows from its formula.",
        find=_error_bound,
    ),
    ReceiptCheck(
        name="checkpoint",
        meaning="The control plane signed the root of its log.",
        find=_checkpoint,
    ),
    ReceiptCheck(
        name="inclusion",
        meaning="The receipt stands in the log at the stated place.",
        find=_inclusion,
    ),
)
"""All checks between shape and trust. The numbering starts at 2."""
