"""The parser that looks at a module before it is compiled."""

import pickle
import random

import pytest
import wasmtime

from ambient_vcp.adapters.wasmtime.modules import module_checks
from ambient_vcp.adapters.wasmtime.modules.module_checks import check_module, inspect_module
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError
from ambient_vcp.domain.execution.outcome import Reason

RICH = """(module
  (import "vcp" "input_len" (func $len (param i32) (result i32)))
  (memory (export "memory") 2 10)
  (table (export "table") 3 7 funcref)
  (global (export "g") (mut i64) (i64.const 5))
  (elem (i32.const 0) $f)
  (data (i32.const 0) "abc")
  (func $f (export "f") (param i32 f64) (result i64 f32) (local i32 i32 i64)
    i64.const 0 f32.const 0)
  (start $s) (func $s))"""
PREAMBLE = b"\0asm\1\0\0\0"


def bytes_of(text):
    return bytes(wasmtime.wat2wasm(text))


def leb(value):
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def section(kind, body):
    return bytes([kind]) + leb(len(body)) + body


def refusal(data, interface="scalar"):
    with pytest.raises(ModuleRefusedError) as caught:
        check_module(data, interface)
    return caught.value.reason, str(caught.value)


def test_the_summary_says_what_is_in_the_module():
    data = bytes_of(RICH)
    summary = inspect_module(data)
    assert summary.size_bytes == len(data)
    assert [(i.module, i.name, i.kind, i.type) for i in summary.imports] == [
        ("vcp", "input_len", "func", "(i32) -> (i32)")
    ]
    assert {e.name: (e.kind, e.type) for e in summary.exports} == {
        "memory": ("memory", "2..10 pages"),
        "table": ("table", "funcref 3..7"),
        "g": ("global", ""),
        "f": ("func", "(i32, f64) -> (i64, f32)"),
    }
    assert (summary.memory_min_bytes, summary.memory_max_bytes) == (131072, 655360)
    assert (summary.functions, summary.tables, summary.globals) == (2, 1, 1)
    assert (summary.element_segments, summary.data_segments, summary.locals_max) == (1, 1, 3)
    assert summary.has_start
    assert summary.function_export("f") is not None
    assert summary.function_export("memory") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0asm",
        b"\0asm\1\0\0",
        b"\0asm\2\0\0\0",
        b"\0asm\x0d\0\1\0",
        b"#!/bin/sh\n",
        PREAMBLE + b"\1",
        PREAMBLE + b"\1\xff\xff\xff\xff\x0f",
        PREAMBLE + b"\1\x80\x80\x80\x80\x80\x00",
        PREAMBLE + b"\1\xff\xff\xff\xff\x7f",
        PREAMBLE + section(99, b""),
        PREAMBLE + section(1, b"\1\x5f"),
        PREAMBLE + section(2, b"\1\1a\1b\7"),
        PREAMBLE + section(2, b"\1\1a\2\xff\xfe\0\0"),
        PREAMBLE + section(2, b"\1\1a\1b\0\5"),
        PREAMBLE + section(7, b"\1\1a\0\5"),
        PREAMBLE + section(0, b"\x05ab"),
    ],
)
def test_bytes_that_are_no_module_are_invalid(data):
    assert refusal(data)[0] is Reason.MODULE_INVALID


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (PREAMBLE + bytes(10 * 1024 * 1024), "module bytes"),
        (PREAMBLE + section(1, leb(10_001)), "types"),
        (PREAMBLE + section(1, b"\1\x60" + leb(1001)), "parameters"),
        (PREAMBLE + section(2, leb(1001)), "imports"),
        (PREAMBLE + section(3, leb(10_001)), "functions"),
        (PREAMBLE + section(4, leb(17)), "tables"),
        (PREAMBLE + section(4, b"\1\x70\0" + leb(100_001)), "table elements"),
        (PREAMBLE + section(5, leb(2)), "memories"),
        (PREAMBLE + section(6, leb(10_001)), "globals"),
        (PREAMBLE + section(7, leb(10_001)), "exports"),
        (PREAMBLE + section(9, leb(10_001)), "element segments"),
        (PREAMBLE + section(10, leb(10_001)), "function bodies"),
        (PREAMBLE + section(10, b"\1" + leb(8) + b"\1" + leb(10_001) + b"\x7f\0\0\0\0"), "locals"),
        (PREAMBLE + section(11, leb(100_001)), "data segments"),
        (PREAMBLE + section(12, leb(100_001)), "data segments"),
        (PREAMBLE + section(0, b"\1a") * 1001, "sections"),
        (PREAMBLE + section(7, b"\1" + leb(5000) + b"a" * 5000 + b"\0\0"), "a name of"),
    ],
)
def test_each_cap_refuses_one_more_than_it_allows(data, what):
    reason, said = refusal(data)
    assert reason is Reason.MODULE_TOO_LARGE
    assert what in said


def test_ten_thousand_functions_are_taken():
    text = "(module " + "(func)" * module_checks.FUNCTIONS_MAX + ")"
    assert inspect_module(bytes_of(text)).functions == 10_000


@pytest.mark.parametrize(
    ("interface", "imports", "allowed"),
    [
        ("scalar", "", True),
        ("scalar", '(import "vcp" "output_write" (func (param i32 i32)))', True),
        ("bytes", '(import "vcp" "output_write" (func (param i32 i32)))', True),
        ("bytes", '(import "vcp" "output_write" (func (param i32 i32) (result i32)))', False),
        ("bytes", '(import "vcp" "output" (func (param i32 i32)))', False),
        ("wasi", '(import "vcp" "output_write" (func (param i32 i32)))', False),
        ("wasi", '(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))', True),
        ("wasi", '(import "wasi_snapshot_preview1" "sched_yield" (func))', False),
        ("wasi", '(import "env" "abort" (func (param i32 i32 i32 i32)))', True),
        ("scalar", '(import "env" "memory" (memory 1))', False),
        ("scalar", '(import "spectest" "print" (func))', False),
    ],
)
def test_imports_are_allowed_by_name_type_and_interface(interface, imports, allowed):
    data = bytes_of(f"(module {imports})")
    if allowed:
        check_module(data, interface)
    else:
        assert refusal(data, interface)[0] is Reason.FORBIDDEN_IMPORT


def test_every_damaged_module_is_read_or_refused_and_never_crashes_the_reader():
    seed = 7
    print("seed", seed)
    rng = random.Random(seed)
    whole = bytes_of(RICH)
    refused = 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            inspect_module(bytes(data[: rng.randrange(len(data) + 1)]))
        except ModuleRefusedError:
            refused += 1
    assert refused > 1000


def test_the_error_can_be_pickled_and_has_details():

    error = ModuleRefusedError(reason=Reason.MODULE_INVALID, why="no")
    assert pickle.loads(pickle.dumps(error)).details() == error.details()
