"""What must hold when the simulated cluster has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.log.checkpoint import log_origin
from ambient_vcp.domain.log.verify import verify_log
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.receipts.verify import verify_receipt
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, AttemptState, SlotPurpose, TaskState
from ambient_vcp.domain.tasks.records import Attempt, TaskRecord
from ambient_vcp.domain.tasks.spec import AssuranceClass
from ambient_vcp.domain.verification.bounds import BILLION, MILLION, decision_bound
from ambient_vcp.domain.verification.judge import BLAMELESS, lease_of
from ambient_vcp.domain.verification.votes import DecisionKind, votes_max
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import seal
from ambient_vcp.testing.invariants import Witness, demand
from ambient_vcp.testing.signers import EXEC_CLASS
from ambient_vcp.testing.simulated_node import truth
from ambient_vcp.testing.simulated_plane import VERIFIER, SimulatedPlane

LEAVES_MAX = 100_000
MALICIOUS_PPM_MAX = MILLION // 2 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """``wrong`` completed results, beside the sum of the bounds that were stated for all."""

    decided: int
    wrong: int
    expected_wrong: float


def check_ends(records: Sequence[TaskRecord], witness: Witness) -> None:
    """I1, I6, I7: everything acknowledged is there once, has ended, within its attempts."""
    found = {record.task.id for record in records}
    for key, ids in witness.acknowledged.items():
        demand(found.issuperset(ids), "I1: an acknowledged task exists", key)
    committed = [task_id for ids in witness.commits.values() for task_id in ids]
    demand(sorted(committed) == sorted(found), "I6: one key gives one task", len(committed))
    for record in records:
        task = record.task
        demand(task.state not in LIVE_STATES, "every task ends", (task.id, task.state))
        tried = Counter(attempt.slot for attempt in record.attempts)
        for slot, attempts in tried.items():
            # The attempt that ends a task may come beside those that count against the maximum.
            demand(attempts <= task.spec.attempts_max, "I7: attempts are bounded", (task.id, slot))
        voting = [slot for slot in record.slots if slot.purpose is not SlotPurpose.AUDIT]
        most = votes_max(task.spec.verification.replicas)
        demand(len(voting) <= most, "the number of votes is bounded", task.id)


def check_truth(records: Sequence[TaskRecord], witness: Witness) -> None:
    """I8, I10: nothing is made up, and nothing that came late is lost."""
    for record in records:
        task = record.task
        if task.state is TaskState.COMPLETED:
            demand(task.accepted is not None, "I8: a result was accepted", task.id)
        for attempt in record.attempts:
            if attempt.result is None:
                continue
            made = witness.produced.get((lease_of(attempt), attempt.result.signature))
            demand(made is not None, "I8: a node really made this result", lease_of(attempt))
            if attempt.state is not AttemptState.COMPLETED:
                demand(attempt.verdict == "too_late", "I10: a late result is marked", attempt)
    results = {
        lease_of(attempt): attempt.result
        for record in records
        for attempt in record.attempts
        if attempt.result is not None
    }
    for ref in witness.late:
        demand(ref in results, "I10: a late result is recorded", ref)


def _lied(witness: Witness, attempt: Attempt) -> bool:
    assert attempt.result is not None
    return witness.produced[lease_of(attempt), attempt.result.signature].lied


def _voters(record: TaskRecord) -> list[Attempt]:
    return [
        attempt
        for attempt in record.attempts
        if attempt.state is AttemptState.COMPLETED and attempt.verdict in ("agreed", "disagreed")
    ]


def check_disputes(records: Sequence[TaskRecord], witness: Witness) -> None:
    """An honest node loses a dispute only where liars hold a majority of the task's votes."""
    for record in records:
        voters = _voters(record)
        lies = sum(_lied(witness, attempt) for attempt in voters)
        for attempt in voters:
            if attempt.verdict == "disagreed" and not _lied(witness, attempt):
                demand(
                    2 * lies > len(voters),
                    "an honest node loses no dispute to a minority of liars",
                    (lease_of(attempt), lies, len(voters)),
                )


def check_standing(records: Sequence[TaskRecord], nodes: Mapping[NodeId, Node]) -> None:
    """Every node's counters are exactly the outcomes of its attempts: each booked once."""
    successes: Counter[NodeId] = Counter()
    failures: Counter[NodeId] = Counter()
    disputes: Counter[NodeId] = Counter()
    for record in records:
        for attempt in record.attempts:
            if attempt.verdict == "agreed":
                successes[attempt.node_id] += 1
            elif attempt.verdict == "disagreed":
                disputes[attempt.node_id] += 1
                # What an audit refutes had been booked as a success when it was accepted.
                refuted = (attempt.slot, attempt.epoch) == record.task.accepted
                successes[attempt.node_id] += refuted
            elif attempt.state in (AttemptState.FAILED, AttemptState.EXPIRED):
                failures[attempt.node_id] += attempt.reason not in BLAMELESS
    for node in nodes.values():
        booked = node.reputation
        demand(
            (booked.completed, booked.failed, booked.disputes)
            == (successes[node.id], failures[node.id], disputes[node.id]),
            "standing is what the attempts say",
            (node.id, booked, successes[node.id], failures[node.id], disputes[node.id]),
        )


def check_independence(records: Sequence[TaskRecord], nodes: Mapping[NodeId, Node]) -> None:
    """Votes of one task come from distinct nodes, owners and networks, unless waived."""
    for record in records:
        voters = _voters(record)
        names = [attempt.node_id for attempt in voters]
        demand(len(set(names)) == len(names), "a node has one vote", record.task.id)
        if record.task.independence_waived:
            continue
        for kind in ("owner_id", "network_prefix"):
            values = [getattr(nodes[name], kind) for name in names]
            demand(len(set(values)) == len(values), f"voters differ in {kind}", record.task.id)


def check_receipts(plane: SimulatedPlane, records: Sequence[TaskRecord]) -> None:
    """Every ended task has a receipt that a stranger with the plane's key accepts."""
    trusted = {plane.signer.public_key: "the simulation's own"}
    for record in records:
        task_id = record.task.id

        def find(tx: Transaction, task_id: TaskId = task_id) -> str:
            return seal.receipt(
                tx, task_id=task_id, signer=plane.signer, control_plane_id=plane.id
            ).to_json()

        text = plane.store.transact(find)
        answer = verify_receipt(text, trusted_keys=trusted, verifier=VERIFIER)
        wrong = [f"{check.name}: {check.explanation}" for check in answer.checks if not check.ok]
        demand(answer.ok, "a receipt verifies", (task_id, wrong))


def check_log(plane: SimulatedPlane) -> None:
    """The log is what all of its checkpoints ever said."""
    leaves, checkpoints = plane.store.read(
        lambda tx: (tx.log.leaves(0, LEAVES_MAX), tx.log.checkpoints(LEAVES_MAX))
    )
    report = verify_log(
        [leaf.data for leaf in leaves],
        checkpoints,
        origin=log_origin(plane.id),
        public_key=plane.signer.public_key,
        checker=VERIFIER,
    )
    demand(report.ok, "the log is consistent", report.findings)
    demand(report.attested_size == len(leaves), "the newest checkpoint covers all", report)


def count_finals(records: Sequence[TaskRecord], liars_share: float) -> Finals:
    """Wrong results among the accepted ones, and how many the stated bounds allow on average."""
    decided = wrong = 0
    expected = 0.0
    malicious_ppm = min(MALICIOUS_PPM_MAX, round(liars_share * MILLION))
    for record in records:
        accepted = next(
            (a for a in record.attempts if (a.slot, a.epoch) == record.task.accepted), None
        )
        if accepted is None or accepted.result is None:
            continue
        decided += 1
        right, _ = truth(record.task.spec, EXEC_CLASS)
        got = accepted.result.outcome
        wrong += (got.reason, got.trap, got.output_digest) != (
            right.reason,
            right.trap,
            right.output_digest,
        )
        quorum = record.task.spec.verification.assurance_class is AssuranceClass.QUORUM
        if quorum:
            # The whole rule, whatever its votes turned out to be: a pair that disagrees is decided
            # by a majority.
            votes = max(3, record.task.spec.verification.replicas)
            kind = DecisionKind.MAJORITY_AFTER_DISAGREEMENT
        else:
            votes, kind = 1, DecisionKind.SINGLE
        ppb, _ = decision_bound(
            kind,
            votes,
            independent=not record.task.independence_waived,
            malicious_ppm=malicious_ppm,
        )
        expected += ppb / BILLION
    return Finals(decided=decided, wrong=wrong, expected_wrong=expected)
