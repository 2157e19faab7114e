"""A bounded reader over the bytes of a WASM module. Never trusts a length it has not checked."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.execution.outcome import Reason

NAME_BYTES_MAX = 4096
_S32_SHIFT_END = 35

NUMBER_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}
VALUE_TYPES = NUMBER_TYPES | {0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}


@dataclass(eq=False, kw_only=True)
class ModuleRefusedError(VcpError):
    """The module's bytes alone decide that it is not run. ``reason`` is what every node says."""

    code = "module_refused"
    http_status = 400
    reason: Reason
    why: str

    def __str__(self) -> str:
        return self.why


def invalid(why: str) -> ModuleRefusedError:
    return ModuleRefusedError(reason=Reason.MODULE_INVALID, why=why)


class Reader:
    """Reads forward through ``data[start:end]``; raises ModuleRefusedError at the first fault."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._position = start
        self._end = end

    @property
    def position(self) -> int:
        return self._position

    @property
    def at_end(self) -> bool:
        return self._position >= self._end

    def byte(self) -> int:
        if self._position >= self._end:
            raise invalid(f"unexpected end at byte {self._position}")
        value = self._data[self._position]
        self._position += 1
        return value

    def u32(self) -> int:
        """An unsigned LEB128 number of at most 5 bytes and 32 bits."""
        return self._unsigned(32)

    def u64(self) -> int:
        return self._unsigned(64)

    def s32(self) -> int:
        """A signed LEB128 number of at most 5 bytes and 32 bits."""
        start, value, shift = self._position, 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= _S32_SHIFT_END:
                raise invalid(f"number longer than 32 bits at byte {start}")
        if byte & 0x40:
            value -= 1 << shift
        if not -(1 << 31) <= value < 1 << 31:
            raise invalid(f"number larger than 32 bits at byte {start}")
        return value

    def _unsigned(self, width_bits: int) -> int:
        start, value, shift = self._position, 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift >= width_bits:
                raise invalid(f"number longer than {width_bits} bits at byte {start}")
        if value >> width_bits:
            raise invalid(f"number larger than {width_bits} bits at byte {start}")
        return value

    def skip(self, size: int) -> None:
        if size > self._end - self._position:
            raise invalid(f"a length at byte {self._position} reaches past the end")
        self._position += size

    def take(self, size: int) -> Reader:
        """A reader over the next ``size`` bytes; this one goes on behind them."""
        start = self._position
        self.skip(size)
        return Reader(self._data, start, self._position)

    def name(self) -> str:
        size = self.u32()
        if size > NAME_BYTES_MAX:
            raise ModuleRefusedError(
                reason=Reason.MODULE_TOO_LARGE,
                why=f"a name of {size} bytes, at most {NAME_BYTES_MAX} are taken",
            )
        start = self._position
        self.skip(size)
        try:
            return self._data[start : self._position].decode("utf-8")
        except UnicodeDecodeError as error:
            raise invalid(f"a name at byte {start} is not UTF-8") from error

    def value_type(self) -> str:
        code = self.byte()
        if code in VALUE_TYPES:
            return VALUE_TYPES[code]
        if code in (0x63, 0x64):
            raise invalid(f"typed references are not supported (byte {self._position - 1})")
        raise invalid(f"unknown value type 0x{code:02x} at byte {self._position - 1}")
