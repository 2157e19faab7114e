"""What a node hands in for one attempt, as a message. Version 1."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import Digest, PublicKey, Signature
from ambient_vcp.domain.tasks.records import AttemptResult, Energy
from ambient_vcp.wire.fields import Count, HexDigest, HexSignature, Shape, Text, checked

RESULT_VERSION: Final = 1
WHERE = "result"


class OutcomeShape(Shape, frozen=True):
    reason: Reason | None
    trap: Text
    detail: Text
    output_digest: HexDigest
    output_size_bytes: Count
    fuel_used: Count
    memory_peak_bytes: Count


class TraceShape(Shape, frozen=True):
    """The digests are text: an absent input's is empty."""

    module_digest: Text
    interface: Text
    entry: Text
    arguments_digest: Text
    public_input_digest: Text
    private_input_digest: Text
    output_digest: Text
    reason: Text
    trap: Text
    fuel_used: Count
    memory_peak_bytes: Count
    engine: Text
    exec_class: Text
    started_at_ms: Count
    finished_at_ms: Count
    compile_ms: Count
    cpu_ms: Count
    wall_ms: Count


class EnergyShape(Shape, frozen=True):
    millijoules: Count | None
    label: Literal["measured", "estimated", "unknown"]
    source: Text


class ResultShape(Shape, frozen=True):
    """``output`` and ``log`` are base64 text. A null output is a blob by the outcome's digest."""

    version: Literal[1]
    outcome: OutcomeShape
    output: bytes | None
    trace: TraceShape
    trace_digest: HexDigest
    exec_class: Text
    signature: HexSignature
    node_public_key: HexDigest
    energy: EnergyShape
    log: bytes
    execution_time_ms: Count


def _outcome_shape(outcome: Outcome) -> OutcomeShape:
    return OutcomeShape(
        reason=outcome.reason,
        trap=outcome.trap,
        detail=outcome.detail,
        output_digest=outcome.output_digest,
        output_size_bytes=outcome.output_size_bytes,
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=outcome.memory_peak_bytes,
    )


def _trace_shape(trace: Trace) -> TraceShape:
    return TraceShape(
        module_digest=trace.module_digest,
        interface=trace.interface,
        entry=trace.entry,
        arguments_digest=trace.arguments_digest,
        public_input_digest=trace.public_input_digest,
        private_input_digest=trace.private_input_digest,
        output_digest=trace.output_digest,
        reason=trace.reason,
        trap=trace.trap,
        fuel_used=trace.fuel_used,
        memory_peak_bytes=trace.memory_peak_bytes,
        engine=trace.engine,
        exec_class=trace.exec_class,
        started_at_ms=trace.started_at_ms,
        finished_at_ms=trace.finished_at_ms,
        compile_ms=trace.compile_ms,
        cpu_ms=trace.cpu_ms,
        wall_ms=trace.wall_ms,
    )


def _shape(result: AttemptResult) -> ResultShape:
    energy = result.energy
    return ResultShape(
        version=RESULT_VERSION,
        outcome=_outcome_shape(result.outcome),
        output=result.output,
        trace=_trace_shape(result.trace),
        trace_digest=result.trace_digest,
        exec_class=result.exec_class,
        signature=result.signature,
        node_public_key=result.node_public_key,
        energy=EnergyShape(
            millijoules=energy.millijoules,
            label=energy.label,  # type: ignore[arg-type]  # the domain's label is one of these words
            source=energy.source,
        ),
        log=result.log,
        execution_time_ms=result.execution_time_ms,
    )


def _result(shape: ResultShape) -> AttemptResult:
    return AttemptResult(
        outcome=Outcome(**msgspec.structs.asdict(shape.outcome)),
        output=shape.output,
        trace=Trace(**msgspec.structs.asdict(shape.trace)),
        trace_digest=Digest(shape.trace_digest),
        exec_class=shape.exec_class,
        signature=Signature(shape.signature),
        node_public_key=PublicKey(shape.node_public_key),
        energy=Energy(**msgspec.structs.asdict(shape.energy)),
        log=shape.log,
        execution_time_ms=shape.execution_time_ms,
    )


_JSON = msgspec.json.Decoder(ResultShape)


def encode_result(result: AttemptResult) -> dict[str, Any]:
    """The message of a result, made of JSON's own types; bytes are base64 text."""
    message: dict[str, Any] = msgspec.to_builtins(_shape(result))
    return message


def decode_result(message: object) -> AttemptResult:
    """The result in a message of JSON's own types. Signature and digests are not verified here.

    Raises:
        InvalidInputError: a field is missing, unknown, of the wrong type or out of bounds.
    """
    return checked(WHERE, lambda: _result(msgspec.convert(message, ResultShape)))


def result_to_json(result: AttemptResult) -> bytes:
    """The same message as JSON text, which :func:`result_from_json` accepts.

    Raises:
        InvalidInputError: a field is out of bounds.
    """
    return checked(WHERE, lambda: _acceptable(msgspec.json.encode(_shape(result))))


def _acceptable(text: bytes) -> bytes:
    _JSON.decode(text)
    return text


def result_from_json(text: bytes | str) -> AttemptResult:
    """The inverse of :func:`result_to_json`.

    Raises:
        InvalidInputError: as :func:`decode_result`, or it is not JSON.
    """
    return checked(WHERE, lambda: _result(_JSON.decode(text)))
