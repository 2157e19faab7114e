"""What is known of a module without compiling it: for the checks, and for people."""

from __future__ import annotations

from dataclasses import dataclass, field

from ambient_vcp.adapters.wasmtime.modules.imports import Signature
from ambient_vcp.adapters.wasmtime.modules.module_reader import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """``kind`` is func, table, memory, global or tag; ``type`` is text such as ``(i32) -> ()``."""

    module: str
    name: str
    kind: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    name: str
    kind: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSummary:
    """Names come from the module and are not escaped. Counts include imports where both exist,
    except ``functions``, which counts those the module defines.
    """

    size_bytes: int
    imports: tuple[ImportSummary, ...]
    exports: tuple[ExportSummary, ...]
    has_memory: bool
    memory_min_bytes: int
    memory_max_bytes: int | None
    types: int
    functions: int
    tables: int
    table_elements_min: int
    globals: int
    element_segments: int
    data_segments: int
    locals_max: int
    has_start: bool
    custom_sections: tuple[str, ...]

    def function_export(self, name: str) -> ExportSummary | None:
        for export in self.exports:
            if export.name == name and export.kind == "func":
                return export
        return None


@dataclass(slots=True)
class Tally:
    """What the reader has seen so far."""

    types: list[Signature] = field(default_factory=list)
    imports: list[ImportSummary] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    imported_functions: int = 0
    tables: list[str] = field(default_factory=list)
    table_elements: int = 0
    memories: list[tuple[int, int | None]] = field(default_factory=list)
    globals_imported: int = 0
    globals_defined: int = 0
    exports: list[tuple[str, int, int]] = field(default_factory=list)
    element_segments: int = 0
    data_segments: int = 0
    locals_max: int = 0
    has_start: bool = False
    custom_sections: list[str] = field(default_factory=list)

    def signature(self, index: int) -> Signature:
        if index >= len(self.types):
            raise invalid(f"type {index} does not exist")
        return self.types[index]

    def described(self, kind: int, index: int) -> str:
        """The type of an exported item as text; empty where it is not read."""
        match kind:
            case 0:
                if index >= len(self.functions):
                    raise invalid(f"function {index} is exported but does not exist")
                return str(self.signature(self.functions[index]))
            case 1 if index < len(self.tables):
                return self.tables[index]
            case 2 if index < len(self.memories):
                minimum, maximum = self.memories[index]
                return f"{minimum}..{'' if maximum is None else maximum} pages"
            case _:
                return ""
