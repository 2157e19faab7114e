"""Gives the guest its host functions: the shortest way from a call in WASM to a Python function.

The binding's own way converts every value through objects and costs tens of microseconds for each
call; this one reads the engine's raw argument array. What a host function raises crosses the
guest's frames as a trap and is kept in ``raised``.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi

from ambient_vcp.adapters.wasmtime.execution.fuel_meter import FuelMeter
from ambient_vcp.adapters.wasmtime.modules.imports import IMPORTS, Signature
from ambient_vcp.adapters.wasmtime.modules.module_summary import ModuleSummary

HostFunction = Callable[..., Any]

_VALUE_TYPES = {
    "i32": wasmtime.ValType.i32,
    "i64": wasmtime.ValType.i64,
}
# The engine's array has 16 bytes for each value: four words, the value in the lowest.
_WORDS = ctypes.sizeof(bindings.wasmtime_val_raw_t) // 4
_Raw = ctypes.POINTER(ctypes.c_int32)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, _Raw, ctypes.c_size_t
)
_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(0)
_TRAP_TEXT = b"a host function ended the run"


@dataclass(slots=True)
class HostLink:
    """The functions of one store. Must live as long as it: the engine calls into this object."""

    store: wasmtime.Store
    meter: FuelMeter
    raised: BaseException | None = None
    _callbacks: list[Any] = field(default_factory=list)

    def functions(
        self, summary: ModuleSummary, hosts: dict[str, dict[str, HostFunction]]
    ) -> list[wasmtime.Func]:
        """In the order of the module's imports, which the checks have approved."""
        return [
            self._function(IMPORTS[item.module][item.name], hosts[item.module][item.name])
            for item in summary.imports
        ]

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Around a call of the guest: what a host function raised comes out, not its trap."""
        try:
            yield
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            if self.raised is not None:
                raise self.raised from None
            raise

    def _function(self, signature: Signature, host: HostFunction) -> wasmtime.Func:
        kind = wasmtime.FuncType(
            [_VALUE_TYPES[name]() for name in signature.params],
            [_VALUE_TYPES[name]() for name in signature.results],
        )
        callback = _Callback(self._entry(signature, host))
        self._callbacks.append(callback)
        made = ffi.wasmtime_func_t()
        ffi.wasmtime_func_new_unchecked(
            self.store._context(),  # noqa: SLF001 - the binding has no other way to it
            kind.ptr(),
            ctypes.cast(callback, bindings.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
            ctypes.byref(made),
        )
        return wasmtime.Func._from_raw(made)  # noqa: SLF001 - likewise

    def _entry(self, signature: Signature, host: HostFunction) -> Callable[..., int]:
        """What the engine calls: charge, read the arguments, call, store the result (an i32)."""
        places = [(index * _WORDS, kind) for index, kind in enumerate(signature.params)]
        words = [place for place, _ in places]
        has_i64 = any(kind == "i64" for _, kind in places)
        has_result = bool(signature.results)
        charge_call = self.meter.charge_call

        def entry(_env: int, _caller: int, raw: Any, _count: int) -> int:
            try:
                charge_call()
                if has_i64:
                    values = [raw[at] if kind == "i32" else _i64(raw, at) for at, kind in places]
                else:
                    values = [raw[at] for at in words]
                result = host(*values)
            except BaseException as error:  # noqa: BLE001 - no exception can cross the guest's frames
                self.raised = error
                return _trap()
            if has_result:
                raw[0] = result
            return 0

        return entry


def _i64(raw: Any, at: int) -> int:
    return int(raw[at + 1]) << 32 | (int(raw[at]) & 0xFFFFFFFF)


def _trap() -> int:
    """A new trap's address; the engine takes ownership."""
    trap = bindings.wasmtime_trap_new(ctypes.create_string_buffer(_TRAP_TEXT), len(_TRAP_TEXT))
    return int(ctypes.cast(trap, ctypes.c_void_p).value or 0)
