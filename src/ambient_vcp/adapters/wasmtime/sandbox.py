"""The face of the sandbox for the node agent: asks the zygote for cells and gives each one run."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

from ambient_vcp.adapters.wasmtime.protocol import (
    LOG_BYTES_MAX,
    REPORT_BYTES_MAX,
    Job,
    encode_job,
)
from ambient_vcp.adapters.wasmtime.verdict import Ending, judged, without_report
from ambient_vcp.adapters.wasmtime.zygote_client import CellLostError, ZygoteClient
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import (
    CellLimits,
    ScalarCall,
    WasiCall,
    entry_name,
    interface_name,
)
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.ports.sandbox import CellReport, GuestRun, IsolationReport

SPARES = 2
KILL_GRACE_MS = 1_000
STACK_BYTES_CEILING = 32 * 1024 * 1024
MEMORY_BYTES_CEILING = 4 * 1024 * 1024 * 1024
SEED_BYTES = 32


class WasmtimeSandbox:
    """Meets ports.sandbox.Sandbox. Make it with ``start``, inside a running event loop."""

    def __init__(self, zygote: ZygoteClient) -> None:
        self._zygote = zygote

    @classmethod
    async def start(cls, *, spares: int = SPARES) -> WasmtimeSandbox:
        """Start the zygote with ``spares`` cells waiting; raises UnavailableError if it cannot."""
        return cls(await ZygoteClient.start(spares=spares))

    @property
    def engine(self) -> str:
        return self._zygote.hello.engine

    @property
    def exec_class(self) -> str:
        return self._zygote.hello.exec_class

    @property
    def isolation(self) -> IsolationReport:
        hello = self._zygote.hello
        return IsolationReport(active=dict(hello.active), inactive=dict(hello.inactive))

    async def close(self) -> None:
        await self._zygote.close()

    async def run(self, run: GuestRun) -> CellReport:
        """One run in a cell of its own; raises only InvalidInputError for limits out of range."""
        _check_limits(run.limits, run.random_seed)
        started_ns = time.monotonic_ns()
        fds: dict[str, int] = {}
        try:
            unavailable = _open_files(run, fds)
            if unavailable:
                return without_report(Reason.INPUT_UNAVAILABLE, unavailable, started_ns, run)
            try:
                ending = await self._run_in_cell(run, fds)
            except CellLostError as error:
                return without_report(Reason.NODE_ERROR, str(error), started_ns, run)
            return await judged(run, fds["output"], ending, started_ns)
        finally:
            for fd in fds.values():
                os.close(fd)

    async def _run_in_cell(self, run: GuestRun, fds: dict[str, int]) -> Ending:
        request = encode_job(_job(run, list(fds)))
        cell = await self._zygote.take()
        killed, finished = False, False
        data = b""
        try:
            await _send(cell.channel, request, list(fds.values()))
            timeout_s = (run.limits.wall_ms_max + KILL_GRACE_MS) / 1000
            try:
                async with asyncio.timeout(timeout_s):
                    data = await _read_to_end(cell.channel)
                    finished = len(data) <= REPORT_BYTES_MAX
            except TimeoutError:
                killed = True
        finally:
            cell.channel.close()
            exited = await self._zygote.finish(cell, kill=not finished)
        return Ending(
            data=data,
            exit_signal=exited.signal,
            exit_code=exited.code,
            cpu_ms=exited.cpu_ms,
            killed=killed,
        )


def _check_limits(limits: CellLimits, seed: bytes) -> None:
    ranges = {
        "fuel_max": (limits.fuel_max, 1, (1 << 62)),
        "memory_bytes_max": (limits.memory_bytes_max, 0, MEMORY_BYTES_CEILING),
        "wall_ms_max": (limits.wall_ms_max, 1, 7 * 24 * 3600 * 1000),
        "output_bytes_max": (limits.output_bytes_max, 0, 1 << 40),
        "stack_bytes_max": (limits.stack_bytes_max, 16 * 1024, STACK_BYTES_CEILING),
        "log_bytes_max": (limits.log_bytes_max, 0, LOG_BYTES_MAX),
        "random_seed": (len(seed), SEED_BYTES, SEED_BYTES),
    }
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:
            raise InvalidInputError(
                where=name, rule=f"between {lowest} and {highest}", got=str(value)
            )


def _open_files(run: GuestRun, fds: dict[str, int]) -> str:
    """Open what the run needs into ``fds``; returns what is wrong, or nothing."""
    inputs = {
        "module": run.module_path,
        "public": run.public_input_path,
        "private": run.private_input_path,
    }
    try:
        for role, path in inputs.items():
            if path is not None:
                fds[role] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fds["output"] = os.open(run.output_path, flags, 0o600)
    except OSError as error:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return ""


def _job(run: GuestRun, roles: list[str]) -> Job:
    call, limits = run.call, run.limits
    return Job(
        interface=interface_name(call),
        name=entry_name(call),
        args=list(call.args) if isinstance(call, ScalarCall | WasiCall) else [],
        env=list(call.env) if isinstance(call, WasiCall) else [],
        fuel_max=limits.fuel_max,
        memory_bytes_max=limits.memory_bytes_max,
        wall_ms_max=limits.wall_ms_max,
        output_bytes_max=limits.output_bytes_max,
        stack_bytes_max=limits.stack_bytes_max,
        log_bytes_max=limits.log_bytes_max,
        random_seed=run.random_seed,
        clock_start_ms=run.clock_start_ms,
        fds=roles,
    )


async def _send(channel: socket.socket, request: bytes, fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    try:
        sent = channel.sendmsg([request], rights)
        if sent < len(request):
            await asyncio.get_running_loop().sock_sendall(channel, memoryview(request)[sent:])
    except OSError as error:
        raise CellLostError(f"the cell was gone before it had its job: {error.strerror}") from error


async def _read_to_end(channel: socket.socket) -> bytes:
    """At most one byte more than a report may have; a reset connection ends like a close."""
    data = bytearray()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionResetError):
        while len(data) <= REPORT_BYTES_MAX:
            part = await loop.sock_recv(channel, REPORT_BYTES_MAX + 1 - len(data))
            if not part:
                break
            data += part
    return bytes(data)
