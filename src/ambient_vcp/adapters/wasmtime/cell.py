"""The life of one cell: shut itself in, wait for a job, run it, report, end."""

from __future__ import annotations

import array
import gc
import os
import resource
import signal
import socket
import threading
import time

import msgspec

from ambient_vcp.adapters.wasmtime import isolation
from ambient_vcp.adapters.wasmtime.guest import Guest, escaped
from ambient_vcp.adapters.wasmtime.host import RunFiles
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


class Deadline:
    """A thread that sleeps until the run's wall clock limit and then stops the guest."""

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


def live(channel: socket.socket, filter_program: bytes | None, filter_why: str) -> None:
    """Run in a forked child; never returns. ``channel`` is the stream to the agent."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        layers = isolation.Layers()
        isolation.enter_cell(layers, filter_program, filter_why)
        guest = Guest()
        guest.prepare()
        deadline = Deadline(guest)
        isolation.forbid_processes()
        isolation.seal(layers, filter_program)
        _serve(channel, guest, deadline)
        code = 0
    finally:
        os._exit(code)


def _serve(channel: socket.socket, guest: Guest, deadline: Deadline) -> None:
    job, fds = _receive(channel)
    if job is None:
        return
    deadline.arm(job.wall_ms_max / 1000)
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
    try:
        report = guest.run(job, roles["module"], files)
    except Exception as error:  # noqa: BLE001 - a fault of ours must reach the agent as one
        report = _our_fault(job, error)
    data = memoryview(encode_report(report, bytes(files.log)))
    while data:
        data = data[os.write(channel.fileno(), data) :]


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
    while len(data) < JOB_HEADER.size or len(data) < JOB_HEADER.size + JOB_HEADER.unpack_from(data)[0]:
        more = os.read(channel.fileno(), JOB_BYTES_MAX)
        if not more:
            return None, []
        data += more
    return msgspec.json.decode(data[JOB_HEADER.size :], type=Job), list(fds)


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
    """Apply every layer to this process and check that it holds. The caller is a child of its own."""
    layers = isolation.Layers()
    isolation.enter_cell(layers, filter_program, filter_why)
    layers.attempt("rlimits", _check_rlimits)
    isolation.seal(layers, filter_program)
    if "seccomp" in layers.active:
        _expect_denied(layers, "seccomp", lambda: socket.socketpair()[0].close())
    if "landlock" in layers.active:
        _expect_denied(layers, "landlock", lambda: os.close(os.open("/", os.O_RDONLY)))
    return layers


def _check_rlimits() -> str:
    isolation.forbid_processes()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > isolation.OPEN_FILES_MAX:
        raise OSError(0, "the limits did not take")
    return "address space, CPU time, file size, files, stack, no core, no processes"


def _expect_denied(layers: isolation.Layers, name: str, attempt: object) -> None:
    assert callable(attempt)
    try:
        attempt()
    except OSError:
        return
    layers.inactive[name] = "applied, but does not deny"
    del layers.active[name]
