"""Real Ed25519 keys with fixed names, and results that are really signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ambient_vcp.adapters.ed25519 import Ed25519Signer
from ambient_vcp.domain.execution.invocation import entry_name, interface_name
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import Digest, Signature
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.records import UNKNOWN_ENERGY, AttemptResult, Energy
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.domain.verification.judge import EMPTY_DIGEST, attempt_statement, input_digest

EXEC_CLASS = "wasmtime-50.0.1/x86_64/1"
FUEL_PER_RUN = 123_456
MEMORY_PER_RUN_BYTES = 131_072


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def signer_named(name: str) -> Ed25519Signer:
    """The signer that belongs to ``name``: the same key in every run."""
    return Ed25519Signer.from_seed(hashlib.sha256(f"simulated key {name}".encode()).digest())


def success(output: bytes, *, fuel_used: int = FUEL_PER_RUN) -> Outcome:
    return Outcome(
        reason=None,
        output_digest=digest_of(output),
        output_size_bytes=len(output),
        fuel_used=fuel_used,
        memory_peak_bytes=MEMORY_PER_RUN_BYTES,
    )


def answer(reason: Reason, *, trap: str = "", fuel_used: int = FUEL_PER_RUN) -> Outcome:
    """A failure that is an answer of the guest's own."""
    return Outcome(
        reason=reason,
        trap=trap,
        output_digest=EMPTY_DIGEST,
        output_size_bytes=0,
        fuel_used=fuel_used,
        memory_peak_bytes=MEMORY_PER_RUN_BYTES,
    )


def trace_of(spec: TaskSpec, outcome: Outcome, *, exec_class: str, started_at_ms: int) -> Trace:
    return Trace(
        module_digest=spec.module.digest,
        interface=interface_name(spec.call),
        entry=entry_name(spec.call),
        arguments_digest=arguments_digest(spec.call),
        public_input_digest=input_digest(spec),
        private_input_digest=EMPTY_DIGEST,
        output_digest=outcome.output_digest,
        reason=outcome.reason or "",
        trap=outcome.trap,
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=outcome.memory_peak_bytes,
        engine="wasmtime 50.0.1",
        exec_class=exec_class,
        started_at_ms=started_at_ms,
        finished_at_ms=started_at_ms + 10,
        compile_ms=1,
        cpu_ms=9,
        wall_ms=10,
    )


def signed_result(
    spec: TaskSpec,
    lease: LeaseRef,
    outcome: Outcome,
    signer: Ed25519Signer,
    *,
    output: bytes | None = b"",
    exec_class: str = EXEC_CLASS,
    started_at_ms: int = 0,
    energy: Energy = UNKNOWN_ENERGY,
) -> AttemptResult:
    """What a node hands in for ``outcome``, signed over the statement of this very lease."""
    trace = trace_of(spec, outcome, exec_class=exec_class, started_at_ms=started_at_ms)
    unsigned = AttemptResult(
        outcome=outcome,
        output=output,
        trace=trace,
        trace_digest=trace.digest(),
        exec_class=exec_class,
        signature=Signature(""),
        node_public_key=signer.public_key,
        energy=energy,
        execution_time_ms=trace.wall_ms,
    )
    message = attempt_statement(spec, lease, unsigned).encode()
    return replace(unsigned, signature=signer.sign(message))
