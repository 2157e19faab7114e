"""Results as an honest node would build them, around any output a test wants."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.domain.execution.invocation import entry_name, interface_name
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.execution.scalars import ScalarValue, encode_scalars
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import Digest, NodeId, TaskId
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.records import AttemptResult, Energy
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import attempt_statement, input_digest
from ambient_vcp.wire.attempt_result import encode_result
from ambient_vcp.wire.task_spec import decode_spec

EMPTY = hashlib.sha256(b"").hexdigest()


def scalar_output(value: int) -> bytes:
    return encode_scalars([ScalarValue(type="i32", bits=value)])


def signed_entry(
    signer: Ed25519Signer,
    node_id: str,
    assignment: dict[str, Any],
    output: bytes = b"",
    *,
    reason: Reason | None = None,
    inline: bool = True,
    fuel: int = 42,
) -> dict[str, Any]:
    """One entry of ``POST /nodes/{id}/results``."""
    spec = decode_spec(assignment["spec"])
    data = b"" if reason else output
    digest = Digest(hashlib.sha256(data).hexdigest())
    outcome = Outcome(
        reason=reason,
        output_digest=digest,
        output_size_bytes=len(data),
        fuel_used=spec.limits.fuel_max if reason else fuel,
        memory_peak_bytes=65_536,
    )
    trace = Trace(
        module_digest=spec.module.digest,
        interface=interface_name(spec.call),
        entry=entry_name(spec.call),
        arguments_digest=arguments_digest(spec.call),
        public_input_digest=input_digest(spec),
        private_input_digest=Digest(EMPTY),
        output_digest=digest,
        reason=reason or "",
        trap="",
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=65_536,
        engine="test engine",
        exec_class="test/1",
        started_at_ms=1,
        finished_at_ms=2,
        compile_ms=1,
        cpu_ms=1,
        wall_ms=1,
    )
    lease = LeaseRef(
        task_id=TaskId(assignment["task_id"]),
        slot=assignment["slot"],
        epoch=assignment["epoch"],
        node_id=NodeId(node_id),
    )
    result = AttemptResult(
        outcome=outcome,
        output=data if inline else None,
        trace=trace,
        trace_digest=trace.digest(),
        exec_class="test/1",
        signature="0" * 128,
        node_public_key=signer.public_key,
        energy=Energy(millijoules=None, label="unknown", source=""),
        log=b"a line\n",
        execution_time_ms=3,
    )
    signature = signer.sign(attempt_statement(spec, lease, result).encode())
    return {
        "task_id": lease.task_id,
        "slot": lease.slot,
        "epoch": lease.epoch,
        "node_id": node_id,
        "result": encode_result(replace(result, signature=signature)),
    }
