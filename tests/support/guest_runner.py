"""Runs a guest in this process with the engine settings of a cell: for tests of the guests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import wasmtime

FUEL_MAX = 10_000_000_000
MEMORY_BYTES_MAX = 512 * 1024 * 1024
OUTPUT_BYTES_MAX = 64 * 1024 * 1024
UNWANTED_FEATURES = (
    "wasm_threads",
    "shared_memory",
    "wasm_relaxed_simd",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_gc",
    "wasm_function_references",
    "wasm_exceptions",
    "wasm_stack_switching",
    "wasm_component_model",
    "wasm_tail_call",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAnswer:
    """``value`` is what a scalar call returned, ``output`` what a bytes or WASI guest wrote."""

    value: int | float | None = None
    output: bytes = b""
    log: bytes = b""
    fuel_used: int
    memory_bytes: int


class OutputTooLargeError(Exception):
    """The guest wrote more than it may."""


def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    for feature in UNWANTED_FEATURES:
        setattr(config, feature, False)
    return wasmtime.Engine(config)


ENGINE = engine()


class GuestRunner:
    """One module, compiled once, run as often as one likes, each time in a fresh store."""

    def __init__(self, module: Path | bytes, *, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        code = module if isinstance(module, bytes) else module.read_bytes()
        self.module = wasmtime.Module(ENGINE, code)
        self.memory_bytes_max = memory_bytes_max

    def call(self, name: str, *args: float, fuel_max: int = FUEL_MAX) -> GuestAnswer:
        store = self._store(fuel_max)
        exports = wasmtime.Linker(ENGINE).instantiate(store, self.module).exports(store)
        value = exports[name](store, *args)
        return self._answer(store, exports, fuel_max, value=value)

    def run(self, public: bytes, private: bytes = b"", *, fuel_max: int = FUEL_MAX) -> GuestAnswer:
        store, output = self._store(fuel_max), bytearray()
        linker = wasmtime.Linker(ENGINE)
        define_vcp(linker, (public, private), output)
        exports = linker.instantiate(store, self.module).exports(store)
        assert [e.name for e in self.module.exports if e.name == "run"] == ["run"]
        exports["run"](store)
        return self._answer(store, exports, fuel_max, output=bytes(output))

    def run_wasi(
        self, stdin: Path, folder: Path, *args: str, fuel_max: int = FUEL_MAX
    ) -> GuestAnswer:
        """Runs ``_start``; a guest that exits with another code than 0 raises ``ExitTrap``."""
        store = self._store(fuel_max)
        wasi = wasmtime.WasiConfig()
        wasi.argv = ["guest", *args]
        wasi.stdin_file = str(stdin)
        wasi.stdout_file, wasi.stderr_file = str(folder / "out"), str(folder / "err")
        store.set_wasi(wasi)
        linker = wasmtime.Linker(ENGINE)
        linker.define_wasi()
        exports = linker.instantiate(store, self.module).exports(store)
        try:
            exports["_start"](store)
        except wasmtime.ExitTrap as end:
            if end.code != 0:
                raise
        return self._answer(
            store,
            exports,
            fuel_max,
            output=(folder / "out").read_bytes(),
            log=(folder / "err").read_bytes(),
        )

    def _store(self, fuel_max: int) -> wasmtime.Store:
        store = wasmtime.Store(ENGINE)
        store.set_fuel(fuel_max)
        store.set_limits(memory_size=self.memory_bytes_max, instances=1, tables=1, memories=1)
        return store

    def _answer(self, store, exports, fuel_max, *, value=None, output=b"", log=b"") -> GuestAnswer:
        return GuestAnswer(
            value=value,
            output=output,
            log=log,
            fuel_used=fuel_max - store.get_fuel(),
            memory_bytes=exports["memory"].data_len(store) if "memory" in exports else 0,
        )


def define_vcp(linker: wasmtime.Linker, inputs: tuple[bytes, bytes], output: bytearray) -> None:
    """The three imports of module ``vcp``, over inputs held in memory."""
    i32 = wasmtime.ValType.i32()

    def input_len(kind: int) -> int:
        return len(inputs[kind])

    def input_read(caller: wasmtime.Caller, kind: int, to: int, offset: int, n: int) -> int:
        piece = inputs[kind][offset : offset + n]
        caller["memory"].write(caller, piece, to & 0xFFFFFFFF)
        return len(piece)

    def output_write(caller: wasmtime.Caller, start: int, n: int) -> None:
        start &= 0xFFFFFFFF
        if len(output) + n > OUTPUT_BYTES_MAX:
            raise OutputTooLargeError
        output.extend(caller["memory"].read(caller, start, start + n))

    define, types = linker.define_func, wasmtime.FuncType
    define("vcp", "input_len", types([i32], [i32]), input_len)
    define("vcp", "input_read", types([i32] * 4, [i32]), input_read, access_caller=True)
    define("vcp", "output_write", types([i32, i32], []), output_write, access_caller=True)
