"""Makes the parts of valid receipts, with real keys and a real log in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ambient_vcp.adapters.ed25519 import Ed25519Signer
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.ids import Digest, NodeId, Signature, TaskId
from ambient_vcp.domain.log.audit_record import AuditRecord
from ambient_vcp.domain.log.checkpoint import Checkpoint, log_origin, sign_checkpoint
from ambient_vcp.domain.log.merkle import Frontier, inclusion_proof, leaf_hash
from ambient_vcp.domain.receipts.checks import EMPTY_DIGEST
from ambient_vcp.domain.receipts.conclusion import bound_of, conclude, independence_of
from ambient_vcp.domain.receipts.receipt import (
    RECEIPT_VERSION,
    AchievedClass,
    AttemptFacts,
    Audit,
    AuditState,
    ControlPlane,
    EnergyFacts,
    EnergyLabel,
    Interface,
    LogPosition,
    OutcomeFacts,
    OutcomeStatus,
    Receipt,
    ReceiptBody,
    ReceiptLimits,
    StatementFacts,
    TaskFacts,
    Verdict,
    VerificationFacts,
)
from ambient_vcp.domain.receipts.statement import arguments_digest, commit_private_input
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose
from ambient_vcp.domain.tasks.spec import AssuranceClass, TaskType

CONTROL_PLANE_ID = "test-plane"
TASK_ID = TaskId("3f1c9a52-7a54-4d8e-9c0b-1d2e3f405162")
START_MS = 1_790_000_000_000


def digest_of(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def signer_of(name: str) -> Ed25519Signer:
    """The signer that belongs to ``name``: always the same key, so receipts can be golden."""
    return Ed25519Signer.from_seed(hashlib.sha256(f"test key {name}".encode()).digest())


@dataclass
class MemoryLog:
    """A log that keeps its leaves and every complete node."""

    signer: Ed25519Signer
    origin: str
    frontier: Frontier = field(default_factory=Frontier)
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)

    def append(self, data: bytes) -> int:
        """Add a leaf and return its index."""
        self.frontier, completed = self.frontier.append(leaf_hash(data))
        self.nodes |= {(node.level, node.index): node.hash for node in completed}
        self.leaves.append(data)
        return len(self.leaves) - 1

    def lookup(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def checkpoint(self) -> str:
        """A signed checkpoint of the log as it is now."""
        head = Checkpoint(origin=self.origin, size=self.frontier.size, root=self.frontier.root())
        return sign_checkpoint(head, public_key=self.signer.public_key, sign=self.signer.sign)

    def position(self, index: int) -> LogPosition:
        """The proof for leaf ``index`` in the log as it is now."""
        path = inclusion_proof(index, self.frontier.size, self.lookup)
        return LogPosition(
            index=index,
            tree_size=self.frontier.size,
            root=self.frontier.root().hex(),
            path=tuple(each.hex() for each in path),
            checkpoint=self.checkpoint(),
        )


def new_log(control_plane_id: str = CONTROL_PLANE_ID) -> MemoryLog:
    return MemoryLog(signer=signer_of(control_plane_id), origin=log_origin(control_plane_id))


def audit_leaf(number: int) -> bytes:
    return AuditRecord(
        kind="task.submitted",
        at_ms=START_MS + number,
        actor=f"account-{number}",
        subject=f"task-{number}",
        fields={"number": number},
    ).leaf_data()


def task_facts(**changes: object) -> TaskFacts:
    """A WASI task with arguments, environment and a private input; ``changes`` replace fields."""
    facts = TaskFacts(
        task_id=TASK_ID,
        task_type=TaskType.WASM_EXECUTION,
        submitted_at_ms=START_MS,
        finished_at_ms=START_MS + 1_500,
        module_digest=digest_of("module"),
        interface=Interface.WASI,
        entry="_start",
        args=("count", "--words"),
        env=(("LANG", "C"), ("MODE", "fast")),
        arguments_digest=digest_of("set below"),
        public_input_digest=digest_of("public input"),
        private_input_commitment=commit_private_input(bytes(range(32)), digest_of("private")),
        program=None,
        limits=ReceiptLimits(
            fuel_max=10_000_000_000,
            memory_bytes_max=512 * 1024 * 1024,
            wall_ms_max=30_000,
            output_bytes_max=64 * 1024 * 1024,
            stack_bytes_max=512 * 1024,
            log_bytes_max=64 * 1024,
        ),
    )
    facts = replace(facts, **changes)  # type: ignore[arg-type]  # tests name the fields
    return replace(facts, arguments_digest=arguments_digest(facts.call()))


def statement_facts(output: str = "right", **changes: object) -> StatementFacts:
    facts = StatementFacts(
        reason=None,
        trap="",
        output_digest=digest_of(output),
        output_size_bytes=len(output),
        fuel_used=123_456,
        memory_peak_bytes=131_072,
        exec_class="wasmtime-50.0.1/x86_64/1",
        trace_digest=digest_of(f"trace {output}"),
    )
    return replace(facts, **changes)  # type: ignore[arg-type]  # tests name the fields


TRAPPED = statement_facts(
    "",
    reason=Reason.TRAP,
    trap="integer_divide_by_zero",
    fuel_used=10_000_000_000,
)


def attempt_of(
    task: TaskFacts,
    *,
    slot: int,
    node: str,
    statement: StatementFacts | None,
    epoch: int = 1,
    owner: str = "",
    trusted: bool = False,
    verdict: Verdict = Verdict.UNDECIDED,
    state: AttemptState = AttemptState.COMPLETED,
    reason: str = "",
    purpose: SlotPurpose = SlotPurpose.PRIMARY,
) -> AttemptFacts:
    """One attempt by ``node``, signed with its key when there is a statement."""
    signer = signer_of(node)
    attempt = AttemptFacts(
        slot=slot,
        epoch=epoch,
        purpose=purpose,
        node_id=NodeId(node),
        node_public_key=signer.public_key,
        node_owner_ref=digest_of(f"owner {owner or node}"),
        trusted=trusted,
        state=state,
        reason=reason,
        verdict=verdict if statement else Verdict.NONE,
        statement=statement,
        signature=None,
        granted_at_ms=START_MS + 10 * slot + epoch,
        finished_at_ms=START_MS + 900 + slot if statement else None,
        energy=EnergyFacts(millijoules=2_500, label=EnergyLabel.ESTIMATED, source="cpu_time")
        if statement
        else EnergyFacts(millijoules=None, label=EnergyLabel.UNKNOWN, source=""),
    )
    if statement is None:
        return attempt
    return replace(attempt, signature=signer.sign(attempt.statement_about(task).encode()))


def lost_attempt(task: TaskFacts, *, slot: int, node: str, epoch: int = 1) -> AttemptFacts:
    """An attempt whose lease expired without a word."""
    return attempt_of(
        task,
        slot=slot,
        node=node,
        epoch=epoch,
        statement=None,
        state=AttemptState.EXPIRED,
        reason="lease_expired",
    )


def body_of(
    task: TaskFacts,
    attempts: Sequence[AttemptFacts],
    *,
    requested: AssuranceClass = AssuranceClass.SIGNED,
    replicas: int = 1,
    waived: bool = False,
    prefixes_distinct: bool = True,
    ended: tuple[OutcomeStatus, str] = (OutcomeStatus.FAILED, "no_agreement"),
) -> ReceiptBody:
    """The body that these attempts lead to; ``ended`` is how, when they decide nothing."""
    found = conclude(task, attempts, replicas)
    judged = tuple(
        replace(each, verdict=verdict)
        for each, verdict in zip(attempts, found.verdicts, strict=True)
    )
    independence = independence_of(found, prefixes_distinct=prefixes_distinct, waived=waived)
    return ReceiptBody(
        version=RECEIPT_VERSION,
        receipt_id=task.task_id,
        control_plane=ControlPlane(
            id=CONTROL_PLANE_ID, public_key=signer_of(CONTROL_PLANE_ID).public_key
        ),
        task=task,
        verification=VerificationFacts(
            requested_class=requested,
            replicas=replicas,
            achieved_class=found.achieved,
            decision=found.decision,
            agreeing=found.agreeing,
            disagreeing=found.disagreeing,
            independence=independence,
            provisional=found.achieved in {AchievedClass.SIGNED, AchievedClass.QUORUM},
            error_bound=bound_of(found, independence),
            audit=Audit(rate_ppm=50_000, state=AuditState.NONE),
        ),
        outcome=_outcome_of(judged, ended),
        attempts=judged,
    )


def _outcome_of(attempts: Sequence[AttemptFacts], ended: tuple[OutcomeStatus, str]) -> OutcomeFacts:
    accepted = [each.statement for each in attempts if each.verdict is Verdict.AGREED]
    won = accepted[0] if accepted else None
    if won is None:
        return OutcomeFacts(
            status=ended[0],
            reason=ended[1],
            trap="",
            detail="nothing was accepted",
            output_digest=Digest(EMPTY_DIGEST),
            output_size_bytes=0,
            fuel_used=0,
            memory_peak_bytes=0,
        )
    return OutcomeFacts(
        status=OutcomeStatus.FAILED if won.reason else OutcomeStatus.COMPLETED,
        reason=won.reason or "",
        trap=won.trap,
        detail="",
        output_digest=won.output_digest,
        output_size_bytes=won.output_size_bytes,
        fuel_used=won.fuel_used,
        memory_peak_bytes=won.memory_peak_bytes,
    )


def sign_body(body: ReceiptBody, signer: Ed25519Signer | None = None) -> Signature:
    return (signer or signer_of(CONTROL_PLANE_ID)).sign(body.message())


def sealed(body: ReceiptBody, *, before: int = 5, after: int = 3) -> Receipt:
    """``body`` signed and logged between ``before`` and ``after`` audit records."""
    log = new_log()
    for number in range(before):
        log.append(audit_leaf(number))
    signature = sign_body(body)
    index = log.append(body.leaf_data(signature))
    for number in range(after):
        log.append(audit_leaf(before + number))
    return Receipt(body=body, signature=signature, log=log.position(index))
