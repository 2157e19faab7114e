"""What a run calls: is it there, and do the arguments fit."""

from __future__ import annotations

import os

from ambient_vcp.adapters.wasmtime.modules.imports import Signature
from ambient_vcp.adapters.wasmtime.modules.module_checks import MODULE_BYTES_MAX
from ambient_vcp.adapters.wasmtime.modules.module_summary import ModuleSummary
from ambient_vcp.adapters.wasmtime.protocol import Job
from ambient_vcp.domain.execution.invocation import ValueType
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.execution.scalars import parse_scalars

PROGRAM_NAME = "guest.wasm"
"""The first argument of every WASI command, as programs expect their own name there."""
ARGUMENT_BYTES_MAX = 128 * 1024

_NUMBERS = frozenset(ValueType)


class RunStoppedError(Exception):
    """The run ends here with a reason of its own."""

    def __init__(self, reason: Reason, detail: str = "", trap: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.trap = trap


def read_module(fd: int) -> bytes:
    """The module, or one byte more than is allowed, so that the check can say so."""
    try:
        size = min(os.lseek(fd, 0, os.SEEK_END), MODULE_BYTES_MAX + 1)
        return os.pread(fd, size, 0)
    except OSError as error:
        raise RunStoppedError(Reason.INPUT_UNAVAILABLE, f"the module: {error.strerror}") from error


def require_entry(summary: ModuleSummary, job: Job) -> None:
    export = summary.function_export(job.name)
    if export is None:
        offered = [item.name for item in summary.exports if item.kind == "func"]
        listed = ", ".join(offered[:10]) or "none"
        raise RunStoppedError(
            Reason.MISSING_EXPORT, f"no exported function {job.name}; the module exports: {listed}"
        )
    if job.interface != "scalar" and export.type != str(Signature((), ())):
        raise RunStoppedError(
            Reason.MISSING_EXPORT, f"{job.name} must be () -> (), the module's is {export.type}"
        )


def signature_of(summary: ModuleSummary, name: str) -> Signature:
    export = summary.function_export(name)
    params, _, results = (export.type if export else "() -> ()").partition(" -> ")
    return Signature(_listed(params), _listed(results))


def _listed(text: str) -> tuple[str, ...]:
    inner = text[1:-1]
    return tuple(inner.split(", ")) if inner else ()


def scalar_arguments(summary: ModuleSummary, job: Job) -> list[int | float]:
    signature = signature_of(summary, job.name)
    for kind in (*signature.params, *signature.results):
        if kind not in _NUMBERS:
            raise RunStoppedError(
                Reason.BAD_ARGUMENTS, f"{job.name} has type {signature}; only numbers can be passed"
            )
    kinds = [ValueType(kind) for kind in signature.params]
    return [value.to_number() for value in parse_scalars(job.args, kinds)]


def c_strings(texts: list[str]) -> tuple[bytes, ...]:
    items = tuple(text.encode("utf-8", "surrogateescape") for text in texts)
    if any(b"\0" in item for item in items):
        raise RunStoppedError(Reason.BAD_ARGUMENTS, "an argument contains a zero byte")
    if sum(len(item) + 1 for item in items) > ARGUMENT_BYTES_MAX:
        raise RunStoppedError(
            Reason.BAD_ARGUMENTS, f"arguments and environment exceed {ARGUMENT_BYTES_MAX} bytes"
        )
    return items
