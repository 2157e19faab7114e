"""What the host's work costs a guest. The engine charges instructions only, so this charges calls.

The prices are part of a run's result: whoever changes one raises ``HOST_INTERFACE_VERSION``. They
are about what the same time would cost in instructions, and high enough that the default fuel
(10^10) is used up by any loop over host functions well before the default 30 s. Everything is
charged before it is done. A request to the engine for memory (``memory.grow``) is host work too.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import wasmtime
from wasmtime import _ffi as ffi

from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory

CALL_FUEL = 30_000
BYTE_FUEL = 1
"""For each byte that a call moves into or out of guest memory."""
RANDOM_BYTE_FUEL = 8
ITEM_FUEL = 10_000
"""For each buffer, event, argument or environment string that a call handles."""


class FuelExhaustedError(Exception):
    """The guest cannot pay for what it asked of the host: nothing of it was done."""


# The same functions as Store.get_fuel and set_fuel, without their wrapping: they run at every call.
_get_fuel = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
    ("wasmtime_context_get_fuel", ffi.dll)
)
_set_fuel = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)(
    ("wasmtime_context_set_fuel", ffi.dll)
)


@dataclass(slots=True)
class FuelMeter:
    """Takes fuel from a store. The store holds one unit more than the guest may use."""

    store: wasmtime.Store
    memory: GuestMemory
    _context: ctypes.c_void_p = field(init=False)
    _left: ctypes.c_uint64 = field(default_factory=ctypes.c_uint64)
    _left_address: ctypes.c_void_p = field(init=False)

    def __post_init__(self) -> None:
        context = self.store._context()  # noqa: SLF001 - the binding has no other way to it
        self._context = ctypes.cast(context, ctypes.c_void_p)
        self._left_address = ctypes.c_void_p(ctypes.addressof(self._left))

    def charge(self, fuel: int) -> None:
        """Raises FuelExhaustedError if the guest does not have ``fuel`` and what it owes."""
        if _get_fuel(self._context, self._left_address):
            raise RuntimeError("the engine does not count fuel")
        left = self._left.value
        cost = fuel + self.memory.take_owed_fuel()
        if cost >= left:
            raise FuelExhaustedError
        _set_fuel(self._context, left - cost)

    def charge_call(self) -> None:
        self.charge(CALL_FUEL)

    def charge_bytes(self, count: int) -> None:
        if count:
            self.charge(count * BYTE_FUEL)

    def charge_random(self, count: int) -> None:
        self.charge(count * RANDOM_BYTE_FUEL)

    def charge_items(self, count: int) -> None:
        if count:
            self.charge(count * ITEM_FUEL)

    def left(self) -> int:
        """What is left when the guest has returned; 0 or less if it used more than it had."""
        return self.store.get_fuel() - self.memory.take_owed_fuel()
