"""One run of a guest inside the process at hand: check, compile, link, call, classify."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import wasmtime
from wasmtime._instance import InstanceExports

from ambient_vcp.adapters.wasmtime.execution.engine import build_engine, new_store
from ambient_vcp.adapters.wasmtime.execution.entry import (
    PROGRAM_NAME,
    RunStoppedError,
    c_strings,
    read_module,
    require_entry,
    scalar_arguments,
    signature_of,
)
from ambient_vcp.adapters.wasmtime.execution.fuel_meter import FuelExhaustedError, FuelMeter
from ambient_vcp.adapters.wasmtime.execution.host import (
    GuestExitError,
    GuestTrapError,
    GuestView,
    HostFailedError,
    OutputFullError,
    RunFiles,
)
from ambient_vcp.adapters.wasmtime.execution.host_link import HostLink
from ambient_vcp.adapters.wasmtime.execution.host_vcp import EnvHost, VcpHost
from ambient_vcp.adapters.wasmtime.execution.host_wasi import WasiHost
from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory
from ambient_vcp.adapters.wasmtime.modules.data_segments import detach
from ambient_vcp.adapters.wasmtime.modules.imports import ENV_MODULE, VCP_MODULE, WASI_MODULE
from ambient_vcp.adapters.wasmtime.modules.module_checks import check_module
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError
from ambient_vcp.adapters.wasmtime.modules.module_summary import ModuleSummary
from ambient_vcp.adapters.wasmtime.protocol import DETAIL_CHARS_MAX, Job, Report
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import ValueType
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.execution.scalars import encode_scalars, scalar_from_number

DEFAULT_STACK_BYTES = 512 * 1024
INITIALIZE = "_initialize"
_NO_FUEL = "the guest used all its fuel"
_NO_TIME = "the wall clock limit was reached"


@dataclass(slots=True)
class Stopwatch:
    """Monotonic nanoseconds of the run's milestones; 0 where it was not reached."""

    compile_start_ns: int = 0
    compiled_ns: int = 0
    first_instruction_ns: int = 0


@dataclass(slots=True)
class Guest:
    """Prepared before the job is known; used for one run.

    ``stop`` gets the report of a run that ends while the guest's code is on the stack, where no
    exception can pass: at the deadline (from another thread) and at a refused request for memory.
    The cell's ends the process. A ``stop`` that returns leaves the guest running, and ``run`` says
    the same at its end.
    """

    memory: GuestMemory = field(default_factory=lambda: GuestMemory(limit_bytes=0))
    watch: Stopwatch = field(default_factory=Stopwatch)
    stop: Callable[[Report], None] = lambda _: None
    _engine: wasmtime.Engine | None = None
    _job: Job | None = None

    def prepare(self, stack_bytes_max: int = DEFAULT_STACK_BYTES) -> None:
        """Build the engine, which is the same for all runs with the default stack."""
        self._engine = build_engine(self.memory, stack_bytes_max)
        self.memory.on_stop = self._stop_for_memory

    def expect(self, job: Job, stop: Callable[[Report], None]) -> None:
        """What ``run`` will get, and what to do with the report of a run that is cut off."""
        self._job, self.stop = job, stop

    def on_deadline(self) -> None:
        assert self._job is not None, "expect() comes first"
        self.stop(self._failed(self._job, RunStoppedError(Reason.WALL_CLOCK_EXCEEDED, _NO_TIME)))

    def _stop_for_memory(self) -> None:
        if self._job is not None:
            self.stop(self._failed(self._job, RunStoppedError(Reason.TRAP)))

    def run(self, job: Job, module_fd: int, files: RunFiles) -> Report:
        """Never raises for what the guest does; whatever else escapes is a bug of ours."""
        self._job = job
        self.memory.limit_bytes, self.memory.fuel_max = job.memory_bytes_max, job.fuel_max
        if self._engine is None or job.stack_bytes_max != DEFAULT_STACK_BYTES:
            self.prepare(job.stack_bytes_max)
        # The engine looks at the counter only at branches and calls: the last stretch may overdraw
        # and then 0 is left. One unit more tells a run that used exactly its budget from that.
        store = new_store(self._started_engine(), job.fuel_max + 1)
        meter = FuelMeter(store, self.memory)
        try:
            self._execute(job, read_module(module_fd), files, meter)
        except (RunStoppedError, ModuleRefusedError, InvalidInputError, HostFailedError) as error:
            return self._failed(job, _as_stop(error))
        if self.memory.refused or self.memory.host_failed or self.memory.exhausted:
            return self._failed(job, RunStoppedError(Reason.TRAP))
        left = meter.left()
        if left <= 0:
            return self._failed(job, RunStoppedError(Reason.FUEL_EXHAUSTED, _NO_FUEL))
        return self._report(None, "", "", files.output_bytes, job.fuel_max + 1 - left)

    def _started_engine(self) -> wasmtime.Engine:
        assert self._engine is not None, "prepare() comes first"
        return self._engine

    def _execute(self, job: Job, data: bytes, files: RunFiles, meter: FuelMeter) -> None:
        store = meter.store
        summary = check_module(data, job.interface)
        require_entry(summary, job)
        arguments = scalar_arguments(summary, job) if job.interface == "scalar" else []
        hosts = self._hosts(job, files, meter)
        if summary.memory_min_bytes > job.memory_bytes_max:
            raise RunStoppedError(
                Reason.MEMORY_EXCEEDED,
                f"the module starts with {summary.memory_min_bytes} bytes of memory, "
                f"the limit is {job.memory_bytes_max}",
            )
        if summary.has_memory:
            data, self.memory.image = detach(data, summary.memory_min_bytes)
        module = self._compile(data, store)
        self.watch.first_instruction_ns = time.monotonic_ns()
        try:
            link = HostLink(store, meter)
            functions = link.functions(summary, hosts)
            with link.raising():
                self._call(job, summary, store, module, functions, arguments, files)
        except GuestExitError as leave:
            if leave.status or job.interface != "wasi":
                why = f"the guest left with exit status {leave.status}"
                raise RunStoppedError(Reason.EXIT_CODE, why, str(leave.status)) from leave
        except GuestTrapError as trap:
            raise RunStoppedError(Reason.TRAP, str(trap), trap.code) from trap
        except FuelExhaustedError as empty:
            raise RunStoppedError(Reason.FUEL_EXHAUSTED, _NO_FUEL) from empty
        except OutputFullError as full:
            why = f"the guest wrote more than {job.output_bytes_max} bytes"
            raise RunStoppedError(Reason.OUTPUT_TOO_LARGE, why) from full
        except wasmtime.Trap as trap:
            raise self._classified(trap) from trap
        except wasmtime.WasmtimeError as error:
            raise RunStoppedError(Reason.MODULE_INVALID, str(error)) from error

    def _compile(self, data: bytes, store: wasmtime.Store) -> wasmtime.Module:
        self.watch.compile_start_ns = time.monotonic_ns()
        try:
            return wasmtime.Module(store.engine, data)
        except wasmtime.WasmtimeError as error:
            raise RunStoppedError(Reason.MODULE_INVALID, str(error)) from error
        finally:
            self.watch.compiled_ns = time.monotonic_ns()

    def _call(
        self,
        job: Job,
        summary: ModuleSummary,
        store: wasmtime.Store,
        module: wasmtime.Module,
        functions: list[wasmtime.Func],
        arguments: list[int | float],
        files: RunFiles,
    ) -> None:
        exports = wasmtime.Instance(store, module, functions).exports(store)
        if job.interface != "wasi" and summary.function_export(INITIALIZE):
            _function(exports, INITIALIZE)(store)
        result = _function(exports, job.name)(store, *arguments)
        if job.interface == "scalar":
            kinds = [ValueType(kind) for kind in signature_of(summary, job.name).results]
            numbers = [] if not kinds else [result] if len(kinds) == 1 else list(result)
            values = [scalar_from_number(k, n) for k, n in zip(kinds, numbers, strict=True)]
            files.write_output([memoryview(encode_scalars(values))])

    def _hosts(
        self, job: Job, files: RunFiles, meter: FuelMeter
    ) -> dict[str, dict[str, Callable[..., Any]]]:
        view = GuestView(self.memory, meter)
        wasi = WasiHost(
            view=view,
            files=files,
            args=c_strings([PROGRAM_NAME, *(job.args if job.interface == "wasi" else [])]),
            env=c_strings([f"{name}={value}" for name, value in job.env]),
            random_seed=job.random_seed,
            clock_start_ms=job.clock_start_ms,
            stdout_is_output=job.interface == "wasi",
        )
        return {
            VCP_MODULE: VcpHost(view, files).functions(),
            ENV_MODULE: EnvHost(view).functions(),
            WASI_MODULE: wasi.functions(),
        }

    def _classified(self, trap: wasmtime.Trap) -> RunStoppedError:
        code = trap.trap_code
        name = code.name.lower() if code else "unknown"
        match code:
            case wasmtime.TrapCode.OUT_OF_FUEL:
                return RunStoppedError(Reason.FUEL_EXHAUSTED, _NO_FUEL)
            case wasmtime.TrapCode.STACK_OVERFLOW:
                return RunStoppedError(Reason.STACK_EXHAUSTED, "the guest's call stack is full")
            case _:
                return RunStoppedError(Reason.TRAP, str(trap).strip().splitlines()[-1], name)

    def _failed(self, job: Job, stop: RunStoppedError) -> Report:
        """A refused memory request outranks what the guest did with the refusal."""
        if self.memory.host_failed:
            stop = RunStoppedError(Reason.NODE_ERROR, "the node ran out of memory for the guest")
        elif self.memory.refused and stop.reason is not Reason.NODE_ERROR:
            why = f"the guest asked for more than {job.memory_bytes_max} bytes of memory"
            stop = RunStoppedError(Reason.MEMORY_EXCEEDED, why)
        elif self.memory.exhausted and stop.reason is not Reason.NODE_ERROR:
            stop = RunStoppedError(Reason.FUEL_EXHAUSTED, _NO_FUEL)
        return self._report(stop.reason, stop.trap, str(stop), 0, job.fuel_max)

    def _report(
        self, reason: Reason | None, trap: str, detail: str, output_bytes: int, fuel_used: int
    ) -> Report:
        watch, now = self.watch, time.monotonic_ns()
        started = watch.first_instruction_ns
        return Report(
            reason=reason,
            trap=trap,
            detail=escaped(detail),
            output_bytes=output_bytes,
            fuel_used=fuel_used,
            memory_peak_bytes=self.memory.peak_bytes,
            compile_ms=(watch.compiled_ns - watch.compile_start_ns) / 1e6,
            run_ms=(now - started) / 1e6 if started else 0.0,
            first_instruction_ns=started,
        )


def _function(exports: InstanceExports, name: str) -> wasmtime.Func:
    function = exports[name]
    assert isinstance(function, wasmtime.Func), "the checks said that it is one"
    return function


def _as_stop(error: Exception) -> RunStoppedError:
    match error:
        case RunStoppedError():
            return error
        case ModuleRefusedError(reason=reason, why=why):
            return RunStoppedError(reason, why)
        case InvalidInputError():
            return RunStoppedError(Reason.BAD_ARGUMENTS, str(error))
        case _:
            return RunStoppedError(Reason.NODE_ERROR, str(error))


def escaped(text: str) -> str:
    """Printable ASCII, cut: text that a guest may have shaped goes to terminals and pages."""
    flat = " ".join(text.split())
    return ascii(flat)[1:-1][:DETAIL_CHARS_MAX]
