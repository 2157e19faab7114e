"""From what the agent saw of a cell to an outcome that it is willing to sign."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from dataclasses import dataclass

from ambient_vcp.adapters.wasmtime.protocol import MalformedReportError, Report, decode_report
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.ids import Digest
from ambient_vcp.ports.sandbox import CellReport, GuestRun

_EMPTY_DIGEST = Digest(hashlib.sha256(b"").hexdigest())
_HASH_INLINE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the agent saw of one cell: its bytes, its exit, whether the agent killed it."""

    data: bytes
    exit_signal: int
    exit_code: int
    cpu_ms: float
    killed: bool


async def judged(run: GuestRun, output_fd: int, ending: Ending, started_ns: int) -> CellReport:
    """Believe the cell only as far as its exit, its output file and its limits allow."""
    try:
        report, log = decode_report(ending.data)
    except MalformedReportError as error:
        return without_report(
            *_why_no_report(ending, str(error)), started_ns, run, ending, output_fd
        )
    if ending.killed or ending.exit_signal or ending.exit_code:
        return without_report(*_why_no_report(ending, ""), started_ns, run, ending, output_fd)
    digest, size = _EMPTY_DIGEST, 0
    if report.reason is None:
        size = os.fstat(output_fd).st_size
        if size != report.output_bytes or size > run.limits.output_bytes_max:
            why = "the cell's output is not what it reported"
            return without_report(Reason.CELL_CRASHED, why, started_ns, run, ending, output_fd)
        digest = await _digest(output_fd, size)
    else:
        _discard(output_fd)
    return CellReport(
        outcome=Outcome(
            reason=report.reason,
            trap=report.trap,
            detail=report.detail,
            output_digest=digest,
            output_size_bytes=size,
            fuel_used=min(report.fuel_used, run.limits.fuel_max),
            memory_peak_bytes=min(report.memory_peak_bytes, run.limits.memory_bytes_max),
        ),
        log=log,
        compile_ms=max(report.compile_ms, 0.0),
        run_ms=max(report.run_ms, 0.0),
        start_ms=_start_ms(report, started_ns),
        cpu_ms=ending.cpu_ms,
        wall_ms=(time.monotonic_ns() - started_ns) / 1e6,
    )


def _why_no_report(ending: Ending, malformed: str) -> tuple[Reason, str]:
    if ending.killed:
        return Reason.WALL_CLOCK_EXCEEDED, "the cell was killed after its wall clock limit"
    if ending.exit_signal == signal.SIGXCPU:
        return Reason.WALL_CLOCK_EXCEEDED, "the cell used its processor time limit"
    if ending.exit_signal:
        name = signal.Signals(ending.exit_signal).name
        return Reason.CELL_CRASHED, f"the cell died of {name}"
    return Reason.CELL_CRASHED, f"the cell ended with code {ending.exit_code}: {malformed}"


def without_report(
    reason: Reason,
    detail: str,
    started_ns: int,
    run: GuestRun,
    ending: Ending | None = None,
    output_fd: int = -1,
) -> CellReport:
    if output_fd >= 0:
        _discard(output_fd)
    return CellReport(
        outcome=Outcome(
            reason=reason,
            detail=detail,
            output_digest=_EMPTY_DIGEST,
            output_size_bytes=0,
            fuel_used=run.limits.fuel_max,
            memory_peak_bytes=0,
        ),
        log=b"",
        compile_ms=0.0,
        run_ms=0.0,
        start_ms=0.0,
        cpu_ms=ending.cpu_ms if ending else 0.0,
        wall_ms=(time.monotonic_ns() - started_ns) / 1e6,
    )


def _start_ms(report: Report, started_ns: int) -> float:
    """From the request to the guest's first instruction; 0 where it had none."""
    if not report.first_instruction_ns:
        return 0.0
    return max(report.first_instruction_ns - started_ns, 0) / 1e6


def _discard(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)


async def _digest(fd: int, size: int) -> Digest:
    if size <= _HASH_INLINE_BYTES:
        return _hash_file(fd)
    return await asyncio.to_thread(_hash_file, fd)


def _hash_file(fd: int) -> Digest:
    digest, offset = hashlib.sha256(), 0
    while part := os.pread(fd, _HASH_INLINE_BYTES, offset):
        digest.update(part)
        offset += len(part)
    return Digest(digest.hexdigest())
