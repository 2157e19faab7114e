"""The guest's linear memory, served by us instead of by the engine.

The engine's own limiter answers -1 to a refused ``memory.grow`` and tells nobody. Serving the
memory ourselves says exactly when the limit was hit, makes the peak exact, and keeps a machine that
runs out of memory apart from a guest that asks for too much:

* a request beyond the limit is refused and ``on_stop`` is called. The run then ends with
  MEMORY_EXCEEDED whatever the guest does next, so a success never depends on the memory limit;
* a request beyond the 4 GiB of 32-bit memory, or beyond the maximum that the module declares, can
  succeed nowhere: the guest gets -1 as the standard says and goes on;
* where the operating system refuses pages within the limit, ``host_failed`` is set: the node's
  fault.

It also counts how often the engine asks where the memory is, which it does at each ``memory.grow``,
granted or not, and which costs microseconds that no instruction pays for: the count is owed fuel.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import wasmtime
from wasmtime import _bindings as bindings

from ambient_vcp.adapters.wasmtime.modules.data_segments import Placed

_MAP_NORESERVE = 0x4000
_MREMAP_MAYMOVE = 1
LOOK_FUEL = 4_000
"""For each look of the engine at the memory; a ``memory.grow`` makes three."""
_FREE_LOOKS = 2  # those of instantiation
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.mremap.restype = ctypes.c_void_p
_libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]


@dataclass(slots=True)
class _Mapping:
    base: int
    size_bytes: int
    mapped_bytes: int


@dataclass(slots=True)
class GuestMemory:
    """Memory of the guests of one engine. ``limit_bytes`` bounds each memory.

    ``base`` and ``size_bytes`` are those of the memory made first: a run has one at most. ``image``
    is written into it. ``on_stop`` is called where the run cannot go on; it may end the process.
    """

    limit_bytes: int
    on_stop: Callable[[], None] = lambda: None
    fuel_max: int = 1 << 62
    image: list[Placed] = field(default_factory=list)
    refused: bool = False
    host_failed: bool = False
    exhausted: bool = False
    peak_at_refusal_bytes: int = 0
    _looks: int = 0
    _looks_paid: int = _FREE_LOOKS
    _mappings: dict[int, _Mapping] = field(default_factory=dict)
    _callbacks: list[Any] = field(default_factory=list)

    @property
    def base(self) -> int:
        return self._mappings[1].base if self._mappings else 0

    @property
    def size_bytes(self) -> int:
        return self._mappings[1].size_bytes if self._mappings else 0

    @property
    def peak_bytes(self) -> int:
        """Linear memory never shrinks: its size is its peak. Frozen once a request is refused."""
        return self.peak_at_refusal_bytes if self.refused else self.size_bytes

    def take_owed_fuel(self) -> int:
        """What the looks since the last call cost."""
        owed = max(self._looks - self._looks_paid, 0)
        self._looks_paid += owed
        return owed * LOOK_FUEL

    def attach(self, config: wasmtime.Config) -> None:
        """Make ``config``'s engine take its memories from here. This object must outlive it.

        Mappings are never given back: a process makes one run and ends.
        """
        get = bindings.wasmtime_memory_get_callback_t(self._get)
        grow = bindings.wasmtime_memory_grow_callback_t(self._grow)

        def new(
            _env: object, _type: object, minimum: int, _max: int, _res: int, _guard: int, out: Any
        ) -> int:
            key = self._new(minimum)
            if key is None:
                return _error(b"the memory limit refuses the module's initial memory")
            memory = out[0]
            memory.env, memory.get_memory, memory.grow_memory = key, get, grow
            return 0

        new_memory = bindings.wasmtime_new_memory_callback_t(new)
        creator: Any = bindings.wasmtime_memory_creator_t()
        creator.env, creator.new_memory = None, new_memory
        self._callbacks.extend((get, grow, new_memory, creator))
        bindings.wasmtime_config_host_memory_creator_set(config.ptr(), ctypes.byref(creator))

    def _new(self, minimum_bytes: int) -> int | None:
        if minimum_bytes > self.limit_bytes:
            self._refuse()
            return None
        mapped = max(minimum_bytes, mmap.PAGESIZE)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        base = _libc.mmap(None, mapped, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if base == _FAILED:
            self.host_failed = True
            return None
        key = len(self._mappings) + 1
        self._mappings[key] = _Mapping(base, minimum_bytes, mapped)
        if self.image:
            self._place(base, minimum_bytes)
        return key

    def _place(self, base: int, size_bytes: int) -> None:
        whole = memoryview((ctypes.c_ubyte * size_bytes).from_address(base)).cast("B")
        for item in self.image:
            whole[item.offset : item.offset + len(item.data)] = item.data
        self.image = []

    def _get(self, key: int, size: Any, capacity: Any) -> int:
        self._looks += 1
        if self._looks * LOOK_FUEL > self.fuel_max and not self.exhausted:
            self.exhausted = True
            self.on_stop()
        mapping = self._mappings[key]
        size[0] = mapping.size_bytes
        capacity[0] = mapping.mapped_bytes
        return mapping.base

    def _grow(self, key: int, new_bytes: int) -> int:
        mapping = self._mappings[key]
        if new_bytes > self.limit_bytes:
            self._refuse()
            return _error(b"the memory limit refuses to grow")
        if new_bytes > mapping.mapped_bytes:
            base = _libc.mremap(mapping.base, mapping.mapped_bytes, new_bytes, _MREMAP_MAYMOVE)
            if base == _FAILED:
                self.host_failed = True
                self.on_stop()
                return _error(b"the operating system has no memory")
            mapping.base, mapping.mapped_bytes = base, new_bytes
        mapping.size_bytes = new_bytes
        return 0

    def _refuse(self) -> None:
        if not self.refused:
            self.peak_at_refusal_bytes = self.size_bytes
            self.refused = True
        self.on_stop()


def _error(message: bytes) -> int:
    """An engine error as the address that a callback returns; the engine takes ownership."""
    error = bindings.wasmtime_error_new(ctypes.create_string_buffer(message))
    return int(ctypes.cast(error, ctypes.c_void_p).value or 0)
