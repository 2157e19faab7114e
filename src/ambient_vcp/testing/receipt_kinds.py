"""One valid receipt body of every kind."""

from __future__ import annotations

from collections.abc import Callable

from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.receipts.receipt import (
    AttemptFacts,
    Interface,
    OutcomeStatus,
    ReceiptBody,
    Verdict,
)
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose
from ambient_vcp.domain.tasks.spec import AssuranceClass, TaskType
from ambient_vcp.testing.receipts import (
    TRAPPED,
    attempt_of,
    body_of,
    lost_attempt,
    statement_facts,
    task_facts,
)


def _votes(*outputs: str) -> list[AttemptFacts]:
    task = task_facts()
    return [
        attempt_of(task, slot=slot, node=f"node-{slot}", statement=statement_facts(output))
        for slot, output in enumerate(outputs)
    ]


def _signed() -> ReceiptBody:
    return body_of(task_facts(), _votes("right"))


def _signed_after_loss() -> ReceiptBody:
    task = task_facts(interface=Interface.SCALAR, entry="fib", args=("20",), env=())
    return body_of(
        task,
        [
            lost_attempt(task, slot=0, node="node-0"),
            attempt_of(task, slot=0, epoch=2, node="node-1", statement=statement_facts("6765")),
        ],
    )


def _trapped() -> ReceiptBody:
    task = task_facts(interface=Interface.BYTES, entry="run", args=(), env=())
    votes = [attempt_of(task, slot=i, node=f"node-{i}", statement=TRAPPED) for i in range(2)]
    return body_of(task, votes, requested=AssuranceClass.QUORUM, replicas=2)


def _quorum() -> ReceiptBody:
    votes = _votes("right", "right", "right")
    return body_of(task_facts(), votes, requested=AssuranceClass.QUORUM, replicas=3)


def _majority() -> ReceiptBody:
    votes = _votes("right", "wrong", "right")
    return body_of(task_facts(), votes, requested=AssuranceClass.QUORUM, replicas=2)


def _private_cluster() -> ReceiptBody:
    task = task_facts(task_type=TaskType.COMPUTATION, program="text_statistics")
    votes = [
        attempt_of(task, slot=i, node=f"node-{i}", owner="one", statement=statement_facts("right"))
        for i in range(2)
    ]
    return body_of(
        task,
        votes,
        requested=AssuranceClass.QUORUM,
        replicas=2,
        waived=True,
        prefixes_distinct=False,
    )


def _reexecuted() -> ReceiptBody:
    task = task_facts()
    judge = attempt_of(
        task,
        slot=2,
        node="validator",
        trusted=True,
        purpose=SlotPurpose.DECIDER,
        statement=statement_facts("right", exec_class="wasmtime-50.0.1/aarch64/1", fuel_used=9),
    )
    votes = [*_votes("right", "wrong"), judge]
    return body_of(task, votes, requested=AssuranceClass.QUORUM, replicas=2)


def _too_late() -> ReceiptBody:
    task = task_facts()
    late = attempt_of(
        task,
        slot=0,
        node="slow-node",
        statement=statement_facts("right"),
        verdict=Verdict.TOO_LATE,
        state=AttemptState.EXPIRED,
        reason="lease_expired",
    )
    good = attempt_of(task, slot=0, epoch=2, node="node-1", statement=statement_facts("right"))
    return body_of(task, [late, good])


def _undecided() -> ReceiptBody:
    votes = _votes("one", "two", "three", "four")
    return body_of(task_facts(), votes, requested=AssuranceClass.QUORUM, replicas=2)


def _node_failures() -> ReceiptBody:
    task = task_facts()
    broken = statement_facts("", reason=Reason.NODE_ERROR)
    attempts = [
        attempt_of(
            task,
            slot=0,
            epoch=epoch,
            node=f"node-{epoch}",
            statement=broken,
            verdict=Verdict.FAILED,
            state=AttemptState.FAILED,
            reason="node_error",
        )
        for epoch in (1, 2)
    ]
    return body_of(task, attempts, ended=(OutcomeStatus.FAILED, "attempts_exhausted"))


def _cancelled() -> ReceiptBody:
    return body_of(task_facts(), [], ended=(OutcomeStatus.CANCELLED, "cancelled_by_owner"))


BODIES: dict[str, Callable[[], ReceiptBody]] = {
    "signed": _signed,
    "signed_after_loss": _signed_after_loss,
    "trapped_quorum": _trapped,
    "quorum_unanimous": _quorum,
    "quorum_majority": _majority,
    "quorum_private_cluster": _private_cluster,
    "reexecuted": _reexecuted,
    "signed_with_late_result": _too_late,
    "failed_undecided": _undecided,
    "failed_nodes": _node_failures,
    "cancelled": _cancelled,
}
"""One body of every kind, by name."""
