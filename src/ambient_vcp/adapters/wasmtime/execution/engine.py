"""The engine's settings, all in one place, and the name of what they make equal.

Deterministic by construction: fuel on, canonical NaNs, no threads, no relaxed SIMD, and code
generated for a named level of processor features, so that frame sizes (hence the depth of
recursion) do not depend on the model. No epochs: a second check in every loop costs up to a third
of the speed, and the cell's timer ends the process instead. ``wasm_reference_types`` is on for its
encoding, which current compilers emit; ``gc_support`` is off, so only ``funcref`` exists and
nothing garbage-collected. docs/decisions/0009-cell-settings.md has what each setting costs.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

import wasmtime
from wasmtime import _ffi as ffi

from ambient_vcp.adapters.wasmtime.execution import fuel_meter, memory
from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory
from ambient_vcp.adapters.wasmtime.modules import module_checks
from ambient_vcp.adapters.wasmtime.modules.data_segments import ENGINE_SEGMENTS_MAX

HOST_INTERFACE_VERSION = 2
"""Raised whenever a host function, a cap or a rule of classification changes what a guest sees."""

_SETTINGS: dict[str, object] = {
    "strategy": "cranelift",
    "cranelift_opt_level": "speed",
    "cranelift_nan_canonicalization": True,
    "consume_fuel": True,
    "epoch_interruption": False,
    "parallel_compilation": False,
    "memory_reservation": 0,
    "memory_guard_size": 0,
    "memory_reservation_for_growth": 0,
    "gc_support": False,
    "shared_memory": False,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_simd": True,
    "wasm_reference_types": True,
    "wasm_threads": False,
    "wasm_relaxed_simd": False,
    "wasm_memory64": False,
    "wasm_multi_memory": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_exceptions": False,
    "wasm_stack_switching": False,
    "wasm_component_model": False,
    "wasm_tail_call": False,
    "wasm_wide_arithmetic": False,
    "wasm_custom_page_sizes": False,
}

_ASYNC_STACK_SLACK_BYTES = 1024 * 1024

# Levels of the x86-64 psABI; the second list are the names the kernel gives the same features.
_X86_64_V2 = ("sse3", "ssse3", "sse41", "sse42", "popcnt")
_X86_64_V3 = (*_X86_64_V2, "avx", "avx2", "bmi1", "bmi2", "lzcnt", "fma")
_KERNEL_NAMES = {"sse3": "pni", "sse41": "sse4_1", "sse42": "sse4_2", "lzcnt": "abm"}


def build_engine(memories: GuestMemory | None, stack_bytes_max: int) -> wasmtime.Engine:
    """An engine for one run. ``memories`` serves and bounds its linear memory.

    Without ``memories`` (to validate or compile only) instances get the engine's own memories.
    """
    config = wasmtime.Config()
    for name, value in _SETTINGS.items():
        setattr(config, name, value)
    # The engine insists that its (unused) asynchronous stacks be no smaller than the guest's.
    ffi.wasmtime_config_async_stack_size_set(
        config.ptr(), stack_bytes_max + _ASYNC_STACK_SLACK_BYTES
    )
    config.max_wasm_stack = stack_bytes_max
    ffi.wasmtime_config_memory_init_cow_set(config.ptr(), False)  # noqa: FBT003 - a C function
    level, target, features = code_level()
    if level != "native":
        error = ffi.wasmtime_config_target_set(config.ptr(), _c_text(target))
        if error:  # type: ignore[truthy-bool] # a null pointer is false
            raise OSError(0, f"the engine does not know the target {target}")
        for feature in features:
            ffi.wasmtime_config_cranelift_flag_enable(config.ptr(), _c_text(f"has_{feature}"))
    if memories is not None:
        memories.attach(config)
    engine = wasmtime.Engine(config)
    if not bool(engine.ptr()):
        raise OSError(0, "the engine refuses its settings")
    return engine


def new_store(engine: wasmtime.Engine, fuel: int, *, instances: int = 1) -> wasmtime.Store:
    """A store with fuel and the table caps."""
    store = wasmtime.Store(engine)
    store.set_limits(
        table_elements=module_checks.TABLE_ELEMENTS_MAX,
        instances=instances,
        tables=module_checks.TABLES_MAX * instances,
        memories=module_checks.MEMORIES_MAX * instances,
    )
    store.set_fuel(fuel)
    return store


def engine_name() -> str:
    return f"wasmtime {importlib.metadata.version('wasmtime')}"


def exec_class() -> str:
    """Engine version, code level and a hash of the settings, limits and rules behind results."""
    level, _, features = code_level()
    caps = {name: value for name, value in vars(module_checks).items() if name.endswith("_MAX")}
    prices = {
        name: value
        for module in (fuel_meter, memory)
        for name, value in vars(module).items()
        if name.endswith("_FUEL")
    }
    rules = (
        HOST_INTERFACE_VERSION,
        sorted(_SETTINGS.items()),
        features,
        sorted(caps.items()),
        sorted(prices.items()),
        ENGINE_SEGMENTS_MAX,
    )
    described = repr(rules)
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    return f"{engine_name().replace(' ', '-')}/{level}/{digest}"


@cache
def code_level() -> tuple[str, str, tuple[str, ...]]:
    """Name, target triple and feature flags that code is generated for on this machine."""
    machine = platform.machine()
    if machine == "aarch64":
        return "aarch64", "aarch64-unknown-linux-gnu", ()
    if machine != "x86_64":
        return "native", "", ()
    present = _kernel_cpu_flags()
    for level, features in (("x86_64-v3", _X86_64_V3), ("x86_64-v2", _X86_64_V2)):
        if all(_KERNEL_NAMES.get(feature, feature) in present for feature in features):
            return level, "x86_64-unknown-linux-gnu", features
    return "native", "", ()


def _kernel_cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _c_text(text: str) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(text.encode())
