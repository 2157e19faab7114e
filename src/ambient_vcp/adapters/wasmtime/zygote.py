"""The helper that forks cells: ``python -m ambient_vcp.adapters.wasmtime.zygote FD``.

It has the engine's library loaded but makes no engine and no thread, so a fork of it is a ready
cell within milliseconds. It holds no secret and no file: an empty environment, its control socket,
nothing else. When the agent goes away the socket closes, the zygote ends, and its death kills every
cell.
"""

from __future__ import annotations

import array
import codecs
import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

import msgspec

from ambient_vcp.adapters.wasmtime.containment import cell, isolation, seccomp
from ambient_vcp.adapters.wasmtime.execution import engine
from ambient_vcp.adapters.wasmtime.protocol import (
    PACKET_BYTES_MAX,
    Exited,
    Fork,
    ForkFailed,
    FromZygote,
    Hello,
    Kill,
    Spare,
    ToZygote,
)

CELLS_MAX = 1024
_FIRST_FD, _LAST_FD = 3, 4096  # behind the standard streams; the zygote never has more


class Zygote:
    """One per agent; single-threaded, and idle but for forking, killing and reaping."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._cells: dict[int, int] = {}  # pid -> cell number
        self._count = 0
        self._filter, self._filter_why = _filter_program()
        self._wakeup, self._alarm = os.pipe()
        os.set_blocking(self._alarm, False)
        os.set_blocking(self._wakeup, False)

    def serve(self) -> None:
        """Until the agent closes its end."""
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        while True:
            control = self._control.fileno()
            ready, _, _ = select.select([control, self._wakeup], [], [])
            if self._wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup, 4096)
            self._reap()
            if control in ready:
                data = self._control.recv(PACKET_BYTES_MAX)
                if not data:
                    return
                match msgspec.json.decode(data, type=ToZygote):
                    case Fork(rehearse=rehearse):
                        self._fork(rehearse=rehearse)
                    case Kill(cell=number):
                        self._kill(number)

    def kill_all(self) -> None:
        for number in list(self._cells.values()):
            self._kill(number)

    def greet(self) -> None:
        """Probe the layers in a throw-away child and tell the agent what holds."""
        layers = isolation.Layers()
        isolation.enter_namespaces(layers)
        if "pid_namespace" in layers.active:
            self._start_init()
        child = self._probe()
        self._send(
            Hello(
                engine=engine.engine_name(),
                exec_class=engine.exec_class(),
                active=layers.active | child.active,
                inactive=layers.inactive | child.inactive,
            )
        )

    def _start_init(self) -> None:
        """Process 1 of the new process namespace: without it the namespace ends with a cell."""
        if os.fork() == 0:
            self._close_inherited(keep=-1)
            with contextlib.suppress(OSError):
                isolation.enter_cell(isolation.Layers(), None, "")
            while True:
                signal.pause()

    def _probe(self) -> isolation.Layers:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._close_inherited(keep=writer)
            layers = cell.probe(self._filter, self._filter_why)
            os.write(writer, msgspec.json.encode([layers.active, layers.inactive]))
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
            data = pipe.read(PACKET_BYTES_MAX)
        os.waitpid(pid, 0)
        active, inactive = msgspec.json.decode(data, type=list[dict[str, str]])
        return isolation.Layers(active=active, inactive=inactive)

    def _fork(self, *, rehearse: bool) -> None:
        if len(self._cells) >= CELLS_MAX:
            self._send(ForkFailed(why=f"{CELLS_MAX} cells exist"))
            return
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._send(ForkFailed(why=str(error.strerror)))
            return
        if pid == 0:
            self._close_inherited(keep=theirs.fileno())
            cell.live(theirs, self._filter, self._filter_why, rehearse=rehearse)
        self._count += 1
        self._cells[pid] = self._count
        self._send(Spare(cell=self._count, pid=pid), ours.fileno())
        ours.close()
        theirs.close()

    def _kill(self, number: int) -> None:
        """The pid cannot have been reused: only this process reaps it."""
        for pid, owner in self._cells.items():
            if owner == number:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._cells:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            number = self._cells.pop(pid, None)
            if number is None:
                continue
            killed = os.WIFSIGNALED(status)
            self._send(
                Exited(
                    cell=number,
                    code=0 if killed else os.WEXITSTATUS(status),
                    signal=os.WTERMSIG(status) if killed else 0,
                    cpu_ms=(usage.ru_utime + usage.ru_stime) * 1000,
                )
            )

    def _send(self, message: FromZygote, fd: int | None = None) -> None:
        rights = []
        if fd is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.sendmsg([msgspec.json.encode(message)], rights)

    def _close_inherited(self, keep: int) -> None:
        if keep > _FIRST_FD:
            os.closerange(_FIRST_FD, keep)
        os.closerange(max(keep + 1, _FIRST_FD), _LAST_FD)


def _filter_program() -> tuple[bytes | None, str]:
    try:
        return seccomp.build_program(), ""
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        return None, f"libseccomp is not usable: {error}"


def _silence() -> None:
    """Standard streams lead nowhere: neither zygote nor cells hold a terminal or a log file."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def main() -> NoReturn:
    control = socket.socket(fileno=int(sys.argv[1]))
    zygote = Zygote(control)
    codecs.lookup("utf-16-le")  # loads its module now: a cell cannot open files
    gc.collect()
    gc.freeze()
    zygote.greet()
    _silence()
    zygote.serve()
    zygote.kill_all()
    os._exit(0)


if __name__ == "__main__":
    main()
