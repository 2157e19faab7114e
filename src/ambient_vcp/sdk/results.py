"""Typed answers: what a task is, what it returned, and its receipt."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

TERMINAL = frozenset({"completed", "failed", "cancelled"})

Scalar: TypeAlias = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarResult:
    """The export's results in order; ``types`` has their WebAssembly types."""

    values: tuple[Scalar, ...]
    types: tuple[str, ...]

    @property
    def value(self) -> Scalar:
        """The only result.

        Raises:
            ValueError: the export returns none or several.
        """
        (only,) = self.values
        return only


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """The typed result of a catalogue program."""

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesResult:
    """Output bytes. ``data`` is None when they are too many to fetch unasked."""

    digest: str
    size_bytes: int
    data: bytes | None

    @property
    def text(self) -> str:
        """The output as UTF-8.

        Raises:
            ValueError: it was not fetched, or is not UTF-8.
        """
        if self.data is None:
            raise ValueError("the output was not fetched; save it with `output(path)`")
        return self.data.decode()


Result: TypeAlias = ScalarResult | ProgramResult | BytesResult


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task as the control plane describes it; ``raw`` is the whole answer."""

    raw: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.raw["task_id"])

    @property
    def status(self) -> str:
        return str(self.raw["status"])

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def reason(self) -> str:
        return str(self.raw.get("reason") or "")

    @property
    def detail(self) -> str:
        return str(self.raw.get("detail") or "")

    @property
    def assurance_class(self) -> str:
        return str(self.raw.get("class") or "")

    @property
    def error_bound_ppb(self) -> int | None:
        value = self.raw.get("error_bound_ppb")
        return None if value is None else int(value)

    @property
    def receipt_id(self) -> str | None:
        value = self.raw.get("receipt_id")
        return None if value is None else str(value)

    @property
    def attempts(self) -> list[Mapping[str, Any]]:
        return list(self.raw.get("attempts") or [])

    @property
    def output(self) -> Mapping[str, Any] | None:
        return self.raw.get("output")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node as the control plane describes it; ``raw`` is the whole answer."""

    raw: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.raw["node_id"])

    @property
    def status(self) -> str:
        return str(self.raw.get("status") or "")

    @property
    def reputation(self) -> Mapping[str, Any]:
        return self.raw.get("reputation") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the control plane's event stream."""

    sequence: int
    kind: str
    task_id: str
    node_id: str
    at_ms: int
    fields: Mapping[str, Any]


def typed_result(info: TaskInfo, data: bytes | None) -> Result:
    """The result of a completed task; ``data`` is its output where it was fetched."""
    result = info.raw.get("result") or {}
    if isinstance(result.get("values"), list) and "output_digest" not in result:
        pairs = [(str(item["type"]), item["value"]) for item in result["values"]]
        return ScalarResult(
            values=tuple(_scalar(kind, value) for kind, value in pairs),
            types=tuple(kind for kind, _ in pairs),
        )
    if info.raw.get("program") and "output_digest" not in result:
        return ProgramResult(values=result)
    output = info.output or {}
    digest = output.get("digest") or result.get("output_digest") or ""
    size_bytes = int(output.get("size_bytes") or result.get("size_bytes") or 0)
    return BytesResult(digest=str(digest), size_bytes=size_bytes, data=data)


def inline_output(info: TaskInfo) -> bytes | None:
    """The output bytes that came with the answer itself."""
    inline = (info.output or {}).get("inline_b64")
    return None if inline is None else base64.b64decode(inline)


def _scalar(kind: str, value: Any) -> Scalar:
    return int(value) if kind in ("i32", "i64") else float(value)
