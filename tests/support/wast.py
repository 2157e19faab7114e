"""Reads the scripts of the official WebAssembly suite: S-expressions into commands and values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import wasmtime

COMMANDS = frozenset(
    [
        "module",
        "register",
        "invoke",
        "get",
        "assert_return",
        "assert_trap",
        "assert_exhaustion",
        "assert_invalid",
        "assert_malformed",
        "assert_unlinkable",
        "assert_exception",
        "assert_return_canonical_nan",
        "assert_return_arithmetic_nan",
        "assert_malformed_custom",
        "assert_invalid_custom",
        "thread",
        "wait",
    ]
)
_TOKEN = re.compile(
    rb"""(?P<space>[ \t\r\n]+|;;[^\n]*)|(?P<comment>\(;)|(?P<open>\()|(?P<close>\))"""
    rb"""|(?P<string>"(?:[^"\\]|\\.)*")|(?P<atom>[^\s()";]+|;)""",
    re.DOTALL,
)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(u\{[0-9a-fA-F_]+\}|[0-9a-fA-F]{2}|.)", re.DOTALL)


@dataclass(frozen=True)
class Form:
    """A list: ``items`` are Forms, bytes (strings) or str (atoms); ``text`` is its source."""

    items: tuple
    text: bytes
    line: int

    @property
    def head(self) -> str:
        return self.items[0] if self.items and isinstance(self.items[0], str) else ""


def parse(source: bytes) -> list[Form]:
    """The script's commands. A script that is only module fields becomes one module."""
    forms = _read(source)
    if forms and not any(form.head in COMMANDS for form in forms):
        return [Form(("module", *forms), b"(module " + source + b"\n)", 1)]
    return forms


def _read(source: bytes) -> list[Form]:
    stack: list[tuple[int, list]] = [(0, [])]
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ValueError(f"unreadable at byte {at}")
        kind, start, at = match.lastgroup, at, match.end()
        if kind == "comment":
            at = _after_comment(source, at)
        elif kind == "open":
            stack.append((start, []))
        elif kind == "close":
            begun, items = stack.pop()
            line = source.count(b"\n", 0, begun) + 1 if len(stack) == 1 else 0
            stack[-1][1].append(Form(tuple(items), source[begun:at], line))
        elif kind == "string":
            stack[-1][1].append(_unescape(match.group()[1:-1]))
        elif kind == "atom":
            stack[-1][1].append(match.group().decode("utf-8", "replace"))
    return [item for item in stack[0][1] if isinstance(item, Form)]


def _after_comment(source: bytes, at: int) -> int:
    depth = 1
    while depth:
        opened, closed = source.find(b"(;", at), source.find(b";)", at)
        if 0 <= opened < closed:
            depth, at = depth + 1, opened + 2
        else:
            depth, at = depth - 1, closed + 2
    return at


def _unescape(text: bytes) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        body = match.group(1)
        if body in _ESCAPES:
            return _ESCAPES[body]
        if body.startswith(b"u{"):
            return chr(int(body[2:-1].replace(b"_", b""), 16)).encode("utf-8", "surrogatepass")
        return bytes([int(body, 16)])

    return _ESCAPE.sub(replace, text)


def module_name(form: Form) -> str | None:
    names = [item for item in form.items[1:3] if isinstance(item, str) and item.startswith("$")]
    return names[0] if names else None


def assemble(form: Form) -> bytes:
    """Bytes of a ``(module ...)`` form; malformed text raises wasmtime.WasmtimeError."""
    words = [item for item in form.items[1:3] if isinstance(item, str)]
    strings = b"".join(item for item in form.items if isinstance(item, bytes))
    if "binary" in words:
        return strings
    if "quote" in words:
        text = strings
        if not re.match(rb"\s*\(\s*module\b", text):
            text = b"(module " + text + b"\n)"
    else:
        text = re.sub(rb"^\(module(\s+)definition\b", rb"(module\1", form.text)
    try:
        return bytes(wasmtime.wat2wasm(text))
    except UnicodeDecodeError as error:
        raise wasmtime.WasmtimeError(str(error)) from error


# Values: (type, bits) where bits is an int, or a pattern for an expected result.

WIDTH_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64}
_FLOAT_SHAPE = {
    "f32": (24, -149, 128),
    "f64": (53, -1074, 1024),
}  # digits, lowest exponent, highest
_LANES = {
    "i8x16": "i8",
    "i16x8": "i16",
    "i32x4": "i32",
    "i64x2": "i64",
    "f32x4": "f32",
    "f64x2": "f64",
}


class UnsupportedValueError(Exception):
    """A value of a proposal that is off, such as a reference to a host object."""


def value(form: Form) -> tuple[str, object]:
    """Such as ``("i32", 5)``, ``("f32", "nan:canonical")`` or ``("v128", ("f32", (1, ...)))``."""
    kind, _, operation = form.head.partition(".")
    if kind == "v128" and operation == "const":
        lane = _LANES[form.items[1]]
        return "v128", (lane, tuple(number(lane, text) for text in form.items[2:]))
    if operation == "const" and kind in WIDTH_BITS:
        return kind, number(kind, form.items[1])
    if form.head == "either":
        return "either", tuple(value(item) for item in form.items[1:])
    if form.head == "ref.null":
        return "ref", "null"
    if form.head == "ref.func":
        return "ref", "func"
    raise UnsupportedValueError(form.head)


def number(kind: str, text: str) -> object:
    """The unsigned bits of a literal, or ``nan:canonical`` / ``nan:arithmetic`` as they are."""
    text = text.replace("_", "")
    if text in ("nan:canonical", "nan:arithmetic"):
        return text
    width = WIDTH_BITS[kind]
    if kind[0] == "i":
        return int(text, 0 if "x" in text else 10) % (1 << width)
    digits, _, highest = _FLOAT_SHAPE[kind]
    sign = 1 << (width - 1) if text.startswith("-") else 0
    text = text.lstrip("+-")
    exponent_bits = (2 * highest - 1) << (digits - 1)
    if text == "inf":
        return sign | exponent_bits
    if text == "nan":
        return sign | exponent_bits | 1 << (digits - 2)
    if text.startswith("nan:"):
        return sign | exponent_bits | int(text[4:], 16)
    return sign | _rounded(_exact(text), *_FLOAT_SHAPE[kind])


def _exact(text: str) -> Fraction:
    if not text.startswith(("0x", "0X")):
        return Fraction(text)
    mantissa, _, exponent = text[2:].lower().partition("p")
    whole, _, fraction = mantissa.partition(".")
    scale = int(exponent or "0") - 4 * len(fraction)
    return Fraction(int(whole + fraction, 16)) * Fraction(2) ** scale


def _rounded(exact: Fraction, digits: int, lowest: int, highest: int) -> int:
    """Bits of the nearest float, ties to even; overflow is infinity."""
    if not exact:
        return 0
    exponent = max(exact.numerator.bit_length() - exact.denominator.bit_length() - digits, lowest)
    while exact / Fraction(2) ** exponent >= 1 << digits:
        exponent += 1
    while exponent > lowest and exact / Fraction(2) ** exponent < 1 << (digits - 1):
        exponent -= 1
    mantissa = round(exact / Fraction(2) ** exponent)
    # A mantissa that rounds up into the next power of two carries into the exponent by addition.
    bits = mantissa + ((exponent - lowest) << (digits - 1))
    return min(bits, (2 * highest - 1) << (digits - 1))


def matches(expected: tuple[str, object], found: tuple[str, object]) -> bool:
    """``found`` is ``(type, bits)``; for v128 the bits are one 128-bit number."""
    kind, wanted = expected
    if kind == "either":
        return any(matches(item, found) for item in wanted)
    if kind == "ref":
        return found == ("ref", wanted)
    if kind != found[0]:
        return False
    if kind == "v128":
        lane, values = wanted
        width = WIDTH_BITS[lane]
        return all(
            _same(lane, item, found[1] >> (width * index) & ((1 << width) - 1))
            for index, item in enumerate(values)
        )
    return _same(kind, wanted, found[1])


def _same(kind: str, wanted: object, bits: int) -> bool:
    if not isinstance(wanted, str):
        return wanted == bits
    digits, _, highest = _FLOAT_SHAPE[kind]
    quiet = ((2 * highest - 1) << (digits - 1)) | 1 << (digits - 2)
    if wanted == "nan:canonical":
        return bits & ((1 << (WIDTH_BITS[kind] - 1)) - 1) == quiet
    return bits & quiet == quiet
