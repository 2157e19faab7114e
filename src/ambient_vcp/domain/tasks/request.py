"""From what a submitter sends to a task that can be run: every rule of intake, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ambient_vcp.domain.errors import (
    ClassUnavailableError,
    InvalidInputError,
    LimitExceededError,
)
from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    CellLimits,
    ScalarCall,
    WasiCall,
)
from ambient_vcp.domain.tasks.policy import (
    MODULE_BYTES_MAX,
    NODES_PER_TASK_MAX,
    REPLICAS_MAX,
    Profile,
    TypePolicy,
    policy_for,
)
from ambient_vcp.domain.tasks.retry import ATTEMPTS_MAX
from ambient_vcp.domain.tasks.spec import (
    OFFERED_CLASSES,
    AssuranceClass,
    InputRef,
    NodeType,
    Requirements,
    TaskSpec,
    TaskType,
    Timeouts,
    VerificationRequest,
)

AUDIT_RATE_PPM_MIN = 50_000
MILLION = 1_000_000
QUEUE_SEC_MAX = 86_400
TOTAL_SEC_MAX = 604_800
EXECUTION_SEC_MAX = 3_600
NAME_LENGTH_MAX = 128
ARGS_MAX = 256
ARG_BYTES_MAX = 4_096
ENV_MAX = 64
ENTRY_LENGTH_MAX = 1_000
STACK_BYTES_MAX = 4 * 1024 * 1024
TERMS_REMEMBERED_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsRequest:
    """What the submitter sets; None takes the default."""

    fuel: int | None = None
    memory_bytes: int | None = None
    wall_ms: int | None = None
    output_bytes: int | None = None
    stack_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A submission after parsing, before any rule. Inputs are already blobs or small bytes."""

    task_type: str
    module: InputRef | None
    call: Call
    program: str = ""
    public_input: InputRef | None = None
    private_input: InputRef | None = None
    private_commitment: str = ""
    min_nodes: int = 1
    execution_sec: int | None = None
    require_gpu: bool = False
    require_proof: bool = False
    min_cpu_cores: int | None = None
    min_memory_gb: float | None = None
    min_bandwidth_mbps: float | None = None
    region: str = ""
    assurance_class: str | None = None
    replicas: int | None = None
    audit_rate_ppm: int | None = None
    limits: LimitsRequest = field(default_factory=LimitsRequest)
    queue_sec: int | None = None
    total_sec: int | None = None
    attempts_max: int = 5
    name: str = ""


def build_spec(request: TaskRequest, profile: Profile) -> TaskSpec:
    """Check a submission against its type's policy and every bound, and complete it.

    Raises:
        InvalidInputError: a value breaks a rule; ``where`` names the field of the protocol.
        LimitExceededError: a number is above its maximum.
        ClassUnavailableError: the asked assurance class is not offered.
    """
    policy = policy_for(profile, request.task_type)
    task_type = TaskType(request.task_type)
    module = _check_module(request, policy)
    _check_payload(request, policy)
    _check_call(request.call)
    _bounded("max_attempts", request.attempts_max, 1, ATTEMPTS_MAX)
    if len(request.name) > NAME_LENGTH_MAX or not request.name.isprintable():
        raise InvalidInputError(
            where="name", rule=f"is at most {NAME_LENGTH_MAX} printable characters"
        )
    limits, requirements, verification, timeouts = _agree(_terms_of(request), policy)
    return TaskSpec(
        task_type=task_type,
        module=module,
        call=request.call,
        program=request.program,
        public_input=request.public_input,
        private_input=request.private_input,
        private_commitment=request.private_commitment,
        limits=limits,
        requirements=requirements,
        verification=verification,
        timeouts=timeouts,
        attempts_max=request.attempts_max,
        name=request.name,
    )


class _Terms(NamedTuple):
    """What a submission says about how it is run: mostly the same for many tasks."""

    limits: LimitsRequest
    min_nodes: int
    execution_sec: int | None
    require_gpu: bool
    require_proof: bool
    min_cpu_cores: int | None
    min_memory_gb: float | None
    min_bandwidth_mbps: float | None
    region: str
    assurance_class: str | None
    replicas: int | None
    audit_rate_ppm: int | None
    queue_sec: int | None
    total_sec: int | None


def _terms_of(request: TaskRequest) -> _Terms:
    return _Terms(
        request.limits,
        request.min_nodes,
        request.execution_sec,
        request.require_gpu,
        request.require_proof,
        request.min_cpu_cores,
        request.min_memory_gb,
        request.min_bandwidth_mbps,
        request.region,
        request.assurance_class,
        request.replicas,
        request.audit_rate_ppm,
        request.queue_sec,
        request.total_sec,
    )


# Cached because a thousand tasks of one submission ask for the same.
@lru_cache(maxsize=TERMS_REMEMBERED_MAX)
def _agree(
    terms: _Terms, policy: TypePolicy
) -> tuple[CellLimits, Requirements, VerificationRequest, Timeouts]:
    return (
        _limits(terms, policy),
        _requirements(terms, policy),
        _verification(terms),
        _timeouts(terms, policy),
    )


def _bounded(where: str, value: int, low: int, high: int) -> int:
    if value < low:
        raise InvalidInputError(where=where, rule=f"is {low} to {high}", got=str(value))
    if value > high:
        raise LimitExceededError(limit=where, maximum=high, got=value)
    return value


def _check_module(request: TaskRequest, policy: TypePolicy) -> InputRef:
    if request.module is None:
        raise InvalidInputError(
            where="wasm_module",
            rule="is needed for this task type",
            advice="Send the module as base64 in wasm_module, or upload it and name its digest.",
        )
    if not policy.module_allowed and not request.program:
        raise InvalidInputError(
            where="wasm_module",
            rule=f"is not allowed for {request.task_type}",
            advice="Use task type wasm_execution for modules of your own.",
        )
    if request.module.size_bytes > MODULE_BYTES_MAX:
        raise LimitExceededError(
            limit="wasm_module bytes", maximum=MODULE_BYTES_MAX, got=request.module.size_bytes
        )
    if request.module.size_bytes == 0:
        raise InvalidInputError(where="wasm_module", rule="is not empty")
    return request.module


def _check_payload(request: TaskRequest, policy: TypePolicy) -> None:
    total = sum(
        ref.size_bytes for ref in (request.public_input, request.private_input) if ref is not None
    )
    if total > policy.payload_bytes_max:
        raise LimitExceededError(limit="inputs bytes", maximum=policy.payload_bytes_max, got=total)
    if request.private_input is not None and not isinstance(request.call, BytesCall):
        raise InvalidInputError(where="inputs.private_input", rule="needs the interface bytes")


def _check_call(call: Call) -> None:
    where = "inputs.args"
    texts: tuple[str, ...] = ()
    match call:
        case ScalarCall(name=name, args=args):
            texts = (*args, name)
            if not 1 <= len(name) <= ENTRY_LENGTH_MAX:
                raise InvalidInputError(
                    where="inputs.entry",
                    rule=f"names an exported function in 1 to {ENTRY_LENGTH_MAX} characters",
                )
        case WasiCall(args=args, env=env):
            texts = (*args, *(part for pair in env for part in pair))
            if len(env) > ENV_MAX:
                raise LimitExceededError(limit="inputs.env", maximum=ENV_MAX, got=len(env))
            if any(not key or "=" in key for key, _ in env):
                raise InvalidInputError(where="inputs.env", rule="keys are not empty, without =")
        case BytesCall():
            return
    if len(texts) > ARGS_MAX:
        raise LimitExceededError(limit=where, maximum=ARGS_MAX, got=len(texts))
    for text in texts:
        if len(text.encode("utf-8", "replace")) > ARG_BYTES_MAX or "\0" in text:
            raise InvalidInputError(
                where=where, rule=f"each is at most {ARG_BYTES_MAX} bytes without NUL"
            )


def _limits(request: _Terms, policy: TypePolicy) -> CellLimits:
    asked, default = request.limits, CellLimits()
    execution_ms = _execution_ms(request, policy)
    wall_default = default.wall_ms_max if request.execution_sec is None else execution_ms
    pairs = (
        ("limits.fuel", asked.fuel, default.fuel_max, policy.fuel_max),
        (
            "limits.memory_bytes",
            asked.memory_bytes,
            default.memory_bytes_max,
            policy.memory_bytes_max,
        ),
        ("limits.wall_ms", asked.wall_ms, wall_default, policy.execution_sec_max * 1000),
        (
            "limits.output_bytes",
            asked.output_bytes,
            default.output_bytes_max,
            policy.output_bytes_max,
        ),
        ("limits.stack_bytes", asked.stack_bytes, default.stack_bytes_max, STACK_BYTES_MAX),
    )
    fuel, memory, wall, output, stack = (
        _bounded(where, usual if value is None else value, 1, maximum)
        for where, value, usual, maximum in pairs
    )
    return CellLimits(
        fuel_max=fuel,
        memory_bytes_max=memory,
        wall_ms_max=min(wall, execution_ms),
        output_bytes_max=output,
        stack_bytes_max=stack,
    )


def _requirements(request: _Terms, policy: TypePolicy) -> Requirements:
    if request.min_cpu_cores is not None:
        _bounded("requirements.min_cpu_cores", request.min_cpu_cores, 1, 256)
    for where, value, high in (
        ("requirements.min_memory_gb", request.min_memory_gb, 2_048.0),
        ("requirements.min_bandwidth_mbps", request.min_bandwidth_mbps, 100_000.0),
    ):
        if value is not None and not 0 <= value <= high:
            raise InvalidInputError(where=where, rule=f"is 0 to {high:.0f}", got=str(value))
    return Requirements(
        node_types=frozenset({policy.node_type, NodeType.ANY}),
        min_cpu_cores=max(policy.min_cpu_cores, request.min_cpu_cores or 1),
        min_memory_gb=float(max(policy.min_memory_gb, request.min_memory_gb or 0.0)),
        min_bandwidth_mbps=float(max(policy.min_bandwidth_mbps, request.min_bandwidth_mbps or 0.0)),
        gpu=policy.gpu or request.require_gpu,
        region=request.region,
    )


def _verification(request: _Terms) -> VerificationRequest:
    _bounded("requirements.min_nodes", request.min_nodes, 1, NODES_PER_TASK_MAX)
    wanted = request.assurance_class
    if wanted is None:
        wanted = "quorum" if request.min_nodes > 1 else "signed"
    if request.require_proof:
        wanted = AssuranceClass.PROVED
    try:
        chosen = AssuranceClass(wanted)
    except ValueError:
        raise InvalidInputError(
            where="verification.class",
            rule="is one of " + ", ".join(AssuranceClass),
            got=repr(wanted[:40]),
        ) from None
    if chosen not in OFFERED_CLASSES:
        raise ClassUnavailableError(assurance_class=chosen)
    if chosen is AssuranceClass.QUORUM:
        replicas = request.replicas if request.replicas is not None else max(2, request.min_nodes)
        _bounded("verification.replicas", replicas, 2, REPLICAS_MAX)
    else:
        replicas = 1
        if request.replicas not in (None, 1):
            raise InvalidInputError(
                where="verification.replicas",
                rule="goes with class quorum",
                advice="Ask for class quorum to have several nodes compute it.",
            )
    rate = AUDIT_RATE_PPM_MIN if request.audit_rate_ppm is None else request.audit_rate_ppm
    _bounded("verification.audit_rate (ppm)", rate, AUDIT_RATE_PPM_MIN, MILLION)
    return VerificationRequest(assurance_class=chosen, replicas=replicas, audit_rate_ppm=rate)


def _execution_ms(request: _Terms, policy: TypePolicy) -> int:
    if request.execution_sec is None:
        return Timeouts().execution_ms
    execution_max = min(policy.execution_sec_max, EXECUTION_SEC_MAX)
    where = "requirements.max_execution_time_sec"
    return _bounded(where, request.execution_sec, 1, execution_max) * 1000


def _timeouts(request: _Terms, policy: TypePolicy) -> Timeouts:
    default = Timeouts()
    queue = default.queue_ms
    if request.queue_sec is not None:
        queue = _bounded("timeouts.queue_sec", request.queue_sec, 1, QUEUE_SEC_MAX) * 1000
    total = default.total_ms
    if request.total_sec is not None:
        total = _bounded("timeouts.total_sec", request.total_sec, 1, TOTAL_SEC_MAX) * 1000
    execution = _execution_ms(request, policy)
    return Timeouts(queue_ms=min(queue, total), execution_ms=execution, total_ms=total)
