"""Reading a manifest's table. Every key must be known and well formed: a slip is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import CellLimits
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.programs.manifest import (
    BAD_INPUT,
    FIELDS_MAX,
    MISSING,
    ErrorMeaning,
    Example,
    InputField,
    InputKind,
    ProgramManifest,
    ResultField,
    ResultKind,
)

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
DIGEST = re.compile(r"[0-9a-f]{64}")

_SIZED = frozenset({InputKind.TEXT, InputKind.LIST, InputKind.MATRIX})
_BOUNDED = frozenset({InputKind.INTEGER, InputKind.NUMBER})


def parse_manifest(table: Mapping[str, Any]) -> ProgramManifest:
    """Turn the table of a ``manifest.toml`` into a manifest.

    Raises:
        InvalidInputError: ``where`` is the path of the offending key.
    """
    top = _Table(table, "")
    name = top.text("name", NAME)
    if top.text("interface") != "bytes":
        raise _wrong("interface", 'is "bytes"')
    manifest = ProgramManifest(
        name=name,
        title=top.text("title"),
        summary=top.text("summary"),
        notes=top.text("notes") if "notes" in top else "",
        version=top.text("version", VERSION),
        module_digest=Digest(top.text("sha256", DIGEST)),
        limits=_limits(top.table("limits")),
        inputs=tuple(_input_field(t) for t in top.tables("input")),
        results=tuple(_result_field(t) for t in top.tables("result")),
        errors=(*(_error(t) for t in top.tables("error")), BAD_INPUT),
        examples=tuple(_example(t) for t in top.tables("example")),
    )
    top.done()
    _require_distinct("input", [field.name for field in manifest.inputs])
    _require_distinct("result", [field.name for field in manifest.results])
    _require_distinct("error", [error.code for error in manifest.errors])
    if not manifest.inputs or not manifest.results:
        raise _wrong("input and result", "need at least one field each")
    return manifest


def _limits(table: _Table) -> CellLimits:
    limits = CellLimits(
        fuel_max=table.positive("fuel_max"),
        memory_bytes_max=table.positive("memory_bytes_max"),
        output_bytes_max=table.positive("output_bytes_max"),
    )
    table.done()
    return limits


def _input_field(table: _Table) -> InputField:
    try:
        kind = InputKind(table.text("kind"))
    except ValueError:
        raise _wrong(f"{table.path}kind", f"is one of {', '.join(InputKind)}") from None
    field = InputField(
        name=table.text("name", NAME),
        kind=kind,
        meaning=table.text("meaning"),
        default=table.any("default", MISSING),
        minimum=table.number("min"),
        maximum=table.number("max"),
        size_min=table.positive("size_min") if "size_min" in table else 0,
        size_max=table.positive("size_max") if kind in _SIZED else None,
        choices=tuple(table.any("choices", ())),
    )
    table.done()
    if kind in _BOUNDED and (field.minimum is None or field.maximum is None):
        raise _wrong(table.path.rstrip("."), "needs min and max")
    if (kind is InputKind.CHOICE) != bool(field.choices):
        raise _wrong(f"{table.path}choices", "belongs to the kind choice, and only to it")
    return field


def _result_field(table: _Table) -> ResultField:
    try:
        kind = ResultKind(table.text("kind"))
    except ValueError:
        raise _wrong(f"{table.path}kind", f"is one of {', '.join(ResultKind)}") from None
    field = ResultField(name=table.text("name", NAME), kind=kind, meaning=table.text("meaning"))
    table.done()
    return field


def _error(table: _Table) -> ErrorMeaning:
    error = ErrorMeaning(code=table.text("code", NAME), meaning=table.text("meaning"))
    table.done()
    return error


def _example(table: _Table) -> Example:
    result, error = table.any("result", None), table.any("error", None)
    example = Example(input=table.any("input", {}), result=result, error=error)
    table.done()
    if result is not None and error is not None:
        raise _wrong(table.path.rstrip("."), "has a result or an error, not both")
    return example


def _require_distinct(where: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise _wrong(where, "has two fields of one name")


def _wrong(where: str, rule: str) -> InvalidInputError:
    return InvalidInputError(
        where=f"manifest: {where}",
        rule=rule,
        advice="docs/howto/add-a-program.md describes every key.",
    )


class _Table:
    """A table that remembers which of its keys were read, so that ``done`` can refuse the rest."""

    def __init__(self, table: object, path: str) -> None:
        if not isinstance(table, Mapping):
            raise _wrong(path.rstrip("."), "is a table")
        self._left = dict(table)
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def any(self, key: str, default: Any) -> Any:
        return self._left.pop(key, default)

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str:
        value = self.any(key, None)
        if not isinstance(value, str) or not value.strip():
            raise _wrong(self.path + key, "is a text that is not empty")
        if form and not form.fullmatch(value):
            raise _wrong(self.path + key, f"has the form {form.pattern}")
        return value

    def positive(self, key: str) -> int:
        value = self.any(key, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _wrong(self.path + key, "is an integer of 1 or more")
        return value

    def number(self, key: str) -> int | float | None:
        value = self.any(key, None)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise _wrong(self.path + key, "is a number")
        return value

    def table(self, key: str) -> _Table:
        return _Table(self.any(key, None), f"{self.path}{key}.")

    def tables(self, key: str) -> list[_Table]:
        value = self.any(key, [])
        if not isinstance(value, list) or len(value) > FIELDS_MAX:
            raise _wrong(self.path + key, f"is a list of at most {FIELDS_MAX} tables")
        return [_Table(item, f"{key}[{i}].") for i, item in enumerate(value)]

    def done(self) -> None:
        if self._left:
            raise _wrong(f"{self.path}{min(self._left)}", "is not a known key")
