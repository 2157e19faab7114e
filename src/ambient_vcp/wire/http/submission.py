"""From a submission's shape to the domain's request, and the bytes it brought along."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from ambient_vcp.domain.errors import InvalidInputError, NotFoundError, ValidationFailedError
from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    CellLimits,
    ScalarCall,
    WasiCall,
)
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.receipts.statement import BLINDER_BYTES, commit_private_input
from ambient_vcp.domain.tasks.request import LimitsRequest, TaskRequest
from ambient_vcp.domain.tasks.spec import INLINE_INPUT_BYTES_MAX, InputRef, TaskType
from ambient_vcp.wire.http.tasks import (
    BytesIn,
    InputIn,
    LimitsIn,
    ScalarIn,
    TaskSubmission,
    VerificationIn,
    WasiIn,
    WasmBody,
)

DEPTH_MAX = 16
ITEMS_MAX = 1_000
KEY_CHARS_MAX = 256
TEXT_CHARS_MAX = 10_000
_FREE_TEXTS = frozenset({"base64", "text"})
_INPUT_FIELDS = ("input", "private_input", "stdin")
PPM = 1_000_000
LIMITS_REMEMBERED_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A computation, translated: its module, what to call and the input's bytes."""

    name: str
    module: InputRef
    call: Call
    public_input: bytes
    limits: CellLimits


Draw = Callable[[int], bytes]
"""So many random bytes."""

Programs = Callable[[Any], Program]
"""Translates the ``inputs`` of a computation; raises InvalidInputError."""

Sizes = Mapping[str, int]
"""Of the blobs that the submitter may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """``blobs`` are to be stored."""

    request: TaskRequest
    blobs: tuple[tuple[Digest, bytes], ...]


@dataclass(slots=True)
class _Bytes:
    """Collects the bytes of one submission that are too large to travel in messages."""

    sizes: Sizes
    blobs: list[tuple[Digest, bytes]] = field(default_factory=list)

    def named(self, digest: str) -> InputRef:
        """Raises NotFoundError where the submitter may not read it, or it does not exist."""
        size_bytes = self.sizes.get(digest)
        if size_bytes is None:
            raise NotFoundError(kind="blob", id=digest)
        return InputRef(digest=Digest(digest), size_bytes=size_bytes)

    def ref(self, data: bytes) -> InputRef:
        digest = Digest(hashlib.sha256(data).hexdigest())
        if len(data) <= INLINE_INPUT_BYTES_MAX:
            return InputRef(digest=digest, size_bytes=len(data), inline=data)
        self.blobs.append((digest, data))
        return InputRef(digest=digest, size_bytes=len(data))

    def of(self, given: InputIn | None, where: str) -> InputRef | None:
        if given is None:
            return None
        named = [name for name in ("base64", "text", "digest") if getattr(given, name) is not None]
        if len(named) != 1:
            raise InvalidInputError(where=where, rule="has exactly one of base64, text, digest")
        if given.digest is not None:
            return self.named(given.digest)
        if given.text is not None:
            return self.ref(given.text.encode())
        return self.ref(decode_base64(given.base64 or "", f"{where}.base64"))


def decode_base64(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInputError(where=where, rule="is base64 with padding (RFC 4648)") from None


def named_digests(sent: TaskSubmission) -> Iterator[str]:
    """The blobs that a submission names, as far as its shape can be told yet."""
    if sent.module is not None:
        yield sent.module.digest
    if isinstance(sent.inputs, dict):
        for name in _INPUT_FIELDS:
            given = sent.inputs.get(name)
            if isinstance(given, dict) and isinstance(given.get("digest"), str):
                yield given["digest"]


def read_submission(sent: TaskSubmission, programs: Programs, draw: Draw, sizes: Sizes) -> Incoming:
    """Translate one submission. ``draw`` gives random bytes where a commitment has to be made.

    Raises:
        InvalidInputError, ValidationFailedError: the inputs do not fit the type.
        NotFoundError: a named blob is not among ``sizes``.
    """
    check_inputs(sent.inputs)
    found = _Bytes(sizes)
    if sent.task_type == TaskType.COMPUTATION:
        if sent.wasm_module is not None or sent.module is not None:
            raise InvalidInputError(
                where="wasm_module",
                rule="is not allowed for computation",
                advice="Use task type wasm_execution for modules of your own.",
            )
        program = programs(sent.inputs)
        request = _request(
            sent,
            module=program.module,
            call=program.call,
            program=program.name,
            public_input=found.ref(program.public_input),
            usual=program.limits,
        )
    elif sent.task_type == TaskType.WASM_EXECUTION:
        request = _wasm(sent, found, draw)
    else:
        # An unknown type is the domain's to refuse, with the list of those that exist.
        request = _request(sent, module=None, call=BytesCall())
    return Incoming(request=request, blobs=tuple(found.blobs))


def _wasm(sent: TaskSubmission, found: _Bytes, draw: Draw) -> TaskRequest:
    if (sent.wasm_module is None) == (sent.module is None):
        raise InvalidInputError(
            where="wasm_module",
            rule="or module: exactly one of the two is needed",
            advice="Send the module as base64 in wasm_module, or upload it and name its digest.",
        )
    if sent.module is not None:
        module = found.named(sent.module.digest)
    else:
        module = found.ref(decode_base64(sent.wasm_module or "", "wasm_module"))
    try:
        inputs = msgspec.convert({"inputs": sent.inputs}, WasmBody, strict=True).inputs
    except msgspec.ValidationError as error:
        rule, _, path = str(error).rpartition(" - at `$.")
        where = path.rstrip("`") if rule else "inputs"
        raise ValidationFailedError(where=where[:200], rule=(rule or str(error))[:300]) from None
    match inputs:
        case ScalarIn():
            call = ScalarCall(name=inputs.entry, args=tuple(_argument(a) for a in inputs.args))
            return _request(sent, module=module, call=call)
        case WasiIn():
            wasi = WasiCall(args=tuple(inputs.args), env=tuple(sorted(inputs.env.items())))
            stdin = found.of(inputs.stdin, "inputs.stdin")
            return _request(sent, module=module, call=wasi, public_input=stdin)
        case BytesIn():
            private = found.of(inputs.private_input, "inputs.private_input")
            return _request(
                sent,
                module=module,
                call=BytesCall(),
                public_input=found.of(inputs.input, "inputs.input"),
                private_input=private,
                private_commitment=_commitment(inputs, private, draw),
            )


def _commitment(inputs: BytesIn, private: InputRef | None, draw: Draw) -> str:
    """The submitter's own commitment, or one that hides the input but that nobody can open."""
    if private is None:
        if inputs.private_commitment is not None:
            raise InvalidInputError(
                where="inputs.private_commitment", rule="goes with a private_input"
            )
        return ""
    return inputs.private_commitment or commit_private_input(draw(BLINDER_BYTES), private.digest)


def _argument(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)


def _request(
    sent: TaskSubmission,
    *,
    module: InputRef | None,
    call: Call,
    program: str = "",
    public_input: InputRef | None = None,
    private_input: InputRef | None = None,
    private_commitment: str = "",
    usual: CellLimits | None = None,
) -> TaskRequest:
    wanted, dial = sent.requirements, sent.verification or VerificationIn()
    if wanted.region and not wanted.region.isprintable():
        raise InvalidInputError(where="requirements.region", rule="is printable")
    rate = dial.audit_rate
    if rate is not None and not 0 <= rate <= 1:
        raise InvalidInputError(where="verification.audit_rate", rule="is 0.05 to 1", got=str(rate))
    return TaskRequest(
        task_type=sent.task_type,
        module=module,
        call=call,
        program=program,
        public_input=public_input,
        private_input=private_input,
        private_commitment=private_commitment,
        min_nodes=wanted.min_nodes,
        execution_sec=wanted.max_execution_time_sec,
        require_gpu=wanted.require_gpu,
        require_proof=wanted.require_proof,
        min_cpu_cores=wanted.min_cpu_cores,
        min_memory_gb=wanted.min_memory_gb,
        min_bandwidth_mbps=wanted.min_bandwidth_mbps,
        region=wanted.region,
        assurance_class=dial.assurance_class,
        replicas=dial.replicas,
        audit_rate_ppm=None if rate is None else round(rate * PPM),
        limits=_limits(sent.limits, usual),
        queue_sec=sent.timeouts.queue_sec,
        total_sec=sent.timeouts.total_sec,
        attempts_max=sent.max_attempts,
        name=sent.name,
    )


@lru_cache(maxsize=LIMITS_REMEMBERED_MAX)
def _limits(asked: LimitsIn, usual: CellLimits | None) -> LimitsRequest:
    """What the submitter set, else what the program usually needs."""
    if usual is None:
        return LimitsRequest(**msgspec.structs.asdict(asked))
    return LimitsRequest(
        fuel=usual.fuel_max if asked.fuel is None else asked.fuel,
        memory_bytes=usual.memory_bytes_max if asked.memory_bytes is None else asked.memory_bytes,
        wall_ms=usual.wall_ms_max if asked.wall_ms is None else asked.wall_ms,
        output_bytes=usual.output_bytes_max if asked.output_bytes is None else asked.output_bytes,
        stack_bytes=usual.stack_bytes_max if asked.stack_bytes is None else asked.stack_bytes,
    )


def check_inputs(value: Any, where: str = "inputs", depth_left: int = DEPTH_MAX) -> None:
    """Bound the shape of ``inputs``; texts under ``base64`` and ``text`` are bounded by the body.

    Raises:
        InvalidInputError: nesting, a list, an object, a key or a text beyond its bound.
    """
    if isinstance(value, (dict, list)):
        _check_size(len(value), where, depth_left)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_key(key, where)
            # Most entries are short texts and numbers: they need no name of their place.
            if _is_large(item) and not (key in _FREE_TEXTS and isinstance(item, str)):
                check_inputs(item, f"{where}.{key}", depth_left - 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if _is_large(item):
                check_inputs(item, f"{where}[{index}]", depth_left - 1)
    elif isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        raise InvalidInputError(
            where=where, rule=f"has at most {TEXT_CHARS_MAX} characters", got=str(len(value))
        )


def _check_size(entries: int, where: str, depth_left: int) -> None:
    if depth_left == 0:
        raise InvalidInputError(where=where, rule=f"nests at most {DEPTH_MAX} deep")
    if entries > ITEMS_MAX:
        rule = f"has at most {ITEMS_MAX} entries"
        raise InvalidInputError(where=where, rule=rule, got=str(entries))


def _check_key(key: str, where: str) -> None:
    if len(key) > KEY_CHARS_MAX:
        raise InvalidInputError(where=where, rule=f"keys have at most {KEY_CHARS_MAX} characters")


def _is_large(item: Any) -> bool:
    """Whether it needs a closer look: anything but a number or a short text."""
    if isinstance(item, str):
        return len(item) > TEXT_CHARS_MAX
    return isinstance(item, (dict, list))
