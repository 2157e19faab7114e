"""The bytes interface: module ``vcp``, and AssemblyScript's ``env.abort``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ambient_vcp.adapters.wasmtime.execution.host import (
    PRIVATE,
    PUBLIC,
    GuestTrapError,
    GuestView,
    RunFiles,
)

ABORT_TEXT_CHARS_MAX = 200


@dataclass(slots=True)
class VcpHost:
    view: GuestView
    files: RunFiles

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "input_len": self.input_len,
            "input_read": self.input_read,
            "output_write": self.output_write,
        }

    def input_len(self, kind: int) -> int:
        """Bytes of the public (0) or private (1) input; 0 where there is none."""
        return _signed(self.files.input_size(_checked(kind)))

    def input_read(self, kind: int, pointer: int, offset: int, size: int) -> int:
        """Copy at most ``size`` bytes from ``offset``; returns how many, fewer only at the end."""
        target = [self.view.bytes_at(pointer, size)]
        kind, offset = _checked(kind), offset & 0xFFFFFFFF
        self.view.meter.charge_bytes(self.files.available(kind, offset, target))
        count = self.files.read_input(kind, offset, target)
        return _signed(count)

    def output_write(self, pointer: int, size: int) -> None:
        """Append to the output; over the limit the run ends with OUTPUT_TOO_LARGE."""
        data = self.view.bytes_at(pointer, size)
        self.view.meter.charge_bytes(len(data))
        self.files.write_output([data])


@dataclass(slots=True)
class EnvHost:
    view: GuestView

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {"abort": self.abort}

    def abort(self, message: int, _file: int, line: int, column: int) -> None:
        """AssemblyScript's failed assertion: the run ends with trap ``abort``."""
        text = self._string(message)
        raise GuestTrapError("abort", f"abort at {line}:{column}: {text}")

    def _string(self, pointer: int) -> str:
        """An AssemblyScript string: UTF-16, its size in bytes in front; empty if out of range."""
        try:
            size = self.view.u32(pointer - 4)
            return bytes(self.view.bytes_at(pointer, min(size, 2 * ABORT_TEXT_CHARS_MAX))).decode(
                "utf-16-le", "replace"
            )
        except GuestTrapError:
            return ""


def _checked(kind: int) -> int:
    if kind not in (PUBLIC, PRIVATE):
        raise GuestTrapError("bad_input_kind", f"input kind {kind}, only 0 and 1 exist")
    return kind


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
