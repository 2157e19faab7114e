"""Running one module several times under different conditions, and comparing."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ambient_vcp.adapters.wasmtime.modules.module_checks import check_imports, inspect_module
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError
from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    CellLimits,
    ScalarCall,
    WasiCall,
    entry_name,
)
from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.seed import GUEST_CLOCK_START_MS
from ambient_vcp.ports.sandbox import CellReport, GuestRun

SEED = hashlib.sha256(b"ambient-vcp module check").digest()
OTHER_SEED = hashlib.sha256(SEED).digest()
OTHER_CLOCK_MS = 1_234_567_890_123
AT_ONCE = 4
NEXT_SECOND_S = 1.1
TEXT_SHOWN_MAX = 200


def inspect(data: bytes) -> dict[str, Any]:
    """What stands in the module, and which interfaces it fits (name to None or why not)."""
    found: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    try:
        summary = inspect_module(data)
    except ModuleRefusedError as refused:
        return found | {
            "readable": False,
            "accepted": False,
            "reason": refused.reason.value,
            "detail": refused.why,
        }
    interfaces: dict[str, str | None] = {}
    for interface, entry in (("scalar", None), ("bytes", "run"), ("wasi", "_start")):
        interfaces[interface] = None
        if entry is not None and summary.function_export(entry) is None:
            interfaces[interface] = f"it exports no function {entry}"
            continue
        try:
            check_imports(summary, interface)
        except ModuleRefusedError as refused:
            interfaces[interface] = refused.why
    if not any(export.kind == "func" for export in summary.exports):
        interfaces["scalar"] = "it exports no function"
    return found | {
        "readable": True,
        "accepted": None in interfaces.values(),
        "functions": summary.functions,
        "memory_min_bytes": summary.memory_min_bytes,
        "imports": [
            {"module": item.module, "name": item.name, "kind": item.kind, "type": item.type}
            for item in summary.imports
        ],
        "exports": [
            {"name": item.name, "kind": item.kind, "type": item.type} for item in summary.exports
        ],
        "interfaces": interfaces,
    }


def trial_call(
    found: dict[str, Any],
    invoke: str | None,
    args: tuple[str, ...],
    as_bytes: bool,
    wasi: bool,
    wasi_args: tuple[str, ...],
    env: tuple[str, ...],
) -> Call | None:
    """The call to try; without an interface the only one that needs no arguments, if any."""
    if invoke is not None:
        return ScalarCall(name=invoke, args=args)
    if as_bytes:
        return BytesCall()
    fits = found.get("interfaces", {})
    if wasi or fits.get("wasi", "") is None:
        pairs = tuple((name, value) for name, _, value in (item.partition("=") for item in env))
        return WasiCall(args=wasi_args, env=pairs)
    return BytesCall() if fits.get("bytes", "") is None else None


@dataclass(frozen=True, slots=True)
class _Trial:
    path: Path
    call: Call
    inputs: tuple[Path | None, Path | None]
    limits: CellLimits
    folder: Path

    async def run(self, sandbox: WasmtimeSandbox, number: int, **changed: Any) -> CellReport:
        fields: dict[str, Any] = {
            "random_seed": SEED,
            "clock_start_ms": GUEST_CLOCK_START_MS,
            **changed,
        }
        return await sandbox.run(
            GuestRun(
                module_path=self.path,
                call=self.call,
                public_input_path=self.inputs[0],
                private_input_path=self.inputs[1],
                output_path=self.folder / f"output-{number}",
                limits=self.limits,
                **fields,
            )
        )


async def try_module(
    path: Path, call: Call, inputs: tuple[Path | None, Path | None], limits: dict[str, int]
) -> dict[str, Any]:
    """Run it under every condition and say whether all runs were the same."""
    with tempfile.TemporaryDirectory(prefix="ambient-vcp-check-") as folder:
        trial = _Trial(path, call, inputs, CellLimits(**limits), Path(folder))
        conditions, reports = await _under_conditions(trial)
        other = reports.pop()
        first = reports[0]
        text = _text(trial.folder / "output-0")
    runs = [
        {
            "condition": condition,
            "same": _key(report.outcome) == _key(first.outcome),
            "difference": _difference(first.outcome, report.outcome),
            "run_ms": report.run_ms,
        }
        for condition, report in zip(conditions, reports, strict=True)
    ]
    outcome = first.outcome
    same = all(run["same"] for run in runs)
    return {
        "entry": entry_name(call),
        # A run that the machine ended, such as by the wall clock, tells nothing about the module.
        "deterministic": None if same and not outcome.is_deterministic else same,
        "depends_on_task": _key(other.outcome) != _key(outcome),
        "reason": None if outcome.reason is None else outcome.reason.value,
        "detail": outcome.detail,
        "output_digest": outcome.output_digest,
        "output_size_bytes": outcome.output_size_bytes,
        "output_text": text,
        "fuel_used": outcome.fuel_used,
        "memory_peak_bytes": outcome.memory_peak_bytes,
        "run_ms_median": statistics.median(report.run_ms for report in reports),
        "compile_ms_median": statistics.median(report.compile_ms for report in reports),
        "runs": runs,
    }


async def _under_conditions(trial: _Trial) -> tuple[list[str], list[CellReport]]:
    """Reports in the order of the conditions, and last one with another task's clock and seed."""
    conditions = ["first run", "again in the same sandbox"]
    sandbox = await WasmtimeSandbox.start()
    try:
        reports = [await trial.run(sandbox, 0), await trial.run(sandbox, 1)]
        together = [trial.run(sandbox, 2 + i) for i in range(AT_ONCE)]
        reports += await asyncio.gather(*together)
        conditions += [f"at once, {i + 1} of {AT_ONCE}" for i in range(AT_ONCE)]
        await asyncio.sleep(NEXT_SECOND_S)
        reports.append(await trial.run(sandbox, 10))
        conditions.append("at another second")
    finally:
        await sandbox.close()
    fresh = await WasmtimeSandbox.start(spares=0)
    try:
        reports.append(await trial.run(fresh, 11))
        conditions.append("in another sandbox process, nothing warmed up")
        changed = {"random_seed": OTHER_SEED, "clock_start_ms": OTHER_CLOCK_MS}
        reports.append(await trial.run(fresh, 12, **changed))
    finally:
        await fresh.close()
    return conditions, reports


def _key(outcome: Outcome) -> tuple[Any, ...]:
    """What has to be equal before nodes of one kind agree."""
    return (
        outcome.reason,
        outcome.trap,
        outcome.output_digest,
        outcome.output_size_bytes,
        outcome.fuel_used,
        outcome.memory_peak_bytes,
    )


def _difference(first: Outcome, second: Outcome) -> str:
    names = ("reason", "trap", "output digest", "output size", "fuel", "memory peak")
    pairs = zip(names, _key(first), _key(second), strict=True)
    return "; ".join(f"{name} {a} and {b}" for name, a, b in pairs if a != b)


def _text(path: Path) -> str | None:
    data = path.read_bytes()[: TEXT_SHOWN_MAX + 1]
    if not data or len(data) > TEXT_SHOWN_MAX:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
