"""What a submitter asks for, as a request body and the bytes that go ahead of it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.receipts.statement import BLINDER_BYTES, commit_private_input
from ambient_vcp.sdk.errors import BadRequest

MODULE_INLINE_BYTES_MAX = 512 * 1024
INPUT_INLINE_BYTES_MAX = 48 * 1024
READ_BYTES = 1024 * 1024

Bytes = bytes | Path
"""Bytes themselves, or the file that holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """One piece of work. Exactly one of ``module`` and ``program`` is given.

    With a module, ``invoke`` calls that export with ``args`` (scalar interface), ``wasi=True`` runs
    it as a command with ``args``, ``env`` and ``input`` as stdin, and otherwise its ``run()`` reads
    ``input`` and ``private_input`` (bytes interface). With a program, ``input`` is its typed input.

    ``limits`` may have fuel, memory_bytes, wall_ms, output_bytes, stack_bytes; ``requirements`` and
    the timeouts are the protocol's. ``blinder`` (32 bytes, random by default) hides the private
    input in its commitment; keep it to open the commitment later.
    """

    module: Bytes | None = None
    program: str | None = None
    invoke: str | None = None
    args: Sequence[Any] = ()
    wasi: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    input: Any = None
    private_input: Bytes | None = None
    assurance: str | None = None
    replicas: int | None = None
    audit_rate: float | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    requirements: Mapping[str, Any] = field(default_factory=dict)
    queue_sec: int | None = None
    total_sec: int | None = None
    max_attempts: int | None = None
    name: str | None = None
    blinder: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Bytes that the control plane must have before the task is submitted."""

    source: Bytes
    digest: Digest
    size_bytes: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    body: dict[str, Any]
    uploads: tuple[Upload, ...]


def prepare(request: TaskRequest) -> Prepared:
    """Read and hash what has to be, decide what travels inside the request and what ahead of it.

    Raises:
        BadRequest: the request contradicts itself.
        OSError: a file cannot be read.
    """
    uploads: list[Upload] = []
    body: dict[str, Any] = {}
    if (request.module is None) == (request.program is None):
        raise BadRequest("give a module or the name of a program, not both", hint="")
    if request.module is None:
        _refuse_module_fields(request)
        body["task_type"] = "computation"
        body["inputs"] = {"program": request.program, "input": request.input or {}}
    else:
        body["task_type"] = "wasm_execution"
        body.update(_module_fields(request.module, uploads))
        body["inputs"] = _call(request, uploads)
    body.update(_options(request))
    return Prepared(body=body, uploads=tuple(uploads))


def digest_of(source: Bytes) -> tuple[Digest, int]:
    """SHA-256 and size; a file is read in pieces."""
    if isinstance(source, bytes):
        return Digest(hashlib.sha256(source).hexdigest()), len(source)
    with source.open("rb") as file:
        return hash_file(file)


def hash_file(file: BinaryIO) -> tuple[Digest, int]:
    hasher, size = hashlib.sha256(), 0
    while piece := file.read(READ_BYTES):
        hasher.update(piece)
        size += len(piece)
    return Digest(hasher.hexdigest()), size


def _refuse_module_fields(request: TaskRequest) -> None:
    for name in ("invoke", "args", "wasi", "env", "private_input"):
        if getattr(request, name):
            raise BadRequest(f"{name} belongs to a module, not to a program")


def _module_fields(module: Bytes, uploads: list[Upload]) -> dict[str, Any]:
    small = _read_small(module, MODULE_INLINE_BYTES_MAX)
    if small is not None:
        return {"wasm_module": base64.b64encode(small).decode()}
    return {"module": {"digest": _upload(module, "module", uploads).digest}}


def _call(request: TaskRequest, uploads: list[Upload]) -> dict[str, Any]:
    if request.invoke is not None:
        if request.wasi or request.input is not None or request.private_input is not None:
            raise BadRequest("a scalar call has arguments and no input bytes")
        return {"interface": "scalar", "entry": request.invoke, "args": _texts(request.args)}
    public = _input(request.input, "input", uploads)
    if request.wasi:
        if request.private_input is not None:
            raise BadRequest("a WASI command has no private input; use the bytes interface")
        call: dict[str, Any] = {"interface": "wasi", "args": _texts(request.args)}
        call["env"] = dict(request.env)
        return call if public is None else {**call, "stdin": public}
    if request.args or request.env:
        raise BadRequest("arguments need `invoke`, or `wasi` for a command")
    call = {"interface": "bytes"}
    if public is not None:
        call["input"] = public
    if request.private_input is not None:
        digest, _ = digest_of(request.private_input)
        blinder = request.blinder or os.urandom(BLINDER_BYTES)
        call["private_input"] = _input(request.private_input, "private input", uploads)
        call["private_commitment"] = commit_private_input(blinder, digest)
    return call


def _options(request: TaskRequest) -> dict[str, Any]:
    verification = {
        "class": request.assurance,
        "replicas": request.replicas,
        "audit_rate": request.audit_rate,
    }
    if request.assurance is None and request.replicas is not None:
        verification["class"] = "quorum"
    timeouts = {"queue_sec": request.queue_sec, "total_sec": request.total_sec}
    options: dict[str, Any] = {
        "requirements": dict(request.requirements),
        "limits": dict(request.limits),
        "verification": {k: v for k, v in verification.items() if v is not None},
        "timeouts": {k: v for k, v in timeouts.items() if v is not None},
        "max_attempts": request.max_attempts,
        "name": request.name,
    }
    return {k: v for k, v in options.items() if v not in (None, {})}


def _texts(args: Sequence[Any]) -> list[str]:
    for argument in args:
        if isinstance(argument, bool) or not isinstance(argument, str | int | float):
            raise BadRequest(f"arguments are text or numbers, got {type(argument).__name__}")
    return [argument if isinstance(argument, str) else repr(argument) for argument in args]


def _input(source: Any, label: str, uploads: list[Upload]) -> dict[str, Any] | None:
    if source is None:
        return None
    if isinstance(source, str):
        source = source.encode()
    if not isinstance(source, bytes | Path):
        raise BadRequest(f"the {label} is bytes, text or a Path, got {type(source).__name__}")
    small = _read_small(source, INPUT_INLINE_BYTES_MAX)
    if small is not None:
        return {"base64": base64.b64encode(small).decode()}
    return {"digest": _upload(source, label, uploads).digest}


def _read_small(source: Bytes, bytes_max: int) -> bytes | None:
    if isinstance(source, bytes):
        return source if len(source) <= bytes_max else None
    with source.open("rb") as file:
        data = file.read(bytes_max + 1)
    return data if len(data) <= bytes_max else None


def _upload(source: Bytes, label: str, uploads: list[Upload]) -> Upload:
    digest, size_bytes = digest_of(source)
    upload = Upload(source=source, digest=digest, size_bytes=size_bytes, label=label)
    uploads.append(upload)
    return upload
