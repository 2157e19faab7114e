"""The description of a named program: its fields, limits, errors and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.execution.invocation import CellLimits
from ambient_vcp.domain.ids import Digest

MISSING = object()
"""The default of a field that has none: the caller must give a value."""

FIELDS_MAX = 16


class InputKind(StrEnum):
    """What a caller may hand over. `guest/record.h` has the encoding of each."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    TEXT = "text"
    LIST = "list"
    MATRIX = "matrix"


class ResultKind(StrEnum):
    """What a program may answer.

    ``list`` is numbers only or texts only; ``integers`` is a list of integers; ``counts`` is a list
    of objects with ``text`` and ``count``.
    """

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    LIST = "list"
    INTEGERS = "integers"
    COUNTS = "counts"
    MATRIX = "matrix"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputField:
    """One argument.

    ``minimum`` and ``maximum`` bound integers and numbers. ``size_min`` and ``size_max`` bound the
    UTF-8 bytes of a text, the items of a list, or each side of a matrix.
    """

    name: str
    kind: InputKind
    meaning: str
    default: object = MISSING
    minimum: int | float | None = None
    maximum: int | float | None = None
    size_min: int = 0
    size_max: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        return self.default is MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultField:
    name: str
    kind: ResultKind
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMeaning:
    """An error that the program may answer. ``bad_input`` belongs to every program."""

    code: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An input, and, where it is stated, the result or the error that it must give."""

    input: Mapping[str, object]
    result: Mapping[str, object] | None = None
    error: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramManifest:
    """``summary`` is one sentence; ``notes`` may be empty, or say what the fields do not."""

    name: str
    title: str
    summary: str
    notes: str
    version: str
    module_digest: Digest
    limits: CellLimits
    inputs: tuple[InputField, ...]
    results: tuple[ResultField, ...]
    errors: tuple[ErrorMeaning, ...]
    examples: tuple[Example, ...]


BAD_INPUT = ErrorMeaning(
    code="bad_input", meaning="The input is not a record of this program's fields."
)
