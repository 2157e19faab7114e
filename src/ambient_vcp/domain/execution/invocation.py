"""What a guest is asked to do: one of three interfaces, two inputs, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ValueType(StrEnum):
    I32 = "i32"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarCall:
    """Call the exported function ``name`` with arguments given as text.

    Integers are decimal (optionally signed) or ``0x`` hexadecimal; floats are decimal, ``nan``,
    ``inf`` or ``0x`` followed by the bits. Types come from the export's signature.
    """

    name: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesCall:
    """Call the exported ``run()``; inputs and output go through the imports of module ``vcp``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasiCall:
    """Run ``_start``: stdin is the public input, stdout the output, stderr the log."""

    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


Call = ScalarCall | BytesCall | WasiCall


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLimits:
    """Bounds of one run. Each is a hard stop with its own failure reason.

    ``fuel_max``, ``memory_bytes_max``, ``output_bytes_max`` and ``stack_bytes_max`` stop every node
    at the same point, so they are part of the deterministic outcome; ``wall_ms_max`` is not.
    """

    fuel_max: int = 10_000_000_000
    memory_bytes_max: int = 512 * 1024 * 1024
    wall_ms_max: int = 30_000
    output_bytes_max: int = 64 * 1024 * 1024
    stack_bytes_max: int = 512 * 1024
    log_bytes_max: int = 64 * 1024


def entry_name(call: Call) -> str:
    """The name of what is called, as it stands in traces, statements and receipts."""
    match call:
        case ScalarCall(name=name):
            return name
        case BytesCall():
            return "run"
        case WasiCall():
            return "_start"


def interface_name(call: Call) -> str:
    match call:
        case ScalarCall():
            return "scalar"
        case BytesCall():
            return "bytes"
        case WasiCall():
            return "wasi"
