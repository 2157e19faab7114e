"""What a node signs about one run, and what must be equal before two runs agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    ScalarCall,
    WasiCall,
    entry_name,
    interface_name,
)
from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import Digest, NodeId, TaskId

RESULT_PROTOCOL = "ambient-vcp/result/v1"
ARGUMENTS_DOMAIN = b"ambient-vcp/arguments/v1"
PRIVATE_INPUT_DOMAIN = b"ambient-vcp/private-input/v1"
BLINDER_BYTES = 32
CALLS_REMEMBERED_MAX = 64

AgreementKey: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultStatement:
    """A node's word about one run: what it ran, under which grant, and what came out.

    ``reason`` is empty on success. ``private_input_commitment`` is empty when there is no private
    input. ``public_input_digest`` is the SHA-256 of the input bytes, of the empty string if none.
    """

    protocol: ClassVar[str] = RESULT_PROTOCOL

    task_id: TaskId
    slot: int
    epoch: int
    node_id: NodeId
    module_digest: Digest
    interface: str
    entry: str
    arguments_digest: Digest
    public_input_digest: Digest
    private_input_commitment: str
    reason: str
    trap: str
    output_digest: Digest
    output_size_bytes: int
    fuel_used: int
    memory_peak_bytes: int
    exec_class: str
    trace_digest: Digest

    def encode(self) -> bytes:
        """The signed bytes: the protocol name and every field in order, each length-prefixed.

        Text is UTF-8, integers are decimal text. The domain tag comes first, so no other message of
        this system has the same bytes.
        """
        fields = (
            self.protocol,
            self.task_id,
            str(self.slot),
            str(self.epoch),
            self.node_id,
            self.module_digest,
            self.interface,
            self.entry,
            self.arguments_digest,
            self.public_input_digest,
            self.private_input_commitment,
            self.reason,
            self.trap,
            self.output_digest,
            str(self.output_size_bytes),
            str(self.fuel_used),
            str(self.memory_peak_bytes),
            self.exec_class,
            self.trace_digest,
        )
        return length_prefixed(*(field.encode() for field in fields))


def statement_of(
    outcome: Outcome,
    *,
    task_id: TaskId,
    slot: int,
    epoch: int,
    node_id: NodeId,
    module_digest: Digest,
    call: Call,
    public_input_digest: Digest,
    private_input_commitment: str,
    exec_class: str,
    trace_digest: Digest,
) -> ResultStatement:
    """The statement about ``outcome``, reached under the named grant."""
    return ResultStatement(
        task_id=task_id,
        slot=slot,
        epoch=epoch,
        node_id=node_id,
        module_digest=module_digest,
        interface=interface_name(call),
        entry=entry_name(call),
        arguments_digest=arguments_digest(call),
        public_input_digest=public_input_digest,
        private_input_commitment=private_input_commitment,
        reason=outcome.reason or "",
        trap=outcome.trap,
        output_digest=outcome.output_digest,
        output_size_bytes=outcome.output_size_bytes,
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=outcome.memory_peak_bytes,
        exec_class=exec_class,
        trace_digest=trace_digest,
    )


# Cached because the trace, the statement and the verdict of one result each ask for it.
@lru_cache(maxsize=CALLS_REMEMBERED_MAX)
def arguments_digest(call: Call) -> Digest:
    """SHA-256 over the domain tag, interface, entry, arguments and environment of ``call``.

    The parts are length-prefixed and each list is preceded by its count, so no argument can pass
    for an environment variable.
    """
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    match call:
        case ScalarCall():
            args = call.args
        case WasiCall():
            args, env = call.args, call.env
        case BytesCall():
            pass
    parts = [interface_name(call), entry_name(call), str(len(args)), *args, str(len(env))]
    for name, value in env:
        parts += [name, value]
    encoded = length_prefixed(ARGUMENTS_DOMAIN, *(part.encode() for part in parts))
    return Digest(hashlib.sha256(encoded).hexdigest())


def commit_private_input(blinder: bytes, data_digest: Digest) -> str:
    """A commitment that hides the input: SHA-256 over the domain tag, ``blinder`` and digest.

    Raises:
        InvalidInputError: ``blinder`` is not 32 bytes. Fewer would let others guess the input.
    """
    if len(blinder) != BLINDER_BYTES:
        raise InvalidInputError(
            where="blinder", rule=f"must be {BLINDER_BYTES} bytes", got=str(len(blinder))
        )
    encoded = length_prefixed(PRIVATE_INPUT_DOMAIN, blinder, bytes.fromhex(data_digest))
    return hashlib.sha256(encoded).hexdigest()


def agreement_key(statement: ResultStatement, *, same_class: bool = True) -> AgreementKey:
    """What must be equal for two statements to agree.

    Within one execution class the fuel and the class are part of it. Across classes
    (``same_class=False``) both are left out: another engine or processor counts fuel differently.
    Task, slot, epoch, node and trace digest are never part of it.
    """
    key = (
        statement.module_digest,
        statement.interface,
        statement.entry,
        statement.arguments_digest,
        statement.public_input_digest,
        statement.private_input_commitment,
        statement.reason,
        statement.trap,
        statement.output_digest,
        str(statement.output_size_bytes),
        str(statement.memory_peak_bytes),
    )
    return (*key, statement.exec_class, str(statement.fuel_used)) if same_class else key


def agreement_keys(statements: Sequence[ResultStatement]) -> tuple[AgreementKey, ...]:
    """The keys of all votes of one task, in order.

    Fuel counts when all statements come from one execution class. As soon as a second class takes
    part it counts for none of them, because equality would no longer be transitive.
    """
    same_class = len({statement.exec_class for statement in statements}) <= 1
    return tuple(agreement_key(statement, same_class=same_class) for statement in statements)
