"""A deterministic WASI preview 1: standard streams, arguments, virtual clock, seeded random bytes.

No directories, no sockets. The clock starts where the task says and moves a fixed step at each
look, so time passes for a guest that waits and is the same on every node. Every function of
preview 1 exists, so that ordinary programs link; what has no meaning here answers EBADF, ENOTSUP or
ENOSYS.
Descriptors: 0 reads the public input and can seek; 1 appends to the output; 2 goes to the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ambient_vcp.adapters.wasmtime.execution.host import (
    PUBLIC,
    GuestExitError,
    GuestTrapError,
    GuestView,
    RunFiles,
)
from ambient_vcp.adapters.wasmtime.modules.imports import WASI_IMPORTS

SUCCESS, EBADF, EINVAL, ENOSYS, ENOTSOCK, ENOTSUP, ESPIPE = 0, 8, 28, 52, 57, 58, 70

CLOCK_STEP_NS = 1_000_000
IOVECS_MAX = 1024
SUBSCRIPTIONS_MAX = 1024
RANDOM_DOMAIN = b"ambient-vcp/wasi-random/v1"
_RANDOM_CHUNK_BYTES = 1 << 20

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_TYPE_UNKNOWN, _TYPE_REGULAR = 0, 4
_RIGHT_READ, _RIGHT_SEEK, _RIGHT_TELL, _RIGHT_WRITE = 1 << 1, 1 << 2, 1 << 5, 1 << 6
_RIGHT_FILESTAT, _RIGHT_POLL = 1 << 21, 1 << 27
_CLOCK_REALTIME, _CLOCK_IDS = 0, range(4)
_SUBSCRIPTION_BYTES, _EVENT_BYTES = 48, 32
_U64_MAX = (1 << 64) - 1

# Functions without a meaning here. Those that take a descriptor say that it is not one of theirs.
_ANSWERS = {
    "fd_allocate": ENOTSUP,
    "fd_fdstat_set_flags": SUCCESS,
    "fd_fdstat_set_rights": SUCCESS,
    "fd_filestat_set_size": EINVAL,
    "fd_filestat_set_times": ENOTSUP,
    "fd_prestat_get": EBADF,
    "fd_prestat_dir_name": EBADF,
    "fd_pwrite": ESPIPE,
    "fd_readdir": EBADF,
    "fd_renumber": ENOTSUP,
    "path_create_directory": EBADF,
    "path_filestat_get": EBADF,
    "path_filestat_set_times": EBADF,
    "path_link": EBADF,
    "path_open": EBADF,
    "path_readlink": EBADF,
    "path_remove_directory": EBADF,
    "path_rename": EBADF,
    "path_symlink": EBADF,
    "path_unlink_file": EBADF,
    "proc_raise": ENOSYS,
    "sock_accept": ENOTSOCK,
    "sock_recv": ENOTSOCK,
    "sock_send": ENOTSOCK,
    "sock_shutdown": ENOTSOCK,
    "fd_advise": SUCCESS,
    "fd_datasync": SUCCESS,
    "fd_sync": SUCCESS,
}


@dataclass(slots=True)
class WasiHost:
    """``stdout_is_output`` is False for guests of the other interfaces: theirs goes to the log."""

    view: GuestView
    files: RunFiles
    args: tuple[bytes, ...]
    env: tuple[bytes, ...]
    random_seed: bytes
    clock_start_ms: int
    stdout_is_output: bool
    _elapsed_ns: int = 0
    _random_calls: int = 0
    _position: int = 0
    _open: set[int] = field(default_factory=lambda: {_STDIN, _STDOUT, _STDERR})

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            name: self._fixed(name) if name in _ANSWERS else getattr(self, name)
            for name in WASI_IMPORTS
        }

    def _fixed(self, name: str) -> Callable[..., int]:
        answer = _ANSWERS[name]
        takes_descriptor = name.startswith(("fd_", "sock_"))

        def function(*values: int) -> int:
            return EBADF if takes_descriptor and values[0] not in self._open else answer

        return function

    # Arguments and environment.

    def args_sizes_get(self, count: int, size: int) -> int:
        return self._sizes(self.args, count, size)

    def args_get(self, pointers: int, buffer: int) -> int:
        return self._strings(self.args, pointers, buffer)

    def environ_sizes_get(self, count: int, size: int) -> int:
        return self._sizes(self.env, count, size)

    def environ_get(self, pointers: int, buffer: int) -> int:
        return self._strings(self.env, pointers, buffer)

    def _sizes(self, items: tuple[bytes, ...], count: int, size: int) -> int:
        self.view.put_u32(count, len(items))
        self.view.put_u32(size, sum(len(item) + 1 for item in items))
        return SUCCESS

    def _strings(self, items: tuple[bytes, ...], pointers: int, buffer: int) -> int:
        self.view.meter.charge_items(len(items))
        buffer &= 0xFFFFFFFF
        for index, item in enumerate(items):
            self.view.put_u32(pointers + 4 * index, buffer)
            self.view.put(buffer, item + b"\0")
            buffer += len(item) + 1
        return SUCCESS

    # Streams.

    def _iovecs(self, pointer: int, count: int) -> list[memoryview] | None:
        count &= 0xFFFFFFFF
        if count > IOVECS_MAX:
            return None
        table = bytes(self.view.bytes_at(pointer, 8 * count))
        self.view.meter.charge_items(count)
        return [
            self.view.bytes_at(
                int.from_bytes(table[at : at + 4], "little"),
                int.from_bytes(table[at + 4 : at + 8], "little"),
            )
            for at in range(0, 8 * count, 8)
        ]

    def fd_read(self, fd: int, iovecs: int, count: int, read: int) -> int:
        if fd != _STDIN or fd not in self._open:
            return EBADF
        views = self._iovecs(iovecs, count)
        if views is None:
            return EINVAL
        self.view.bytes_at(read, 4)
        self.view.meter.charge_bytes(self.files.available(PUBLIC, self._position, views))
        size = self.files.read_input(PUBLIC, self._position, views)
        self._position += size
        self.view.put_u32(read, size)
        return SUCCESS

    def fd_pread(self, fd: int, iovecs: int, count: int, offset: int, read: int) -> int:
        if fd != _STDIN or fd not in self._open:
            return EBADF
        views = self._iovecs(iovecs, count)
        if views is None:
            return EINVAL
        self.view.bytes_at(read, 4)
        self.view.meter.charge_bytes(self.files.available(PUBLIC, offset & _U64_MAX, views))
        self.view.put_u32(read, self.files.read_input(PUBLIC, offset & _U64_MAX, views))
        return SUCCESS

    def fd_write(self, fd: int, iovecs: int, count: int, written: int) -> int:
        if fd not in (_STDOUT, _STDERR) or fd not in self._open:
            return EBADF
        views = self._iovecs(iovecs, count)
        if views is None:
            return EINVAL
        self.view.bytes_at(written, 4)
        self.view.meter.charge_bytes(sum(len(view) for view in views))
        if fd == _STDOUT and self.stdout_is_output:
            size = self.files.write_output(views)
        else:
            size = self.files.write_log(views)
        self.view.put_u32(written, size & 0xFFFFFFFF)
        return SUCCESS

    def fd_seek(self, fd: int, offset: int, whence: int, result: int) -> int:
        if fd not in self._open:
            return EBADF
        if fd != _STDIN:
            return ESPIPE
        if whence not in (0, 1, 2):
            return EINVAL
        origin = (0, self._position, self.files.input_size(PUBLIC))[whence]
        if not 0 <= origin + offset < 1 << 63:
            return EINVAL
        self.view.put_u64(result, origin + offset)
        self._position = origin + offset
        return SUCCESS

    def fd_tell(self, fd: int, result: int) -> int:
        return self.fd_seek(fd, 0, 1, result)

    def fd_close(self, fd: int) -> int:
        if fd not in self._open:
            return EBADF
        self._open.discard(fd)
        return SUCCESS

    def fd_fdstat_get(self, fd: int, result: int) -> int:
        if fd not in self._open:
            return EBADF
        rights = _RIGHT_WRITE
        if fd == _STDIN:
            rights = _RIGHT_READ | _RIGHT_SEEK | _RIGHT_TELL
        rights |= _RIGHT_FILESTAT | _RIGHT_POLL
        kind = _TYPE_REGULAR if fd == _STDIN else _TYPE_UNKNOWN
        self.view.put(result, bytes([kind]) + bytes(7) + rights.to_bytes(8, "little") + bytes(8))
        return SUCCESS

    def fd_filestat_get(self, fd: int, result: int) -> int:
        if fd not in self._open:
            return EBADF
        size = self.files.input_size(PUBLIC) if fd == _STDIN else 0
        kind = _TYPE_REGULAR if fd == _STDIN else _TYPE_UNKNOWN
        fields = (0, fd, kind, 1, size, 0, 0, 0)
        self.view.put(result, b"".join(value.to_bytes(8, "little") for value in fields))
        return SUCCESS

    # Time, chance, ending.

    def _now_ns(self, clock: int) -> int:
        start = self.clock_start_ms * 1_000_000 if clock == _CLOCK_REALTIME else 0
        return (start + self._elapsed_ns) & _U64_MAX

    def clock_res_get(self, clock: int, result: int) -> int:
        if clock not in _CLOCK_IDS:
            return EINVAL
        self.view.put_u64(result, CLOCK_STEP_NS)
        return SUCCESS

    def clock_time_get(self, clock: int, _precision: int, result: int) -> int:
        if clock not in _CLOCK_IDS:
            return EINVAL
        self.view.put_u64(result, self._now_ns(clock))
        self._elapsed_ns += CLOCK_STEP_NS
        return SUCCESS

    def random_get(self, buffer: int, size: int) -> int:
        """SHAKE-256 of the seed and the number of the call, in chunks of 1 MiB."""
        target = self.view.bytes_at(buffer, size)
        self.view.meter.charge_random(len(target))
        prefix = RANDOM_DOMAIN + self.random_seed + self._random_calls.to_bytes(8, "little")
        self._random_calls += 1
        for at in range(0, len(target), _RANDOM_CHUNK_BYTES):
            chunk = target[at : at + _RANDOM_CHUNK_BYTES]
            chunk[:] = hashlib.shake_256(prefix + at.to_bytes(8, "little")).digest(len(chunk))
        return SUCCESS

    def sched_yield(self) -> int:
        return SUCCESS

    def proc_exit(self, status: int) -> None:
        raise GuestExitError(status & 0xFFFFFFFF)

    def poll_oneoff(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """Streams are always ready; a wait for a clock moves the virtual clock and returns."""
        count &= 0xFFFFFFFF
        if not 0 < count <= SUBSCRIPTIONS_MAX:
            return EINVAL
        table = bytes(self.view.bytes_at(subscriptions, _SUBSCRIPTION_BYTES * count))
        self.view.meter.charge_items(count)
        ready, waiting = self._sort_subscriptions(table)
        if not ready and waiting:
            self._elapsed_ns = max(self._elapsed_ns, min(deadline for deadline, _ in waiting))
            ready = [event for deadline, event in waiting if deadline <= self._elapsed_ns]
        data = b"".join(ready)
        self.view.put(events, data)
        self.view.put_u32(result, len(data) // _EVENT_BYTES)
        return SUCCESS

    def _sort_subscriptions(self, table: bytes) -> tuple[list[bytes], list[tuple[int, bytes]]]:
        """Events that are ready now, and clock events with the elapsed time they wait for."""
        ready: list[bytes] = []
        waiting: list[tuple[int, bytes]] = []
        for at in range(0, len(table), _SUBSCRIPTION_BYTES):
            user, kind, body = table[at : at + 8], table[at + 8], table[at + 16 : at + 48]
            number = int.from_bytes(body[:4], "little")
            if kind == 0 and number in _CLOCK_IDS:
                timeout = int.from_bytes(body[8:16], "little")
                if int.from_bytes(body[24:26], "little") & 1:  # an absolute time
                    timeout = max(timeout - self._now_ns(number), 0)
                waiting.append((self._elapsed_ns + timeout, _event(user, SUCCESS, kind, 0)))
            elif kind == 0:
                ready.append(_event(user, EINVAL, kind, 0))
            elif kind in (1, 2):
                fits = number in self._open and (number == _STDIN) == (kind == 1)
                left = max(self.files.input_size(PUBLIC) - self._position, 0) if kind == 1 else 4096
                ready.append(_event(user, SUCCESS if fits else EBADF, kind, left if fits else 0))
            else:
                raise GuestTrapError("bad_subscription", f"poll_oneoff: unknown event type {kind}")
        return ready, waiting


def _event(user: bytes, errno: int, kind: int, size: int) -> bytes:
    head = user + errno.to_bytes(2, "little") + bytes([kind]) + bytes(5)
    return head + size.to_bytes(8, "little") + bytes(8)
