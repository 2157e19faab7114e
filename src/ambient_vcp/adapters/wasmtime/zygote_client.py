"""The agent's end of the zygote: starts it, keeps spare cells ready, learns of every cell's end."""

from __future__ import annotations

import array
import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field

import msgspec

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
from ambient_vcp.domain.errors import UnavailableError

START_TIMEOUT_S = 30.0
SPARE_TIMEOUT_S = 10.0
EXIT_GRACE_S = 1.0
REAP_TIMEOUT_S = 5.0
REFILL_DELAY_S = 0.01
"""The next spare is made this much later, so that it does not slow the run that took the last."""
_MODULE = "ambient_vcp.adapters.wasmtime.zygote"


class CellLostError(Exception):
    """No cell, or it vanished, through no fault of the guest."""


@dataclass(slots=True)
class CellHandle:
    """A cell that waits for its only job. The holder closes ``channel``."""

    number: int
    pid: int
    channel: socket.socket
    exited: asyncio.Future[Exited] = field(repr=False)


class ZygoteClient:
    """Not thread-safe: everything happens in the event loop it was started in."""

    def __init__(self, spares: int) -> None:
        self._spares = spares
        self._idle: deque[CellHandle] = deque()
        self._cells: dict[int, CellHandle] = {}
        self._waiters: deque[asyncio.Future[CellHandle]] = deque()
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._greeting: asyncio.Future[Hello] | None = None
        self._closed = False
        self._asked = 0  # forks requested and not yet answered
        self._reaping: asyncio.Future[str] | None = None
        self.hello: Hello

    @classmethod
    async def start(cls, *, spares: int) -> ZygoteClient:
        """Raises UnavailableError where the helper does not come up."""
        client = cls(spares)
        try:
            await client._ensure_running()
        except BaseException:
            await client.close()
            raise
        return client

    async def take(self) -> CellHandle:
        """A cell nobody else has; raises CellLostError. The caller must call ``finish``."""
        await self._ensure_running()
        loop = asyncio.get_running_loop()
        while self._idle:
            cell = self._idle.popleft()
            if not cell.exited.done():
                loop.call_later(REFILL_DELAY_S, self._refill)
                return cell
            cell.channel.close()
        waiter: asyncio.Future[CellHandle] = loop.create_future()
        self._waiters.append(waiter)
        self._refill()
        try:
            async with asyncio.timeout(SPARE_TIMEOUT_S):
                return await waiter
        except TimeoutError as error:
            raise CellLostError("no cell could be started in time") from error
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._idle.appendleft(waiter.result())
            raise

    async def finish(self, cell: CellHandle, *, kill: bool) -> Exited:
        """Wait until the cell is gone and reaped, killing it at once or after a short grace."""
        if kill:
            self._kill(cell)
        try:
            async with asyncio.timeout(REAP_TIMEOUT_S if kill else EXIT_GRACE_S):
                return await asyncio.shield(cell.exited)
        except TimeoutError:
            if kill:
                self._abandon()
                raise CellLostError("the helper that starts cells does not answer") from None
        return await self.finish(cell, kill=True)

    async def close(self) -> None:
        """Idempotent. The zygote kills its cells when its socket closes, then ends."""
        self._closed = True
        process = self._process
        self._lose("the sandbox was closed")
        if process is not None:
            await asyncio.to_thread(_reap, process)

    async def _ensure_running(self) -> None:
        async with self._starting:
            if self._closed:
                raise CellLostError("the sandbox was closed")
            if self._control is None:
                await self._start()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - a fork and exec, nothing waits for it
                [sys.executable, "-I", "-m", _MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            theirs.close()
        ours.setblocking(False)  # noqa: FBT003 - the only way it is called
        self._process, self._control = process, ours
        self._greeting = loop.create_future()
        loop.add_reader(ours, self._on_readable)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self.hello = await self._greeting
        except (TimeoutError, CellLostError) as error:
            self._lose("the helper did not start")
            said = await asyncio.to_thread(_reap, process)
            raise UnavailableError(reason=f"the cell helper did not start: {said}") from error
        if process.stderr is not None:
            process.stderr.close()
        self._refill()

    def _on_readable(self) -> None:
        while self._control is not None:
            try:
                data, fds = _receive(self._control)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data, fds = b"", []
            if not data:
                self._lose("the helper that starts cells died")
                return
            self._on_message(msgspec.json.decode(data, type=FromZygote), fds)

    def _on_message(self, message: FromZygote, fds: list[int]) -> None:
        match message:
            case Hello():
                if self._greeting is not None and not self._greeting.done():
                    self._greeting.set_result(message)
            case Spare(cell=number, pid=pid):
                self._asked = max(self._asked - 1, 0)
                channel = socket.socket(fileno=fds[0])
                channel.setblocking(False)  # noqa: FBT003 - the only way it is called
                exited = asyncio.get_running_loop().create_future()
                cell = CellHandle(number=number, pid=pid, channel=channel, exited=exited)
                self._cells[number] = cell
                self._offer(cell)
            case Exited(cell=number):
                gone = self._cells.pop(number, None)
                if gone is not None and not gone.exited.done():
                    gone.exited.set_result(message)
            case ForkFailed(why=why):
                self._asked = max(self._asked - 1, 0)
                waiter = self._next_waiter()
                if waiter is not None:
                    waiter.set_exception(CellLostError(f"no cell could be started: {why}"))

    def _refill(self) -> None:
        """Ask for as many cells as are missing: one per waiting run, and the spares."""
        if self._control is None:
            return
        missing = self._spares + len(self._waiters) - len(self._idle) - self._asked
        urgent = max(len(self._waiters) - self._asked, 0)
        for number in range(missing):
            self._asked += 1
            self._send(Fork(rehearse=number >= urgent))

    def _offer(self, cell: CellHandle) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(cell)
        else:
            self._idle.append(cell)

    def _next_waiter(self) -> asyncio.Future[CellHandle] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _kill(self, cell: CellHandle) -> None:
        if not cell.exited.done():
            self._send(Kill(cell=cell.number))

    def _send(self, message: ToZygote) -> None:
        if self._control is None:
            return
        try:
            self._control.send(msgspec.json.encode(message))
        except BlockingIOError:
            self._abandon()
        except OSError:
            self._lose("the helper that starts cells died")

    def _abandon(self) -> None:
        """A zygote that does not answer is killed; its cells die with it."""
        if self._process is not None:
            self._process.kill()
        self._lose("the helper that starts cells does not answer")

    def _lose(self, why: str) -> None:
        """Forget the zygote and everything it held; the next ``take`` starts another."""
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(CellLostError(why))
        for cell in self._cells.values():
            if not cell.exited.done():
                cell.exited.set_result(Exited(cell=cell.number, code=0, signal=9, cpu_ms=0.0))
        self._cells.clear()
        self._asked = 0
        for cell in self._idle:
            cell.channel.close()
        self._idle.clear()
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(CellLostError(why))
        process, self._process = self._process, None
        if process is not None and not self._closed:
            self._reaping = asyncio.get_running_loop().run_in_executor(None, _reap, process)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    space = socket.CMSG_SPACE(array.array("i").itemsize)
    data, ancillary, _, _ = control.recvmsg(PACKET_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload)
    return data, list(fds)


def _reap(process: subprocess.Popen[bytes]) -> str:
    """Wait for the zygote, killing it if it lingers; returns the last line it wrote."""
    said = b""
    with contextlib.suppress(ValueError, OSError):
        try:
            _, said = process.communicate(timeout=2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate(timeout=REAP_TIMEOUT_S)
    process.wait()
    lines = (said or b"").decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"
