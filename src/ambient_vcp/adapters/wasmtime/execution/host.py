"""What host functions stand on: checked access to guest memory, and the run's files.

A guest's pointers are numbers from an enemy. Every access goes through ``GuestView.bytes_at``,
which checks against the memory's size at that moment and ends the run with a trap if it is out of
range.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ambient_vcp.adapters.wasmtime.execution.fuel_meter import FuelMeter
from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory

PUBLIC, PRIVATE = 0, 1
_WRITE_BATCH_MAX = 1024


class GuestTrapError(Exception):
    """A host function ends the run as a trap. ``code`` is compared between nodes."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class GuestExitError(Exception):
    """``proc_exit``; ``status`` is unsigned."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class OutputFullError(Exception):
    """The guest wrote more than the output limit."""


class HostFailedError(Exception):
    """A file of the node fails: never the guest's fault."""


@dataclass(slots=True)
class GuestView:
    memory: GuestMemory
    meter: FuelMeter

    def bytes_at(self, pointer: int, size: int) -> memoryview:
        """A writable view of guest memory, valid until the guest runs again."""
        pointer &= 0xFFFFFFFF
        size &= 0xFFFFFFFF
        if pointer + size > self.memory.size_bytes:
            raise GuestTrapError(
                "host_pointer_out_of_bounds",
                f"a host function was given {size} bytes at {pointer}, outside of memory",
            )
        if not size:
            return memoryview(b"")
        array = (ctypes.c_ubyte * size).from_address(self.memory.base + pointer)
        return memoryview(array).cast("B")

    def put(self, pointer: int, data: bytes) -> None:
        if data:
            self.bytes_at(pointer, len(data))[:] = data

    def put_u32(self, pointer: int, value: int) -> None:
        self.put(pointer, value.to_bytes(4, "little"))

    def put_u64(self, pointer: int, value: int) -> None:
        self.put(pointer, value.to_bytes(8, "little"))

    def u32(self, pointer: int) -> int:
        return int.from_bytes(self.bytes_at(pointer, 4), "little")


@dataclass(slots=True)
class RunFiles:
    """The descriptors of one run. A missing input (-1) reads as empty.

    Output and log are counted here; nothing else in the cell writes to them.
    """

    public_fd: int
    private_fd: int
    output_fd: int
    output_bytes_max: int
    log_bytes_max: int
    output_bytes: int = 0
    log: bytearray = field(default_factory=bytearray)
    _sizes: dict[int, int] = field(default_factory=dict)

    def input_size(self, kind: int) -> int:
        """Bytes of an input; inputs do not change while the guest runs."""
        if kind not in self._sizes:
            fd = self._fd(kind)
            self._sizes[kind] = 0 if fd < 0 else os.lseek(fd, 0, os.SEEK_END)
        return self._sizes[kind]

    def available(self, kind: int, offset: int, views: Sequence[memoryview]) -> int:
        """How many bytes ``read_input`` would deliver."""
        wanted = sum(len(view) for view in views)
        return min(wanted, max(self.input_size(kind) - offset, 0))

    def read_input(self, kind: int, offset: int, views: Sequence[memoryview]) -> int:
        """Fill ``views`` from ``offset``; returns the bytes read, fewer only at the end."""
        fd = self._fd(kind)
        size = self.input_size(kind)
        filled = 0
        for view in views:
            wanted = min(len(view), max(size - offset - filled, 0))
            done = 0
            while done < wanted:
                count = _read(fd, view[done:wanted], offset + filled + done)
                done += count
            filled += wanted
            if wanted < len(view):
                break
        return filled

    def write_output(self, views: Sequence[memoryview]) -> int:
        total = sum(len(view) for view in views)
        if self.output_bytes + total > self.output_bytes_max:
            raise OutputFullError
        pending = [view for view in views if len(view)]
        while pending:
            batch = pending[:_WRITE_BATCH_MAX]
            try:
                written = os.writev(self.output_fd, batch)
            except OSError as error:
                raise HostFailedError(f"writing the output: {error.strerror}") from error
            while pending and written >= len(pending[0]):
                written -= len(pending.pop(0))
            if written:
                pending[0] = pending[0][written:]
        self.output_bytes += total
        return total

    def write_log(self, views: Sequence[memoryview]) -> int:
        """Keep what fits, pretend to have taken all."""
        for view in views:
            room = self.log_bytes_max - len(self.log)
            if room > 0:
                self.log += view[:room]
        return sum(len(view) for view in views)

    def _fd(self, kind: int) -> int:
        return self.public_fd if kind == PUBLIC else self.private_fd


def _read(fd: int, view: memoryview, offset: int) -> int:
    try:
        count = os.preadv(fd, [view], offset)
    except OSError as error:
        raise HostFailedError(f"reading an input: {error.strerror}") from error
    if count == 0:
        raise HostFailedError("an input became shorter while the guest ran")
    return count
