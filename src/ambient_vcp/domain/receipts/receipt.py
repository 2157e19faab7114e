"""The receipt: the signed record of a finished task, complete enough to be checked offline."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeAlias

from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    ScalarCall,
    WasiCall,
    entry_name,
)
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import Digest, NodeId, PublicKey, Signature, TaskId
from ambient_vcp.domain.log.note import NOTE_BYTES_MAX
from ambient_vcp.domain.receipts.canonical import Json, canonical_json, parse_json
from ambient_vcp.domain.receipts.shape import AtMost, Between, Matches, from_json, to_json
from ambient_vcp.domain.receipts.statement import ResultStatement
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose
from ambient_vcp.domain.tasks.spec import AssuranceClass, TaskType
from ambient_vcp.domain.verification.bounds import BILLION, MILLION, BoundFormula
from ambient_vcp.domain.verification.votes import DecisionKind

RECEIPT_VERSION = 1
RECEIPT_DOMAIN = b"ambient-vcp/receipt/v1"
RECEIPT_LEAF_DOMAIN = b"ambient-vcp/receipt-leaf/v1"
ATTEMPTS_MAX = 4_096
REPLICAS_MAX = 1_000
PATH_MAX = 64

_HEX_32 = Matches(r"[0-9a-f]{64}", "must be 64 lower-case hexadecimal digits")
_HEX_64 = Matches(r"[0-9a-f]{128}", "must be 128 lower-case hexadecimal digits")
_UUID = Matches(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "must be a lower-case UUID"
)
_NAME = Matches(r"[A-Za-z0-9_-]{1,64}", "must be 1 to 64 of A-Z a-z 0-9 _ -")
_AUTHORITY = Matches(r"[A-Za-z0-9._-]{1,128}", "must be 1 to 128 of A-Z a-z 0-9 . _ -")
_WORD = Matches(r"[a-z][a-z0-9_]{0,63}", "must be a lower-case word")
_WORD_OR_EMPTY = Matches(r"([a-z][a-z0-9_]{0,63})?", "must be a lower-case word or empty")

Hex32: TypeAlias = Annotated[str, _HEX_32]
Sha256: TypeAlias = Annotated[Digest, _HEX_32]
Key: TypeAlias = Annotated[PublicKey, _HEX_32]
SignatureHex: TypeAlias = Annotated[Signature, _HEX_64]
TaskUuid: TypeAlias = Annotated[TaskId, _UUID]
ShortText: TypeAlias = Annotated[str, AtMost(1_024)]
ReasonWord: TypeAlias = Annotated[str, _WORD_OR_EMPTY]


class Interface(StrEnum):
    SCALAR = "scalar"
    BYTES = "bytes"
    WASI = "wasi"


class AchievedClass(StrEnum):
    """What the receipt guarantees. ``none``: no result was accepted."""

    NONE = "none"
    SIGNED = "signed"
    QUORUM = "quorum"
    REEXECUTED = "reexecuted"


class Waiver(StrEnum):
    """Why replicas were allowed to share an owner or a network."""

    PRIVATE_CLUSTER = "private_cluster"


class AuditState(StrEnum):
    """The audit of this result when the receipt was sealed."""

    NONE = "none"
    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


class OutcomeStatus(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Verdict(StrEnum):
    """What an attempt's statement counted for.

    ``agreed`` and ``disagreed`` are votes for and against the accepted result. ``undecided`` is a
    vote when none was accepted. ``too_late`` arrived after the decision, ``failed`` is the node's
    own failure, ``none`` left no statement: none of these three is a vote.
    """

    AGREED = "agreed"
    DISAGREED = "disagreed"
    UNDECIDED = "undecided"
    TOO_LATE = "too_late"
    FAILED = "failed"
    NONE = "none"


VOTING = frozenset({Verdict.AGREED, Verdict.DISAGREED, Verdict.UNDECIDED})


class EnergyLabel(StrEnum):
    MEASURED = "measured"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Who issued the receipt. The log's origin follows from ``id``."""

    id: Annotated[str, _AUTHORITY]
    public_key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLimits:
    fuel_max: int
    memory_bytes_max: int
    wall_ms_max: int
    output_bytes_max: int
    stack_bytes_max: int
    log_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What was asked for. Inputs by digest: of the empty string where there is none."""

    task_id: TaskUuid
    task_type: TaskType
    submitted_at_ms: int
    finished_at_ms: int
    module_digest: Sha256
    interface: Interface
    entry: ShortText
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    arguments_digest: Sha256
    public_input_digest: Sha256
    private_input_commitment: Annotated[
        str, Matches(r"([0-9a-f]{64})?", "must be 64 lower-case hexadecimal digits or empty")
    ]
    program: Annotated[str, AtMost(128)] | None
    limits: ReceiptLimits

    def call(self) -> Call:
        """The call that these facts describe; see ``call_is_plain``."""
        match self.interface:
            case Interface.SCALAR:
                return ScalarCall(name=self.entry, args=self.args)
            case Interface.BYTES:
                return BytesCall()
            case Interface.WASI:
                return WasiCall(args=self.args, env=self.env)

    def call_is_plain(self) -> bool:
        """Whether no fact says more than the call can carry."""
        call = self.call()
        args = () if isinstance(call, BytesCall) else call.args
        env = call.env if isinstance(call, WasiCall) else ()
        return (self.entry, self.args, self.env) == (entry_name(call), args, env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Independence:
    """Whether the agreeing nodes differ in owner and in network prefix."""

    owners_distinct: bool
    prefixes_distinct: bool
    waived: Waiver | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBound:
    """How likely a wrong result was accepted, under the named formula and assumption."""

    parts_per_billion: Annotated[int, Between(0, BILLION)]
    assumed_malicious_ppm: Annotated[int, Between(0, MILLION // 2 - 1)]
    formula: BoundFormula


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    rate_ppm: Annotated[int, Between(0, MILLION)]
    state: AuditState


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationFacts:
    """How the result was decided. ``decision`` and ``error_bound`` are null when it was not."""

    requested_class: AssuranceClass
    replicas: Annotated[int, Between(1, REPLICAS_MAX)]
    achieved_class: AchievedClass
    decision: DecisionKind | None
    agreeing: int
    disagreeing: int
    independence: Independence
    provisional: bool
    error_bound: ErrorBound | None
    audit: Audit


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFacts:
    """How the task ended. ``reason`` is empty when completed; ``detail`` is for people."""

    status: OutcomeStatus
    reason: ReasonWord
    trap: ShortText
    detail: ShortText
    output_digest: Sha256
    output_size_bytes: int
    fuel_used: int
    memory_peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFacts:
    """The part of a node's statement that the node decided. The rest stands in the task."""

    reason: Reason | None
    trap: ShortText
    output_digest: Sha256
    output_size_bytes: int
    fuel_used: int
    memory_peak_bytes: int
    exec_class: ShortText
    trace_digest: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFacts:
    """``millijoules`` is null exactly when the label is ``unknown``."""

    millijoules: int | None
    label: EnergyLabel
    source: ShortText


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """One grant of one slot to one node, and what it returned.

    ``node_owner_ref`` is a hash that tells owners apart without naming them. ``trusted`` marks a
    node that the control plane's operator trusts to re-execute.
    """

    slot: int
    epoch: int
    purpose: SlotPurpose
    node_id: Annotated[NodeId, _NAME]
    node_public_key: Key
    node_owner_ref: Hex32
    trusted: bool
    state: AttemptState
    reason: ReasonWord
    verdict: Verdict
    statement: StatementFacts | None
    signature: SignatureHex | None
    granted_at_ms: int
    finished_at_ms: int | None
    energy: EnergyFacts

    def statement_about(self, task: TaskFacts) -> ResultStatement:
        """The node's full statement, recomputed from the task's facts. Needs ``statement``."""
        own = self.statement
        assert own is not None
        return ResultStatement(
            task_id=task.task_id,
            slot=self.slot,
            epoch=self.epoch,
            node_id=self.node_id,
            module_digest=task.module_digest,
            interface=task.interface,
            entry=task.entry,
            arguments_digest=task.arguments_digest,
            public_input_digest=task.public_input_digest,
            private_input_commitment=task.private_input_commitment,
            reason=own.reason or "",
            trap=own.trap,
            output_digest=own.output_digest,
            output_size_bytes=own.output_size_bytes,
            fuel_used=own.fuel_used,
            memory_peak_bytes=own.memory_peak_bytes,
            exec_class=own.exec_class,
            trace_digest=own.trace_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptBody:
    """What the control plane signs. ``receipt_id`` is the task's id."""

    version: Annotated[int, Between(RECEIPT_VERSION, RECEIPT_VERSION)]
    receipt_id: TaskUuid
    control_plane: ControlPlane
    task: TaskFacts
    verification: VerificationFacts
    outcome: OutcomeFacts
    attempts: Annotated[tuple[AttemptFacts, ...], AtMost(ATTEMPTS_MAX)]

    def canonical(self) -> bytes:
        """The body as canonical JSON."""
        return canonical_json(to_json(self))

    def message(self) -> bytes:
        """The signed bytes: domain tag and canonical body, length-prefixed."""
        return receipt_message(self.canonical())

    def leaf_data(self, signature: Signature) -> bytes:
        """The receipt's leaf in the log: domain tag, canonical body, signature, length-prefixed.

        The signature is part of it, so that the log alone proves that this receipt was issued.
        """
        return receipt_leaf(self.canonical(), signature)


def receipt_message(canonical: bytes) -> bytes:
    """:meth:`ReceiptBody.message` from the canonical body."""
    return length_prefixed(RECEIPT_DOMAIN, canonical)


def receipt_leaf(canonical: bytes, signature: Signature) -> bytes:
    """:meth:`ReceiptBody.leaf_data` from the canonical body."""
    return length_prefixed(RECEIPT_LEAF_DOMAIN, canonical, bytes.fromhex(signature))


def signed_text(canonical: bytes, signature: Signature) -> str:
    """The canonical JSON of a body and its signature, made of the canonical body."""
    return f'{{"body":{canonical.decode()},"signature":"{signature}"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Where the receipt stands in the log, proved against a signed checkpoint."""

    index: int
    tree_size: Annotated[int, Between(1, 2**53 - 1)]
    root: Hex32
    path: Annotated[tuple[Hex32, ...], AtMost(PATH_MAX)]
    checkpoint: Annotated[str, AtMost(NOTE_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    body: ReceiptBody
    signature: SignatureHex
    log: LogPosition

    def to_dict(self) -> dict[str, Json]:
        value = to_json(self)
        assert isinstance(value, dict)
        return value

    def to_json(self) -> str:
        """Canonical JSON text of the whole receipt."""
        return canonical_json(self.to_dict()).decode()


def body_from_dict(value: Json) -> ReceiptBody:
    """Read a receipt's body strictly, as it is stored before its place in the log is known.

    Raises:
        InvalidInputError: any field missing, unknown, of another type or out of bounds.
    """
    return from_json(ReceiptBody, value, "body")


def receipt_from_dict(value: Json) -> Receipt:
    """Read a receipt strictly.

    Raises:
        InvalidInputError: any field missing, unknown, of another type or out of bounds, or a value
            that canonical JSON cannot express.
    """
    canonical_json(value)
    return from_json(Receipt, value, "receipt")


def receipt_from_json(text: str | bytes) -> Receipt:
    """The same from JSON text, which also refuses duplicate keys and floats."""
    return from_json(Receipt, parse_json(text), "receipt")
