"""Runs one script of the official suite inside a shut-in process, with the adapter's own settings.

Texts become bytes before the process is shut in. A module is looked at by the adapter's checks,
compiled by the adapter's engine, and lives in the adapter's store with its limits; its state lasts
from call to call, as the scripts demand. What the settings switch off is refused, counted, and
never run. Modules that import from modules registered before are linked here, which a cell never
does, and the adapter's own checks must refuse them. Imports of the suite's host module ``spectest``
stay refused; a module that such a refused one would have changed is *tainted*: what it then answers
differently counts as refused.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
from dataclasses import dataclass, field

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._func import enter_wasm

from ambient_vcp.adapters.wasmtime.containment import isolation, seccomp
from ambient_vcp.adapters.wasmtime.execution.engine import build_engine, new_store
from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory
from ambient_vcp.adapters.wasmtime.modules.module_checks import check_imports, inspect_module
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError
from support import wast

FUEL = 100_000_000
STACK_BYTES = 512 * 1024
MEMORY_BYTES = 512 * 1024 * 1024
TRAPS = {
    "integer divide by zero": "INTEGER_DIVISION_BY_ZERO",
    "integer overflow": "INTEGER_OVERFLOW",
    "invalid conversion to integer": "BAD_CONVERSION_TO_INTEGER",
    "out of bounds memory access": "MEMORY_OUT_OF_BOUNDS",
    "out of bounds table access": "TABLE_OUT_OF_BOUNDS",
    "undefined element": "TABLE_OUT_OF_BOUNDS",
    "uninitialized element": "INDIRECT_CALL_TO_NULL",
    "indirect call type mismatch": "BAD_SIGNATURE",
    "unreachable": "UNREACHABLE",
    "call stack exhausted": "STACK_OVERFLOW",
}


class RefusedError(Exception):
    """The module, or the one an action needs, is refused by checks or settings."""


@dataclass
class Tally:
    """Counts by kind, the reasons of refusals, and every failure with its line."""

    passed: int = 0
    refused: int = 0
    why: collections.Counter = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)


@dataclass
class Live:
    exports: dict
    tainted: bool = False


def run_script(source: bytes) -> Tally:
    """Assemble here, run in a forked process behind every layer, return what it counted."""
    commands = [_prepared(form) for form in wast.parse(source)]
    program = _filter_program()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            _in_the_cell(commands, program, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        raise RuntimeError(f"the process of the script ended with status {status}")
    return Tally(**{**json.loads(data), "why": collections.Counter(json.loads(data)["why"])})


def _in_the_cell(commands, program, writer) -> None:
    layers = isolation.Layers()
    isolation.enter_cell(layers, program, "")
    isolation.seal(layers, program)
    script = Script()
    for form, modules in commands:
        script.step(form, modules)
    os.write(writer, json.dumps(script.tally.__dict__).encode())
    os._exit(0)


def _filter_program() -> bytes | None:
    try:
        return seccomp.build_program()
    except (OSError, ImportError, RuntimeError):
        return None


def _prepared(form):
    """The command with the bytes (or the text error) of the modules in it."""
    modules = {}
    for item in (form, *form.items):
        if isinstance(item, wast.Form) and item.head == "module":
            try:
                modules[id(item)] = wast.assemble(item)
            except wasmtime.WasmtimeError as error:
                modules[id(item)] = str(error)
    return form, modules


class Script:
    def __init__(self) -> None:
        self.tally = Tally()
        self.memory = GuestMemory(limit_bytes=MEMORY_BYTES)
        self.engine = build_engine(self.memory, STACK_BYTES)
        self.store = new_store(self.engine, FUEL, instances=10_000)
        self.registered: dict[str, Live | None] = {}
        self.current: Live | None = None
        self.named: dict[str, Live | None] = {}
        self.definitions: dict[str | None, object] = {}

    def step(self, form, modules) -> None:
        self.touched_tainted = False
        try:
            getattr(self, f"_{form.head}", self._unknown)(form, modules)
            self.tally.passed += 1
        except (RefusedError, wast.UnsupportedValueError) as error:
            self.tally.refused += 1
            self.tally.why[str(error)[:120]] += 1
        except (AssertionError, Exception) as error:  # noqa: BLE001 - any other is a failure too
            if self.touched_tainted:
                self.tally.refused += 1
                self.tally.why["state that a refused module would have made"] += 1
                return
            said = f"{type(error).__name__}: {error}".splitlines()
            self.tally.failures.append(f"line {form.line}: {form.head}: {said[0]} {said[-1]}")

    # Commands.

    def _unknown(self, form, _modules):
        raise RefusedError(f"command {form.head!r} is not for these settings")

    def _module(self, form, modules):
        words = [item for item in form.items[1:4] if isinstance(item, str)]
        name = wast.module_name(form)
        if "instance" in words:
            data = self.definitions.get(words[-1] if len(words) > 2 else None, "no definition")
        else:
            data = modules[id(form)]
        if "definition" in words:
            self.definitions[name] = data
            self._compiled(data)
            return
        self.definitions[None] = data
        self.current = None
        if name:
            self.named[name] = None
        try:
            self.current = self._instantiated(data)
        except wasmtime.Trap as trap:
            raise AssertionError(f"instantiation trapped: {trap}") from trap
        if name:
            self.named[name] = self.current

    def _register(self, form, _modules):
        label = form.items[1].decode("utf-8", "surrogatepass")
        self.registered[label] = None
        self.registered[label] = self._live(form.items[2] if len(form.items) > 2 else None)

    def _invoke(self, form, _modules):
        self._acted(form)

    def _get(self, form, _modules):
        self._acted(form)

    def _assert_return(self, form, _modules):
        found = self._acted(form.items[1])
        expected = [wast.value(item) for item in form.items[2:]]
        assert len(found) == len(expected), f"{found} for {expected}"
        for want, got in zip(expected, found, strict=True):
            assert wast.matches(want, got), f"{form.items[1].text!r}: {got} is not {want}"

    def _assert_return_canonical_nan(self, form, _modules):
        (found,) = self._acted(form.items[1])
        assert wast.matches((found[0], "nan:canonical"), found), f"{found}"

    def _assert_return_arithmetic_nan(self, form, _modules):
        (found,) = self._acted(form.items[1])
        assert wast.matches((found[0], "nan:arithmetic"), found), f"{found}"

    def _assert_trap(self, form, modules):
        self._expect_trap(form, modules)

    def _assert_exhaustion(self, form, modules):
        self._expect_trap(form, modules)

    def _expect_trap(self, form, modules):
        target, said = form.items[1], form.items[2].decode()
        try:
            if target.head == "module":
                self._instantiated(modules[id(target)])
            else:
                self._acted(target)
        except wasmtime.Trap as trap:
            wanted = next((code for text, code in TRAPS.items() if said.startswith(text)), None)
            code = trap.trap_code.name if trap.trap_code else ""
            assert wanted in (None, code), f"trap {code}, expected {said}"
            return
        raise AssertionError(f"{target.text[:80]!r} did not trap ({said})")

    def _assert_invalid(self, form, modules):
        self._expect_refusal(form, modules)

    def _assert_malformed(self, form, modules):
        self._expect_refusal(form, modules)

    def _expect_refusal(self, form, modules):
        data = modules[id(form.items[1])]
        if isinstance(data, str):
            return
        try:
            self._compiled(data)
        except RefusedError:
            return
        raise AssertionError(f"accepted, expected: {form.items[2].decode('utf-8', 'replace')}")

    def _assert_unlinkable(self, form, modules):
        try:
            self._instantiated(modules[id(form.items[1])], linkable=False)
        except (RefusedError, wasmtime.Trap):  # an old script calls a trapping segment a link error
            return
        raise AssertionError("a module that cannot be linked was")

    # Modules and actions.

    def _compiled(self, data):
        """The module and what it imports from registered ones."""
        if isinstance(data, str):
            raise RefusedError(f"text: {data.splitlines()[0]}")
        try:
            summary = inspect_module(data)
            module = wasmtime.Module(self.engine, data)
        except ModuleRefusedError as error:
            self._taint_sources(data)
            raise RefusedError(_generic(str(error))) from error
        except wasmtime.WasmtimeError as error:
            self._taint_sources(data)
            raise RefusedError(_generic(str(error).splitlines()[-1].strip())) from error
        try:
            check_imports(summary, "scalar")
        except ModuleRefusedError as error:
            return module, self._linked(module, error)
        assert not module.imports, "the checks let an import through"
        return module, []

    def _taint_sources(self, data) -> None:
        """A module that is refused would have changed what it imports: find the names in it."""
        for name, source in self.registered.items():
            encoded = name.encode("utf-8", "surrogatepass")
            if (
                source is not None
                and len(encoded) < 128
                and bytes([len(encoded)]) + encoded in data
            ):
                source.tainted = True

    def _linked(self, module, refusal) -> list:
        found, missing = [], False
        sources = [self.registered.get(item.module) for item in module.imports]
        for item, source in zip(module.imports, sources, strict=True):
            export = source.exports.get(item.name) if source else None
            missing = missing or export is None
            found.append(export)
        if missing:
            for source in sources:
                if source is not None:
                    source.tainted = True
            raise RefusedError(f"imports {str(refusal).split()[1].split('.')[0]}")
        return found

    def _instantiated(self, data, *, linkable=True) -> Live:
        module, imports = self._compiled(data)
        self.store.set_fuel(FUEL)
        try:
            instance = wasmtime.Instance(self.store, module, imports)
        except wasmtime.WasmtimeError as error:
            if imports and linkable:
                raise AssertionError(f"does not link: {error}") from error
            raise RefusedError(_generic(str(error))) from error
        return Live(dict(instance.exports(self.store)))

    def _live(self, name) -> Live:
        live = self.named.get(name) if isinstance(name, str) else self.current
        if live is None:
            raise RefusedError("an action on a refused module")
        return live

    def _acted(self, form):
        name = form.items[1] if isinstance(form.items[1], str) else None
        rest = form.items[2:] if name else form.items[1:]
        live = self._live(name)
        self.touched_tainted = live.tainted
        export = live.exports[rest[0].decode("utf-8", "surrogatepass")]
        if form.head == "get":
            return [_global(export, self.store)]
        arguments = [wast.value(item) for item in rest[1:]]
        self.store.set_fuel(FUEL)
        return _call(self.store, export, arguments)


def _generic(text: str) -> str:
    """A reason without the parts that differ from module to module."""
    head = text.split("(at offset", maxsplit=1)[0].split(" at byte", maxsplit=1)[0]
    return head if len(head) < 100 else head[:100]


_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3, "v128": 4}
_MASKS = {"i32": (1 << 32) - 1, "f32": (1 << 32) - 1, "i64": (1 << 64) - 1, "f64": (1 << 64) - 1}


def _call(store, function, arguments):
    """Call with exact bits: the binding's own conversion would change the payload of a NaN."""
    parameters = (ffi.wasmtime_val_t * len(arguments))()
    for raw, (kind, bits) in zip(parameters, arguments, strict=True):
        _put(raw, kind, bits)
    count = len(function.type(store).results)
    results = (ffi.wasmtime_val_t * count)()
    with enter_wasm(store) as trap:
        error = ffi.wasmtime_func_call(
            store._context(),
            ctypes.byref(function._func),
            parameters,
            len(arguments),
            results,
            count,
            trap,
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
    return [_taken(raw) for raw in results]


def _put(raw, kind, bits) -> None:
    if kind == "ref":
        raise wast.UnsupportedValueError("a reference as an argument")
    raw.kind = _KINDS[kind]
    if kind == "v128":
        lane, values = bits
        width = wast.WIDTH_BITS[lane]
        whole = sum(item << (width * index) for index, item in enumerate(values))
        raw.of.v128[:] = whole.to_bytes(16, "little")
    elif kind in ("i32", "f32"):
        raw.of.i32 = bits - (1 << 32) if bits >> 31 else bits
    else:
        raw.of.i64 = bits - (1 << 64) if bits >> 63 else bits


def _taken(raw):
    for kind, number in _KINDS.items():
        if raw.kind == number:
            if kind == "v128":
                return kind, int.from_bytes(bytes(raw.of.v128), "little")
            return kind, (raw.of.i32 if kind in ("i32", "f32") else raw.of.i64) & _MASKS[kind]
    return "ref", "func" if raw.of.funcref.store_id else "null"


def _global(export, store):
    raw = ffi.wasmtime_val_t()
    ffi.wasmtime_global_get(store._context(), ctypes.byref(export._global), ctypes.byref(raw))
    return _taken(raw)
