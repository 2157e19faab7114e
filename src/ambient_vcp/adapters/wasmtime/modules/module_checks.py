"""What is looked at before a module is compiled: size, counts, imports. Pure, bounded, exact.

The checks exist because compiling is the one step no engine limit covers: 90,000 tiny functions in
0.7 MB cost seconds and hundreds of megabytes. What passes here is still validated by the engine.
A start section is allowed: AssemblyScript emits one for its initialisers, and it runs under the
same fuel, clock and memory limits as the entry itself.
"""

from __future__ import annotations

from ambient_vcp.adapters.wasmtime.modules.imports import ALLOWED_MODULES, IMPORTS, Signature
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError, Reader, invalid
from ambient_vcp.adapters.wasmtime.modules.module_summary import (
    ExportSummary,
    ImportSummary,
    ModuleSummary,
    Tally,
)
from ambient_vcp.domain.execution.outcome import Reason

MODULE_BYTES_MAX = 10 * 1024 * 1024
FUNCTIONS_MAX = 10_000
TYPES_MAX = 10_000
IMPORTS_MAX = 1_000
EXPORTS_MAX = 10_000
GLOBALS_MAX = 10_000
TABLES_MAX = 16
TABLE_ELEMENTS_MAX = 100_000
MEMORIES_MAX = 1
ELEMENT_SEGMENTS_MAX = 10_000
DATA_SEGMENTS_MAX = 100_000
LOCALS_PER_FUNCTION_MAX = 10_000
PARAMETERS_MAX = 1_000
SECTIONS_MAX = 1_000
WASM_PAGE_BYTES = 65_536

_MAGIC = b"\0asm"
_VERSION = b"\1\0\0\0"
_REFERENCES = {0x70: "funcref", 0x6F: "externref"}
_EXTERNAL_KINDS = {0: "func", 1: "table", 2: "memory", 3: "global", 4: "tag"}
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
_FUNCTION_FORM = 0x60
_MEMORY_64, _SHARED, _CUSTOM_PAGE = 4, 2, 8


def check_module(data: bytes, interface: str) -> ModuleSummary:
    """Inspect, then refuse imports that the interface (scalar, bytes or wasi) does not have."""
    summary = inspect_module(data)
    check_imports(summary, interface)
    return summary


def check_imports(summary: ModuleSummary, interface: str) -> None:
    """Raise ModuleRefusedError(FORBIDDEN_IMPORT) naming the first import that is not allowed."""
    for item in summary.imports:
        known = IMPORTS.get(item.module, {}).get(item.name)
        where = f"{item.module}.{item.name}"
        if known is None or item.module not in ALLOWED_MODULES[interface]:
            why = f"import {where} is not available to a {interface} guest"
        elif item.kind != "func":
            why = f"import {where} is a function, the module wants a {item.kind}"
        elif item.type != str(known):
            why = f"import {where} has type {known}, the module wants {item.type}"
        else:
            continue
        raise ModuleRefusedError(reason=Reason.FORBIDDEN_IMPORT, why=why)


def inspect_module(data: bytes) -> ModuleSummary:
    """Read the section headers; raises ModuleRefusedError for bad bytes or anything over a cap.

    The time is linear in the counts, which are capped, not in the size of the code.
    """
    _cap("module bytes", len(data), MODULE_BYTES_MAX)
    if data[:4] != _MAGIC:
        raise invalid("not a WASM module: it does not begin with \\0asm")
    if data[4:8] != _VERSION:
        raise invalid("not a core WASM module of version 1 (components are not run)")
    tally = Tally()
    reader = Reader(data, 8, len(data))
    sections = 0
    while not reader.at_end:
        sections += 1
        _cap("sections", sections, SECTIONS_MAX)
        kind = reader.byte()
        body = reader.take(reader.u32())
        read_section = _SECTIONS.get(kind)
        if read_section is None:
            raise invalid(f"unknown section {kind}")
        read_section(body, tally)
    return _summarise(tally, len(data))


def _cap(what: str, count: int, maximum: int) -> None:
    if count > maximum:
        raise ModuleRefusedError(
            reason=Reason.MODULE_TOO_LARGE, why=f"{count} {what}, at most {maximum} are taken"
        )


def _counted(reader: Reader, what: str, maximum: int) -> int:
    count = reader.u32()
    _cap(what, count, maximum)
    return count


def _types(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "types", TYPES_MAX)):
        form = reader.byte()
        if form != _FUNCTION_FORM:
            raise invalid(f"type form 0x{form:02x} is not supported, only functions")
        params = _value_types(reader)
        tally.types.append(Signature(params, _value_types(reader)))


def _value_types(reader: Reader) -> tuple[str, ...]:
    count = _counted(reader, "parameters or results", PARAMETERS_MAX)
    return tuple(reader.value_type() for _ in range(count))


def _imports(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "imports", IMPORTS_MAX)):
        module, name = reader.name(), reader.name()
        kind = reader.byte()
        match kind:
            case 0:
                index = reader.u32()
                described = str(tally.signature(index))
                tally.functions.append(index)
                tally.imported_functions += 1
            case 1:
                described = _table_type(reader, tally)
            case 2:
                described = _memory_type(reader, tally)
            case 3:
                described = _global_type(reader, tally)
            case 4:
                described = _tag_type(reader)
            case _:
                raise invalid(f"unknown kind {kind} of import {module!a}.{name!a}")
        tally.imports.append(
            ImportSummary(module=module, name=name, kind=_EXTERNAL_KINDS[kind], type=described)
        )


def _functions(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "functions", FUNCTIONS_MAX)):
        tally.functions.append(reader.u32())


def _tables(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "tables", TABLES_MAX)):
        _table_type(reader, tally)


def _table_type(reader: Reader, tally: Tally) -> str:
    code = reader.byte()
    if code not in _REFERENCES:
        raise invalid(f"a table of type 0x{code:02x} is not supported")
    reference = _REFERENCES[code]
    minimum, maximum, _ = _limits(reader)
    tally.tables.append(f"{reference} {minimum}..{'' if maximum is None else maximum}")
    tally.table_elements += minimum
    _cap("tables", len(tally.tables), TABLES_MAX)
    _cap("table elements", tally.table_elements, TABLE_ELEMENTS_MAX)
    return tally.tables[-1]


def _memories(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "memories", MEMORIES_MAX)):
        _memory_type(reader, tally)


def _memory_type(reader: Reader, tally: Tally) -> str:
    minimum, maximum, flags = _limits(reader)
    if flags & _SHARED:
        raise invalid("shared memories are not supported")
    tally.memories.append((minimum, maximum))
    _cap("memories", len(tally.memories), MEMORIES_MAX)
    return f"{minimum}..{'' if maximum is None else maximum} pages"


def _limits(reader: Reader) -> tuple[int, int | None, int]:
    flags = reader.byte()
    if flags & _MEMORY_64:
        raise invalid("64-bit memories and tables are not supported")
    if flags & _CUSTOM_PAGE or flags > (_MEMORY_64 | _SHARED | 1):
        raise invalid(f"limits with flags 0x{flags:02x} are not supported")
    minimum = reader.u32()
    return minimum, reader.u32() if flags & 1 else None, flags


def _globals(reader: Reader, tally: Tally) -> None:
    tally.globals_defined = _counted(reader, "globals", GLOBALS_MAX)
    # Initialisers are expressions; the types of exported globals are not needed, so stop here.


def _global_type(reader: Reader, tally: Tally) -> str:
    described = reader.value_type()
    tally.globals_imported += 1
    return f"{'mut ' if reader.byte() else ''}{described}"


def _tag_type(reader: Reader) -> str:
    reader.byte()
    return f"tag of type {reader.u32()}"


def _exports(reader: Reader, tally: Tally) -> None:
    for _ in range(_counted(reader, "exports", EXPORTS_MAX)):
        name, kind, index = reader.name(), reader.byte(), reader.u32()
        if kind not in _EXTERNAL_KINDS:
            raise invalid(f"unknown kind {kind} of export {name!a}")
        tally.exports.append((name, kind, index))


def _start(reader: Reader, tally: Tally) -> None:
    reader.u32()
    tally.has_start = True


def _elements(reader: Reader, tally: Tally) -> None:
    tally.element_segments = _counted(reader, "element segments", ELEMENT_SEGMENTS_MAX)


def _code(reader: Reader, tally: Tally) -> None:
    for index in range(_counted(reader, "function bodies", FUNCTIONS_MAX)):
        body = reader.take(reader.u32())
        total = 0
        for _ in range(_counted(body, "groups of locals", LOCALS_PER_FUNCTION_MAX)):
            total += body.u32()
            body.value_type()
            _cap(f"locals in function {index}", total, LOCALS_PER_FUNCTION_MAX)
        tally.locals_max = max(tally.locals_max, total)


def _data(reader: Reader, tally: Tally) -> None:
    tally.data_segments = _counted(reader, "data segments", DATA_SEGMENTS_MAX)


def _data_count(reader: Reader, _tally: Tally) -> None:
    _counted(reader, "data segments", DATA_SEGMENTS_MAX)


def _custom(reader: Reader, tally: Tally) -> None:
    tally.custom_sections.append(reader.name())


def _tags(reader: Reader, _tally: Tally) -> None:
    reader.u32()
    raise invalid("exception tags are not supported")


_SECTIONS = {
    0: _custom,
    1: _types,
    2: _imports,
    3: _functions,
    4: _tables,
    5: _memories,
    6: _globals,
    7: _exports,
    8: _start,
    9: _elements,
    10: _code,
    11: _data,
    12: _data_count,
    13: _tags,
}


def _summarise(tally: Tally, size_bytes: int) -> ModuleSummary:
    minimum, maximum = tally.memories[0] if tally.memories else (0, None)
    return ModuleSummary(
        size_bytes=size_bytes,
        imports=tuple(tally.imports),
        exports=tuple(
            ExportSummary(name=name, kind=_EXTERNAL_KINDS[kind], type=tally.described(kind, index))
            for name, kind, index in tally.exports
        ),
        has_memory=bool(tally.memories),
        memory_min_bytes=minimum * WASM_PAGE_BYTES,
        memory_max_bytes=None if maximum is None else maximum * WASM_PAGE_BYTES,
        types=len(tally.types),
        functions=len(tally.functions) - tally.imported_functions,
        tables=len(tally.tables),
        table_elements_min=tally.table_elements,
        globals=tally.globals_imported + tally.globals_defined,
        element_segments=tally.element_segments,
        data_segments=tally.data_segments,
        locals_max=tally.locals_max,
        has_start=tally.has_start,
        custom_sections=tuple(tally.custom_sections),
    )
