"""What the host's work costs a guest. The engine charges instructions only, so this charges calls.

The prices are part of a run's result: whoever changes one raises ``HOST_INTERFACE_VERSION``. They
are about what the same time would cost in instructions, and high enough that the default fuel
(10^10) is used up by any loop over host functions well before the default 30 s. Everything is
charged before it is done. A request to the engine for memory (``memory.grow``) is host work too.
"""

from __future__ import annotations

from dataclasses import dataclass

import wasmtime

from ambient_vcp.adapters.wasmtime.memory import GuestMemory

CALL_FUEL = 10_000
BYTE_FUEL = 1
"""For each byte that a call moves into or out of guest memory."""
RANDOM_BYTE_FUEL = 8
ITEM_FUEL = 4_000
"""For each buffer, event, argument or environment string that a call handles."""


class FuelExhaustedError(Exception):
    """The guest cannot pay for what it asked of the host: nothing of it was done."""


@dataclass(slots=True)
class FuelMeter:
    """Takes fuel from a store. The store holds one unit more than the guest may use."""

    store: wasmtime.Store
    memory: GuestMemory

    def charge(self, fuel: int) -> None:
        """Raises FuelExhaustedError if the guest does not have ``fuel`` and what it owes."""
        left = self.store.get_fuel()
        cost = fuel + self.memory.take_owed_fuel()
        if cost >= left:
            raise FuelExhaustedError
        self.store.set_fuel(left - cost)

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
