"""Say in plain sentences what a receipt guarantees, by whom, and what it does not."""

from __future__ import annotations

from ambient_vcp.domain.receipts.receipt import (
    AchievedClass,
    AttemptFacts,
    AuditState,
    EnergyLabel,
    OutcomeStatus,
    Receipt,
    Verdict,
)
from ambient_vcp.domain.verification.bounds import BoundFormula
from ambient_vcp.domain.verification.votes import DecisionKind

_PPB_DIGITS = 9


def percent(parts: int, whole: int) -> str:
    """``parts / whole`` in percent, exact for powers of ten, without needless zeros."""
    scaled = parts * 10**_PPB_DIGITS * 100 // whole
    whole_part, rest = divmod(scaled, 10**_PPB_DIGITS)
    decimals = f"{rest:0{_PPB_DIGITS}d}".rstrip("0")
    return f"{whole_part}.{decimals} %" if decimals else f"{whole_part} %"


def guarantees(receipt: Receipt) -> tuple[str, ...]:
    """What holds if all checks passed and the signer is trusted."""
    body = receipt.body
    signer = f"control plane {body.control_plane.id}"
    sentences = [_what_happened(receipt)]
    facts = body.verification
    nodes = ", ".join(_name(each) for each in body.attempts if each.verdict is Verdict.AGREED)
    match facts.decision:
        case DecisionKind.SINGLE:
            sentences.append(f"One node, {nodes}, signed this result.")
        case DecisionKind.UNANIMOUS:
            sentences.append(
                f"{facts.agreeing} nodes computed it, each signed the same result, and none "
                f"disagreed: {nodes}."
            )
        case DecisionKind.MAJORITY_AFTER_DISAGREEMENT:
            sentences.append(
                f"Nodes disagreed; {facts.agreeing} of {facts.agreeing + facts.disagreeing} "
                f"signed this result: {nodes}."
            )
        case DecisionKind.TRUSTED_REEXECUTION:
            sentences.append(_trusted_sentence(receipt))
        case None:
            sentences.append("No result was accepted, so none is claimed.")
    against = [_name(each) for each in body.attempts if each.verdict is Verdict.DISAGREED]
    if against:
        sentences.append(f"Signed another result: {', '.join(against)}.")
    sentences += _bound_sentence(receipt)
    sentences.append(
        f"The record was signed by {signer} and is entry {receipt.log.index} of its log, which had "
        f"{receipt.log.tree_size} entries when it signed the root."
    )
    return tuple(sentences)


def caveats(receipt: Receipt) -> tuple[str, ...]:
    """What the receipt does not guarantee."""
    facts, body = receipt.body.verification, receipt.body
    found: list[str] = []
    match facts.achieved_class:
        case AchievedClass.SIGNED:
            found.append("This is one node's word: nobody else computed the result.")
        case AchievedClass.QUORUM:
            found.append("Nodes that work together secretly could all sign one wrong result.")
        case AchievedClass.REEXECUTED:
            found.append(
                "The result is as right as the executor; that it is to be trusted is the word of "
                "the control plane's operator."
            )
        case AchievedClass.NONE:
            found.append("There is no result that anybody vouches for.")
    if facts.requested_class.value not in {facts.achieved_class.value, AchievedClass.NONE.value}:
        found.append(
            f"Class {facts.requested_class} was asked for, {facts.achieved_class} was reached."
        )
    found += _independence_caveats(receipt)
    if facts.provisional:
        found.append("The result is provisional: a later audit may still refute it.")
    if facts.audit.state is AuditState.FAILED:
        found.append("An audit of this result failed.")
    late = [_name(each) for each in body.attempts if each.verdict is Verdict.TOO_LATE]
    if late:
        found.append(f"Results that came too late were not counted: {', '.join(late)}.")
    if any(each.energy.label is not EnergyLabel.MEASURED for each in body.attempts):
        found.append("Some energy figures are estimated or unknown; their labels say which.")
    found.append(
        "Times, limits, owners, energy, and that there was no other attempt, are the word of the "
        "control plane and the nodes."
    )
    return tuple(found)


def _what_happened(receipt: Receipt) -> str:
    task, outcome = receipt.body.task, receipt.body.outcome
    match outcome.status:
        case OutcomeStatus.COMPLETED:
            return (
                f"Task {task.task_id} completed: {task.entry} of module {task.module_digest} gave "
                f"{outcome.output_size_bytes} bytes with SHA-256 {outcome.output_digest}."
            )
        case OutcomeStatus.FAILED:
            return f"Task {task.task_id} failed with reason {outcome.reason}."
        case OutcomeStatus.CANCELLED:
            return f"Task {task.task_id} was cancelled with reason {outcome.reason}."


def _trusted_sentence(receipt: Receipt) -> str:
    agreed = [each for each in receipt.body.attempts if each.verdict is Verdict.AGREED]
    trusted = ", ".join(_name(each) for each in agreed if each.trusted)
    others = sum(not each.trusted for each in agreed)
    return (
        f"A node that the operator trusts, {trusted}, executed the task and signed this result. "
        f"Ordinary nodes that signed the same: {others}."
    )


def _bound_sentence(receipt: Receipt) -> list[str]:
    bound = receipt.body.verification.error_bound
    if bound is None:
        return []
    if bound.formula is BoundFormula.TRUSTED_EXECUTOR:
        return ["The result is wrong only if the trusted executor is dishonest or broken."]
    share = percent(bound.assumed_malicious_ppm, 1_000_000)
    chance = percent(bound.parts_per_billion, 1_000_000_000)
    if_so = f"If {share} of the nodes are malicious and work together, "
    if bound.formula is BoundFormula.UNANIMOUS:
        # Of the tasks that end so the wrong share is larger, and tasks in which nodes disagree end
        # otherwise: the sentence must promise neither.
        same = f"all nodes asked sign the same wrong result for at most {chance} of tasks. "
        otherwise = "(Tasks in which nodes disagree are decided otherwise, with their own bound.)"
        return [if_so + same + otherwise]
    return [if_so + f"this rule accepts a wrong result for at most {chance} of tasks."]


def _independence_caveats(receipt: Receipt) -> list[str]:
    facts = receipt.body.verification
    if facts.achieved_class is not AchievedClass.QUORUM:
        return []
    found = []
    if facts.independence.waived:
        found.append(
            "Independence was waived: in a private cluster the replicas may share an owner or "
            "a network, so they guard against broken machines, not against their owner."
        )
    if not facts.independence.owners_distinct:
        found.append("Some of the nodes belong to one owner; the bound is that of one node.")
    if not facts.independence.prefixes_distinct:
        found.append("Some of the nodes share a network; the bound is that of one node.")
    return found


def _name(attempt: AttemptFacts) -> str:
    return f"{attempt.node_id} (key {attempt.node_public_key[:16]}...)"
