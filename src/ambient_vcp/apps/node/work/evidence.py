"""From what a cell reported to what the node signs and hands in."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from ambient_vcp.domain.execution.invocation import entry_name, interface_name
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.receipts.statement import arguments_digest, statement_of
from ambient_vcp.domain.tasks.records import AttemptResult, Energy
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.ports.sandbox import CellReport
from ambient_vcp.ports.signer import Signer
from ambient_vcp.wire.attempt_result import encode_result

EMPTY_DIGEST = Digest(hashlib.sha256(b"").hexdigest())
DETAIL_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One run with everything that belongs to it. ``output`` is None when it goes as a blob."""

    ref: LeaseRef
    spec: TaskSpec
    report: CellReport
    output: bytes | None
    energy: Energy
    engine: str
    exec_class: str
    started_at_ms: int
    finished_at_ms: int


def result_message(finished: Finished, signer: Signer) -> dict[str, Any]:
    """The protocol's RESULT, signed."""
    ref, spec, outcome = finished.ref, finished.spec, finished.report.outcome
    trace = trace_of(finished)
    trace_digest = trace.digest()
    statement = statement_of(
        outcome,
        task_id=ref.task_id,
        slot=ref.slot,
        epoch=ref.epoch,
        node_id=ref.node_id,
        module_digest=spec.module.digest,
        call=spec.call,
        public_input_digest=spec.public_input.digest if spec.public_input else EMPTY_DIGEST,
        private_input_commitment=spec.private_commitment,
        exec_class=finished.exec_class,
        trace_digest=trace_digest,
    )
    result = AttemptResult(
        outcome=outcome,
        output=finished.output,
        trace=trace,
        trace_digest=trace_digest,
        exec_class=finished.exec_class,
        signature=signer.sign(statement.encode()),
        node_public_key=signer.public_key,
        energy=finished.energy,
        log=finished.report.log,
        execution_time_ms=trace.wall_ms,
    )
    return {**_address(ref), "result": encode_result(result)}


def trace_of(finished: Finished) -> Trace:
    spec, report, outcome = finished.spec, finished.report, finished.report.outcome
    return Trace(
        module_digest=spec.module.digest,
        interface=interface_name(spec.call),
        entry=entry_name(spec.call),
        arguments_digest=arguments_digest(spec.call),
        public_input_digest=spec.public_input.digest if spec.public_input else EMPTY_DIGEST,
        private_input_digest=spec.private_input.digest if spec.private_input else Digest(""),
        output_digest=outcome.output_digest,
        reason=outcome.reason or "",
        trap=outcome.trap,
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=outcome.memory_peak_bytes,
        engine=finished.engine,
        exec_class=finished.exec_class,
        started_at_ms=finished.started_at_ms,
        finished_at_ms=max(finished.started_at_ms, finished.finished_at_ms),
        compile_ms=round(report.compile_ms),
        cpu_ms=round(report.cpu_ms),
        wall_ms=round(report.wall_ms),
    )


def failure_message(ref: LeaseRef, reason: Reason, detail: str, log: bytes = b"") -> dict[str, Any]:
    """The protocol's RESULT of a node that could not run it."""
    failure = {
        "reason": reason.value,
        "detail": detail[:DETAIL_LENGTH_MAX],
        "log_b64": base64.b64encode(log).decode(),
    }
    return {**_address(ref), "failure": failure}


def with_output(outcome: Outcome, output: bytes) -> Outcome:
    """The same outcome with other output bytes."""
    return replace(
        outcome,
        output_digest=Digest(hashlib.sha256(output).hexdigest()),
        output_size_bytes=len(output),
    )


def _address(ref: LeaseRef) -> dict[str, Any]:
    return {
        "task_id": ref.task_id,
        "slot": ref.slot,
        "epoch": ref.epoch,
        "node_id": ref.node_id,
    }
