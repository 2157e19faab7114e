"""A task's specification as a message: the store keeps it and nodes receive it. Version 1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    CellLimits,
    ScalarCall,
    WasiCall,
)
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.tasks.spec import (
    INLINE_INPUT_BYTES_MAX,
    AssuranceClass,
    InputRef,
    NodeType,
    Requirements,
    TaskSpec,
    TaskType,
    Timeouts,
    VerificationRequest,
)
from ambient_vcp.wire.fields import (
    LIST_LENGTH_MAX,
    Count,
    HexDigest,
    Shape,
    Text,
    TextList,
    checked,
)

SPEC_VERSION: Final = 1
WHERE = "task_spec"


class InputShape(Shape, frozen=True):
    """``inline`` repeats the bytes (base64) when they are small. Its digest is not checked here."""

    digest: HexDigest
    size_bytes: Count
    inline: bytes | None = None

    def __post_init__(self) -> None:
        if self.inline is None:
            return
        if len(self.inline) != self.size_bytes:
            raise ValueError("`inline` does not have `size_bytes` bytes")
        if self.size_bytes > INLINE_INPUT_BYTES_MAX:
            raise ValueError(f"`inline` has at most {INLINE_INPUT_BYTES_MAX} bytes")


class ScalarShape(Shape, frozen=True, tag_field="interface", tag="scalar"):
    name: Text
    args: TextList = ()


class BytesShape(Shape, frozen=True, tag_field="interface", tag="bytes"):
    pass


class WasiShape(Shape, frozen=True, tag_field="interface", tag="wasi"):
    args: TextList = ()
    env: Annotated[tuple[tuple[Text, Text], ...], msgspec.Meta(max_length=LIST_LENGTH_MAX)] = ()


CallShape = ScalarShape | BytesShape | WasiShape


class LimitsShape(Shape, frozen=True):
    fuel_max: Count
    memory_bytes_max: Count
    wall_ms_max: Count
    output_bytes_max: Count
    stack_bytes_max: Count
    log_bytes_max: Count


class RequirementsShape(Shape, frozen=True):
    node_types: Annotated[tuple[NodeType, ...], msgspec.Meta(max_length=16)]
    min_cpu_cores: Count
    min_memory_gb: float
    min_bandwidth_mbps: float
    gpu: bool
    region: Text

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_memory_gb) and math.isfinite(self.min_bandwidth_mbps)):
            raise ValueError("numbers are finite")


class VerificationShape(Shape, frozen=True):
    assurance_class: AssuranceClass
    replicas: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    audit_rate_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class TimeoutsShape(Shape, frozen=True):
    queue_ms: Count
    execution_ms: Count
    total_ms: Count


class SpecShape(Shape, frozen=True):
    version: Literal[1]
    task_type: TaskType
    module: InputShape
    call: CallShape
    program: Text
    public_input: InputShape | None
    private_input: InputShape | None
    private_commitment: Text
    limits: LimitsShape
    requirements: RequirementsShape
    verification: VerificationShape
    timeouts: TimeoutsShape
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    name: Text


def _input_shape(ref: InputRef) -> InputShape:
    return InputShape(digest=ref.digest, size_bytes=ref.size_bytes, inline=ref.inline)


def _input_ref(shape: InputShape) -> InputRef:
    return InputRef(digest=Digest(shape.digest), size_bytes=shape.size_bytes, inline=shape.inline)


def _call_shape(call: Call) -> CallShape:
    match call:
        case ScalarCall(name=name, args=args):
            return ScalarShape(name=name, args=args)
        case BytesCall():
            return BytesShape()
        case WasiCall(args=args, env=env):
            return WasiShape(args=args, env=env)


def _call(shape: CallShape) -> Call:
    match shape:
        case ScalarShape(name=name, args=args):
            return ScalarCall(name=name, args=args)
        case BytesShape():
            return BytesCall()
        case WasiShape(args=args, env=env):
            return WasiCall(args=args, env=env)


def _limits_shape(limits: CellLimits) -> LimitsShape:
    return LimitsShape(
        fuel_max=limits.fuel_max,
        memory_bytes_max=limits.memory_bytes_max,
        wall_ms_max=limits.wall_ms_max,
        output_bytes_max=limits.output_bytes_max,
        stack_bytes_max=limits.stack_bytes_max,
        log_bytes_max=limits.log_bytes_max,
    )


def _requirements_shape(wanted: Requirements) -> RequirementsShape:
    return RequirementsShape(
        node_types=tuple(sorted(wanted.node_types)),
        min_cpu_cores=wanted.min_cpu_cores,
        min_memory_gb=wanted.min_memory_gb,
        min_bandwidth_mbps=wanted.min_bandwidth_mbps,
        gpu=wanted.gpu,
        region=wanted.region,
    )


def _requirements(shape: RequirementsShape) -> Requirements:
    return Requirements(
        node_types=frozenset(shape.node_types),
        min_cpu_cores=shape.min_cpu_cores,
        min_memory_gb=shape.min_memory_gb,
        min_bandwidth_mbps=shape.min_bandwidth_mbps,
        gpu=shape.gpu,
        region=shape.region,
    )


def _terms(spec: TaskSpec) -> _Terms:
    wish, times = spec.verification, spec.timeouts
    return (
        _limits_shape(spec.limits),
        _requirements_shape(spec.requirements),
        VerificationShape(
            assurance_class=wish.assurance_class,
            replicas=wish.replicas,
            audit_rate_ppm=wish.audit_rate_ppm,
        ),
        TimeoutsShape(
            queue_ms=times.queue_ms, execution_ms=times.execution_ms, total_ms=times.total_ms
        ),
    )


def _shape(spec: TaskSpec, terms: _Terms) -> SpecShape:
    limits, requirements, verification, timeouts = terms
    return SpecShape(
        version=SPEC_VERSION,
        task_type=spec.task_type,
        module=_input_shape(spec.module),
        call=_call_shape(spec.call),
        program=spec.program,
        public_input=_input_shape(spec.public_input) if spec.public_input else None,
        private_input=_input_shape(spec.private_input) if spec.private_input else None,
        private_commitment=spec.private_commitment,
        limits=limits,
        requirements=requirements,
        verification=verification,
        timeouts=timeouts,
        attempts_max=spec.attempts_max,
        name=spec.name,
    )


def _spec(shape: SpecShape) -> TaskSpec:
    return TaskSpec(
        task_type=shape.task_type,
        module=_input_ref(shape.module),
        call=_call(shape.call),
        program=shape.program,
        public_input=_input_ref(shape.public_input) if shape.public_input else None,
        private_input=_input_ref(shape.private_input) if shape.private_input else None,
        private_commitment=shape.private_commitment,
        limits=CellLimits(**msgspec.structs.asdict(shape.limits)),
        requirements=_requirements(shape.requirements),
        verification=VerificationRequest(**msgspec.structs.asdict(shape.verification)),
        timeouts=Timeouts(**msgspec.structs.asdict(shape.timeouts)),
        attempts_max=shape.attempts_max,
        name=shape.name,
    )


_JSON = msgspec.json.Decoder(SpecShape)
_Terms = tuple[LimitsShape, RequirementsShape, VerificationShape, TimeoutsShape]
"""The parts that the specifications of a batch mostly share."""


def encode_spec(spec: TaskSpec) -> dict[str, Any]:
    """The message of a specification, made of JSON's own types; bytes are base64 text."""
    message: dict[str, Any] = msgspec.to_builtins(_shape(spec, _terms(spec)))
    return message


def decode_spec(message: object) -> TaskSpec:
    """The specification in a message of JSON's own types.

    Raises:
        InvalidInputError: a field is missing, unknown, of the wrong type or out of bounds.
    """
    return checked(WHERE, lambda: _spec(msgspec.convert(message, SpecShape)))


def spec_to_json(spec: TaskSpec) -> bytes:
    """The same message as JSON text. Equal specifications give equal bytes.

    Raises:
        InvalidInputError: a text holds lone surrogates, or a number is not finite.
    """
    return specs_to_json([spec])[0]


def specs_to_json(specs: Iterable[TaskSpec]) -> list[bytes]:
    """The same for many; what they share (the very objects) is translated once.

    Raises:
        InvalidInputError: as :func:`spec_to_json`.
    """
    # The given specifications are alive meanwhile, so an id names one object.
    given = list(specs)
    shared: dict[tuple[int, int, int, int], _Terms] = {}
    texts = []
    for spec in given:
        key = (id(spec.limits), id(spec.requirements), id(spec.verification), id(spec.timeouts))
        terms = shared.get(key) or shared.setdefault(key, _terms(spec))
        texts.append(checked(WHERE, partial(_encoded, spec, terms)))
    return texts


def _encoded(spec: TaskSpec, terms: _Terms) -> bytes:
    return msgspec.json.encode(_shape(spec, terms))


def check_spec_json(text: bytes | str) -> None:
    """Raises InvalidInputError where :func:`spec_from_json` would."""
    checked(WHERE, lambda: _JSON.decode(text))


def spec_from_json(text: bytes | str) -> TaskSpec:
    """The inverse of :func:`spec_to_json`.

    Raises:
        InvalidInputError: as :func:`decode_spec`, or it is not JSON.
    """
    return checked(WHERE, lambda: _spec(_JSON.decode(text)))
