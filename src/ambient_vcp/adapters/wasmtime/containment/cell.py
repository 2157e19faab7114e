"""The life of one cell: shut itself in, wait for a job, run it, report, end.

Whoever has the run's ending first reports it and ends the process: the main thread, or the timer
at the wall clock limit. Nothing in the guest's code has to look at a clock.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import msgspec

from ambient_vcp.adapters.wasmtime.containment import isolation
from ambient_vcp.adapters.wasmtime.execution.guest import DEFAULT_STACK_BYTES, Guest, escaped
from ambient_vcp.adapters.wasmtime.execution.host import RunFiles
from ambient_vcp.adapters.wasmtime.protocol import (
    JOB_BYTES_MAX,
    JOB_HEADER,
    LOG_BYTES_MAX,
    Job,
    Report,
    encode_report,
)
from ambient_vcp.domain.execution.outcome import Reason

FDS_MAX = 4
_TIMER_STACK_BYTES = 256 * 1024
# (module (import "vcp" "input_len" (func (param i32) (result i32))) (memory 1)
#   (func (export "f") (param i32) (result i32) local.get 0 call 0))
_REHEARSAL = bytes.fromhex(
    "0061736d0100000001060160017f017f0211010376637009696e7075745f6c656e00000302010005"
    "03010001070501016600010a08010600200010000b"
)


class Ending:
    """Sends the run's only report and ends the process. Any thread may call ``end``."""

    def __init__(self, channel: socket.socket, files: RunFiles) -> None:
        self._channel = channel
        self._files = files
        self._first = threading.Lock()

    def end(self, report: Report) -> NoReturn:
        self._first.acquire()  # never released: the second caller waits for the end of the process
        code = 1
        try:
            data = memoryview(encode_report(report, bytes(self._files.log)))
            while data:
                data = data[os.write(self._channel.fileno(), data) :]
            code = 0
        finally:
            os._exit(code)


class Deadline:
    """A thread that sleeps until the run's wall clock limit and then ends the run."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._armed = threading.Event()
        self._seconds = 0.0
        threading.stack_size(_TIMER_STACK_BYTES)
        threading.Thread(target=self._watch, daemon=True).start()

    def arm(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed.set()

    def _watch(self) -> None:
        self._armed.wait()
        time.sleep(self._seconds)
        self._guest.on_deadline()


def live(
    channel: socket.socket, filter_program: bytes | None, filter_why: str, *, rehearse: bool
) -> None:
    """Run in a forked child; never returns. ``channel`` is the stream to the agent."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        layers = isolation.Layers()
        isolation.enter_cell(layers, filter_program, filter_why)
        if rehearse:
            _rehearse()
        guest = Guest()
        guest.prepare()
        deadline = Deadline(guest)
        isolation.forbid_processes()
        isolation.seal(layers, filter_program)
        _serve(channel, guest, deadline)
        code = 0
    finally:
        os._exit(code)


def _rehearse() -> None:
    """Run a tiny guest while nobody waits: every page a run touches is this process's own then."""
    module, output = os.memfd_create("module"), os.memfd_create("output")
    os.write(module, _REHEARSAL)
    job = Job(
        interface="scalar",
        name="f",
        args=["1"],
        env=[],
        fuel_max=1_000_000,
        memory_bytes_max=1 << 16,
        wall_ms_max=1000,
        output_bytes_max=1000,
        stack_bytes_max=DEFAULT_STACK_BYTES,
        log_bytes_max=0,
        random_seed=bytes(32),
        clock_start_ms=0,
        fds=["module", "output"],
    )
    job = msgspec.json.decode(msgspec.json.encode(job), type=Job)
    files = RunFiles(
        public_fd=-1, private_fd=-1, output_fd=output, output_bytes_max=1000, log_bytes_max=0
    )
    report = Guest().run(job, module, files)
    os.close(module)
    os.close(output)
    if report.reason is not None:
        raise RuntimeError(f"the rehearsal failed: {report.detail}")


def _serve(channel: socket.socket, guest: Guest, deadline: Deadline) -> None:
    job, fds = _receive(channel)
    if job is None:
        return
    isolation.job_rlimits(
        job.memory_bytes_max, -(-job.wall_ms_max // 1000) + 1, job.output_bytes_max
    )
    roles = dict(zip(job.fds, fds, strict=True))
    files = RunFiles(
        public_fd=roles.get("public", -1),
        private_fd=roles.get("private", -1),
        output_fd=roles["output"],
        output_bytes_max=job.output_bytes_max,
        log_bytes_max=min(job.log_bytes_max, LOG_BYTES_MAX),
    )
    ending = Ending(channel, files)
    guest.expect(job, ending.end)
    deadline.arm(job.wall_ms_max / 1000)
    try:
        report = guest.run(job, roles["module"], files)
    except Exception as error:  # noqa: BLE001 - a fault of ours must reach the agent as one
        report = _our_fault(job, error)
    ending.end(report)


def _receive(channel: socket.socket) -> tuple[Job | None, list[int]]:
    """The job and its descriptors; None where the agent went away without one."""
    space = socket.CMSG_SPACE(FDS_MAX * array.array("i").itemsize)
    data, control, _, _ = channel.recvmsg(JOB_BYTES_MAX, space)
    if not data:
        return None, []
    fds = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload)
    while len(data) < JOB_HEADER.size or len(data) < _job_end(data):
        more = os.read(channel.fileno(), JOB_BYTES_MAX)
        if not more:
            return None, []
        data += more
    return msgspec.json.decode(data[JOB_HEADER.size :], type=Job), list(fds)


def _job_end(data: bytes) -> int:
    return JOB_HEADER.size + int(JOB_HEADER.unpack_from(data)[0])


def _our_fault(job: Job, error: Exception) -> Report:
    return Report(
        reason=Reason.NODE_ERROR,
        trap="",
        detail=escaped(f"{type(error).__name__}: {error}"),
        output_bytes=0,
        fuel_used=job.fuel_max,
        memory_peak_bytes=0,
        compile_ms=0.0,
        run_ms=0.0,
        first_instruction_ns=0,
    )


def probe(filter_program: bytes | None, filter_why: str) -> isolation.Layers:
    """Apply every layer to this process, made for it, and check that it holds."""
    layers = isolation.Layers()
    isolation.enter_cell(layers, filter_program, filter_why)
    layers.attempt("rlimits", _check_rlimits)
    isolation.seal(layers, filter_program)
    if "seccomp" in layers.active:
        _expect_denied(layers, "seccomp", socket.socketpair)
    if "landlock" in layers.active:
        _expect_denied(layers, "landlock", lambda: os.close(os.open("/", os.O_RDONLY)))
    return layers


def _check_rlimits() -> str:
    isolation.forbid_processes()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > isolation.OPEN_FILES_MAX:
        raise OSError(0, "the limits did not take")
    return "address space, CPU time, file size, files, stack, no core, no processes"


def _expect_denied(layers: isolation.Layers, name: str, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError:
        return
    layers.inactive[name] = "applied, but does not deny"
    del layers.active[name]
