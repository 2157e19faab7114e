"""What a run calls: is it there, do the arguments fit, and the link to the host functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import wasmtime

from ambient_vcp.adapters.wasmtime.fuel_meter import FuelMeter
from ambient_vcp.adapters.wasmtime.imports import IMPORTS, Signature
from ambient_vcp.adapters.wasmtime.module_checks import MODULE_BYTES_MAX
from ambient_vcp.adapters.wasmtime.module_summary import ModuleSummary
from ambient_vcp.adapters.wasmtime.protocol import Job
from ambient_vcp.domain.execution.invocation import ValueType
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.execution.scalars import parse_scalars

PROGRAM_NAME = "guest.wasm"
"""The first argument of every WASI command, as programs expect their own name there."""
ARGUMENT_BYTES_MAX = 128 * 1024

_VALUE_TYPES = {
    "i32": wasmtime.ValType.i32,
    "i64": wasmtime.ValType.i64,
    "f32": wasmtime.ValType.f32,
    "f64": wasmtime.ValType.f64,
}


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
        if kind not in _VALUE_TYPES:
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


def link(
    summary: ModuleSummary,
    store: wasmtime.Store,
    hosts: dict[str, dict[str, Callable[..., Any]]],
    meter: FuelMeter,
) -> list[wasmtime.Func]:
    """Host functions in the order of the module's imports, which the checks have approved.

    Each call is charged to ``meter`` before it is made.
    """
    functions = []
    for item in summary.imports:
        signature = IMPORTS[item.module][item.name]
        kind = wasmtime.FuncType(
            [_VALUE_TYPES[name]() for name in signature.params],
            [_VALUE_TYPES[name]() for name in signature.results],
        )
        function = _metered(hosts[item.module][item.name], meter)
        functions.append(wasmtime.Func(store, kind, function))
    return functions


def _metered(function: Callable[..., Any], meter: FuelMeter) -> Callable[..., Any]:
    def metered(*values: int) -> Any:
        meter.charge_call()
        return function(*values)

    return metered
