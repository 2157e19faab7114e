"""Takes the data segments out of a module before it is compiled; the cell writes them itself.

The engine compiles the placing of every segment into one function, in more than linear time:
measured 3 s and 320 MB for 10,000 segments, 17 s and 870 MB for the 30,000 of a Go program, 130 s
for 100,000. Written by the cell when it makes the memory they cost microseconds and no fuel.

What the guest sees does not change. Memory has the same bytes before its first instruction, and a
segment taken out stays as an empty passive one: the same as an active one that was placed, for
``memory.init`` and ``data.drop``. From the first segment whose place is computed, or does not fit
into the initial memory, the rest is left to the engine, in its order and with its trap.
"""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError, Reader, invalid
from ambient_vcp.domain.execution.outcome import Reason

ENGINE_SEGMENTS_MAX = 1_000
"""Active segments that may be left to the engine."""

_HEADER_BYTES = 8
_DATA_SECTION = 11
_ACTIVE, _PASSIVE, _ACTIVE_WITH_INDEX = range(3)
_EMPTY_PASSIVE = b"\1\0"
_I32_CONST, _GLOBAL_GET, _END = 0x41, 0x23, 0x0B
_ARITHMETIC = range(0x6A, 0x6D)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Bytes of the initial memory; later ones overwrite earlier ones."""

    offset: int
    data: memoryview


def detach(module: bytes, memory_min_bytes: int) -> tuple[bytes, list[Placed]]:
    """The module without its constant data segments, and those segments.

    ``module`` has passed ``inspect_module`` and has one memory of at least ``memory_min_bytes``.
    Raises ModuleRefusedError for malformed segments or too many that only the engine can place.
    """
    reader = Reader(module, _HEADER_BYTES, len(module))
    while not reader.at_end:
        start = reader.position
        kind = reader.byte()
        body = reader.take(reader.u32())
        if kind == _DATA_SECTION:
            section, placed = _rewrite(module, body, memory_min_bytes)
            rest = module[reader.position :]
            return module[:start] + bytes([kind]) + _leb(len(section)) + section + rest, placed
    return module, []


def _rewrite(module: bytes, body: Reader, memory_min_bytes: int) -> tuple[bytes, list[Placed]]:
    count = body.u32()
    view = memoryview(module)
    parts = [_leb(count)]
    placed: list[Placed] = []
    kept = 0
    for _ in range(count):
        start = body.position
        kind = body.u32()
        offset = _offset(body, kind) if kind != _PASSIVE else None
        size = body.u32()
        data_start = body.position
        body.skip(size)
        if offset is not None and not kept and offset + size <= memory_min_bytes:
            placed.append(Placed(offset=offset, data=view[data_start : body.position]))
            parts.append(_EMPTY_PASSIVE)
            continue
        parts.append(module[start : body.position])
        kept += kind != _PASSIVE
        if kept > ENGINE_SEGMENTS_MAX:
            raise ModuleRefusedError(
                reason=Reason.MODULE_TOO_LARGE,
                why=f"more than {ENGINE_SEGMENTS_MAX} data segments with a computed place",
            )
    if not body.at_end:
        raise invalid("the data section is longer than its segments")
    return b"".join(parts), placed


def _offset(body: Reader, kind: int) -> int | None:
    """The constant place of an active segment; None where it is computed."""
    if kind == _ACTIVE_WITH_INDEX:
        if body.u32():
            raise invalid("a data segment for a memory that does not exist")
    elif kind != _ACTIVE:
        raise invalid(f"a data segment of unknown kind {kind}")
    constants: list[int] = []
    plain = True
    while (code := body.byte()) != _END:
        if code == _I32_CONST:
            constants.append(body.s32() & 0xFFFFFFFF)
        elif code == _GLOBAL_GET:
            body.u32()
            plain = False
        elif code in _ARITHMETIC:
            plain = False
        else:
            raise invalid(f"instruction 0x{code:02x} in the place of a data segment")
    return constants[0] if plain and len(constants) == 1 else None


def _leb(value: int) -> bytes:
    out = bytearray()
    while value >> 7:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
