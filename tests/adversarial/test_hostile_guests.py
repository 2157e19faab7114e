"""Guests that attack: resources, host functions, the module format, and the process itself."""

import os
import random
import socket
import struct
import time

import pytest
import wasmtime

from ambient_vcp.adapters.wasmtime.modules.imports import VCP_IMPORTS, WASI_IMPORTS
from ambient_vcp.domain.execution.outcome import Reason
from support.cells import Cells, descendants
from support.native import attempts_inside_a_cell

WASI = '(import "wasi_snapshot_preview1" '
BAD_POINTERS = (0xFFFFFFFF, 0xFFFFFFFC, 65536, 65533, 0x80000000, 0x7FFFFFFF)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    with Cells(tmp_path_factory.mktemp("hostile")) as made:
        yield made


# Resources.


def test_an_endless_loop_ends_with_its_fuel(cells):
    spin = '(module (func (export "run") (loop (br 0))))'
    started = time.monotonic()
    assert cells.bytes(spin, fuel_max=10**8).reason is Reason.FUEL_EXHAUSTED
    assert time.monotonic() - started < 10


def test_an_endless_loop_with_endless_fuel_ends_with_its_time(cells):
    spin = '(module (func (export "run") (loop (br 0))))'
    ran = cells.bytes(spin, fuel_max=1 << 62, wall_ms_max=500)
    assert ran.reason is Reason.WALL_CLOCK_EXCEEDED
    assert ran.report.wall_ms < 1500


def test_an_endless_loop_in_the_start_function_ends_too(cells):
    spin = '(module (func $f (loop (br 0))) (start $f) (func (export "run")))'
    assert cells.bytes(spin, fuel_max=10**6).reason is Reason.FUEL_EXHAUSTED
    assert cells.bytes(spin, fuel_max=1 << 62, wall_ms_max=300).reason is Reason.WALL_CLOCK_EXCEEDED


@pytest.mark.parametrize("stack_bytes_max", [64 * 1024, 512 * 1024, 16 * 1024 * 1024])
def test_endless_recursion_ends_with_the_stack(cells, stack_bytes_max):
    deep = """(module (func $f (param i64 i64 i64) (result i64)
      (i64.add (local.get 0) (call $f (i64.add (local.get 0) (i64.const 1)) (local.get 2)
        (local.get 1)))) (func (export "run") (drop (call $f (i64.const 0) (i64.const 0)
        (i64.const 0)))))"""
    outcomes = {cells.bytes(deep, stack_bytes_max=stack_bytes_max).outcome for _ in range(3)}
    assert [outcome.reason for outcome in outcomes] == [Reason.STACK_EXHAUSTED]


@pytest.mark.parametrize(
    "after",
    [
        "unreachable",
        "(loop (br 0))",
        "(nop)",
        "(loop (drop (memory.grow (i32.const 1))) (br 0))",
        "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
        "(drop (i32.load (i32.const -4)))",
    ],
)
def test_asking_for_more_memory_than_the_limit_has_one_reason_whatever_follows(cells, after):
    grab = f"""(module (memory 1) (func (export "run")
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) {after}))"""
    outcomes = {cells.bytes(grab, memory_bytes_max=8 << 20).outcome for _ in range(3)}
    assert [outcome.reason for outcome in outcomes] == [Reason.MEMORY_EXCEEDED]
    assert outcomes.pop().memory_peak_bytes <= 8 << 20


def test_a_declared_minimum_over_the_limit_is_memory_too(cells):
    big = '(module (memory 1000) (func (export "run")))'
    assert cells.bytes(big, memory_bytes_max=1 << 20).reason is Reason.MEMORY_EXCEEDED


def test_what_the_standard_itself_refuses_is_not_held_against_the_guest(cells):
    own_maximum = """(module (memory 1 2) (func (export "run")
      (if (i32.ne (memory.grow (i32.const 5)) (i32.const -1)) (then unreachable))))"""
    assert cells.bytes(own_maximum).outcome.ok


def test_all_memory_up_to_the_limit_can_be_used(cells):
    fill = """(module (memory 1) (func (export "run")
      (if (i32.ne (memory.grow (i32.const 8191)) (i32.const 1)) (then unreachable))
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 536870912))))"""
    ran = cells.bytes(fill, memory_bytes_max=512 << 20)
    assert ran.outcome.ok, ran.outcome
    assert ran.outcome.memory_peak_bytes == 512 << 20


def test_a_table_does_not_grow_without_bound(cells):
    grab = """(module (table 1 funcref) (func (export "f") (result i32)
      (table.grow (ref.null func) (i32.const 100000000))))"""
    assert cells.scalar(grab, "f").values == [-1]
    assert cells.scalar('(module (table 200000 funcref) (func (export "f")))', "f").reason is (
        Reason.MODULE_TOO_LARGE
    )


def test_an_output_bomb_is_stopped_and_leaves_nothing(cells):
    bomb = """(module (import "vcp" "output_write" (func $write (param i32 i32))) (memory 16)
      (func (export "run") (loop (call $write (i32.const 0) (i32.const 1048576)) (br 0))))"""
    ran = cells.bytes(bomb, output_bytes_max=10 << 20)
    assert ran.reason is Reason.OUTPUT_TOO_LARGE
    assert ran.output == b""


def test_a_log_bomb_is_cut_and_does_not_become_output(cells):
    bomb = f"""(module {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 17) (func (export "_start") (local $i i32)
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1048576))
      (loop $again (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.const 1000))))))"""
    ran = cells.wasi(bomb)
    assert ran.outcome.ok
    assert len(ran.report.log) == 64 * 1024
    assert ran.output == b""


# Modules.


@pytest.mark.parametrize(
    ("imports", "named"),
    [
        ('(import "env" "system" (func (param i32) (result i32)))', "env.system"),
        ('(import "wasi_snapshot_preview1" "fd_exec" (func))', "wasi_snapshot_preview1.fd_exec"),
        ('(import "wasi_unstable" "fd_write" (func))', "wasi_unstable.fd_write"),
        ('(import "vcp" "input_len" (func (param i64) (result i32)))', "vcp.input_len"),
        ('(import "vcp" "input_len" (global i32))', "vcp.input_len"),
        ('(import "vcp" "memory" (memory 1))', "vcp.memory"),
        ('(import "" "" (func))', "."),
    ],
)
def test_a_forbidden_import_is_named(cells, imports, named):
    ran = cells.bytes(f'(module {imports} (func (export "run")))')
    assert ran.reason is Reason.FORBIDDEN_IMPORT
    assert f"import {named} " in ran.outcome.detail


def test_a_wasi_command_has_no_bytes_interface(cells):
    both = '(module (import "vcp" "output_write" (func (param i32 i32))) (func (export "_start")))'
    assert cells.wasi(both).reason is Reason.FORBIDDEN_IMPORT
    assert cells.wasi('(module (func (export "_start")))').outcome.ok


def test_ninety_thousand_functions_are_refused_before_compiling(cells):
    bomb = "(module " + "(func (param i32) (result i32) local.get 0)" * 90_000 + ")"
    data = bytes(wasmtime.wat2wasm(bomb))
    started = time.monotonic()
    ran = cells.scalar(data, "f")
    assert ran.reason is Reason.MODULE_TOO_LARGE
    assert time.monotonic() - started < 1


def test_one_huge_function_is_survived(cells):
    deep = "block " * 900 + "end " * 900
    flat = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 7)) (i32.const 3)))" * 100_000
    for text in (
        f'(module (func (export "f") {deep}))',
        f'(module (func (export "f") (result i32) (local i32) {flat} local.get 0))',
    ):
        ran = cells.scalar(text, "f", wall_ms_max=20_000)
        assert ran.outcome.ok or ran.reason is Reason.WALL_CLOCK_EXCEEDED, ran.outcome
        assert ran.report.wall_ms < 21_500


@pytest.mark.parametrize(
    "feature",
    [
        "(module (memory 1 1 shared))",
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (func (param externref)))",
        "(module (tag))",
        "(module (func $f (return_call $f)))",
        "(module (type (struct)))",
        "(module (func (param v128) (result v128) local.get 0 local.get 0 f32x4.relaxed_min))",
    ],
)
def test_a_feature_that_is_off_is_refused(cells, feature):
    ran = cells.scalar(feature, "f")
    assert ran.reason in (Reason.MODULE_INVALID, Reason.MODULE_TOO_LARGE, Reason.MISSING_EXPORT)
    valid_with_export = feature[:-1] + ' (func (export "f")))'
    ran = cells.scalar(valid_with_export, "f")
    assert ran.reason in (Reason.MODULE_INVALID, Reason.MODULE_TOO_LARGE), ran.outcome


def test_random_and_damaged_modules_never_hurt_the_node(cells):
    seed = int(os.environ.get("HOSTILE_SEED", "20240817"))
    print("seed", seed)
    rng = random.Random(seed)
    whole = bytearray(
        wasmtime.wat2wasm(
            """(module (import "vcp" "input_len" (func $l (param i32) (result i32)))
            (memory (export "memory") 1 4) (table 4 funcref) (elem (i32.const 0) $f $g)
            (global (mut i32) (i32.const 3)) (data (i32.const 8) "hello")
            (func $f (export "f") (result i32) (call $l (i32.const 0)))
            (func $g (export "run") (local i32 f64) (loop (br_if 0 (i32.lt_u (local.tee 0
              (i32.add (local.get 0) (i32.const 1))) (i32.const 9)))) (drop (call_indirect
              (result i32) (i32.const 0)))))"""
        )
    )
    reasons = set()
    for number in range(300):
        if number % 3 == 0:
            data = b"\0asm\1\0\0\0" + rng.randbytes(rng.randrange(200))
        else:
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
            data = bytes(data[: rng.randrange(8, len(data))] if number % 3 == 1 else data)
        ran = cells.bytes(data, fuel_max=10**6, memory_bytes_max=16 << 20, wall_ms_max=5000)
        assert ran.reason is None or ran.reason in KNOWN, (number, ran.outcome)
        reasons.add(ran.reason)
    assert Reason.MODULE_INVALID in reasons
    assert cells.scalar('(module (func (export "f")))', "f").outcome.ok


KNOWN = {
    Reason.MODULE_INVALID,
    Reason.MODULE_TOO_LARGE,
    Reason.FORBIDDEN_IMPORT,
    Reason.MISSING_EXPORT,
    Reason.TRAP,
    Reason.FUEL_EXHAUSTED,
    Reason.MEMORY_EXCEEDED,
    Reason.STACK_EXHAUSTED,
}


# Host functions.


def calling(module, name, signature, values):
    params = " ".join(signature.params)
    result = f"(result {signature.results[0]})" if signature.results else ""
    consts = " ".join(
        f"({kind}.const {value})" for kind, value in zip(signature.params, values, strict=True)
    )
    drop = f"(drop (call $f {consts}))" if signature.results else f"(call $f {consts})"
    entry = "run" if module == "vcp" else "_start"
    return f"""(module (import "{module}" "{name}" (func $f (param {params}) {result}))
      (memory (export "memory") 1) (func (export "{entry}") {drop}))"""


@pytest.mark.parametrize("name", sorted(VCP_IMPORTS))
def test_bytes_host_functions_survive_every_bad_argument(cells, name):
    signature = VCP_IMPORTS[name]
    for pointer in BAD_POINTERS:
        values = [signed(pointer)] * len(signature.params)
        if name == "input_read":
            values[0] = 0
        ran = cells.bytes(calling("vcp", name, signature, values), b"input")
        assert ran.reason is Reason.TRAP, (pointer, ran.outcome)
        assert ran.outcome.trap in ("host_pointer_out_of_bounds", "bad_input_kind")


def test_a_range_that_starts_inside_and_ends_outside_is_refused(cells):
    read = calling("vcp", "input_read", VCP_IMPORTS["input_read"], (0, 65530, 0, 7))
    assert cells.bytes(read, b"1234567890").outcome.trap == "host_pointer_out_of_bounds"
    write = calling("vcp", "output_write", VCP_IMPORTS["output_write"], (1, 65536))
    assert cells.bytes(write).outcome.trap == "host_pointer_out_of_bounds"
    exact = calling("vcp", "output_write", VCP_IMPORTS["output_write"], (0, 65536))
    assert cells.bytes(exact).output == bytes(65536)


@pytest.mark.parametrize("name", sorted(set(WASI_IMPORTS) - {"sched_yield"}))
def test_wasi_host_functions_survive_every_bad_argument(cells, name):
    signature = WASI_IMPORTS[name]
    for pointer in BAD_POINTERS[:4]:
        for first in (0, 1, signed(pointer)):
            values = [first] + [signed(pointer)] * (len(signature.params) - 1)
            module = calling(
                "wasi_snapshot_preview1", name, signature, values[: len(signature.params)]
            )
            ran = cells.wasi(module, "argument", public=b"input", env=(("A", "b"),))
            assert ran.reason in (None, Reason.TRAP, Reason.EXIT_CODE), (values, ran.outcome)
            assert ran.outcome.trap in ("", "host_pointer_out_of_bounds", "bad_subscription") or (
                name == "proc_exit"
            )


def test_host_functions_without_a_memory_trap(cells):
    bare = """(module (import "vcp" "output_write" (func $f (param i32 i32)))
      (func (export "run") (call $f (i32.const 0) (i32.const 1))))"""
    assert cells.bytes(bare).outcome.trap == "host_pointer_out_of_bounds"


def test_a_wait_moves_the_virtual_clock_and_not_ours(cells):
    hour_ns = 3600 * 10**9
    sleep = f"""(module {WASI} "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      {WASI} "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
      {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "_start")
      (i32.store (i32.const 116) (i32.const 1)) (i64.store (i32.const 124) (i64.const {hour_ns}))
      (if (call $poll (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300))
        (then unreachable))
      (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 400)))
      (i32.store (i32.const 0) (i32.const 400)) (i32.store (i32.const 4) (i32.const 8))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
    started = time.monotonic()
    ran = cells.wasi(sleep)
    assert time.monotonic() - started < 5
    assert struct.unpack("<Q", ran.output)[0] >= hour_ns


def test_hostile_text_is_escaped_before_anyone_sees_it(cells):
    evil = "\\1b[2J<script>"
    module = f'(module (import "evil{evil}" "x" (func)) (func (export "run")))'
    ran = cells.bytes(module)
    assert ran.reason is Reason.FORBIDDEN_IMPORT
    assert "\x1b" not in ran.outcome.detail
    assert ran.outcome.detail.isascii()


def test_a_guest_that_kills_itself_hurts_nobody_else(cells):
    before = len(descendants())
    for _ in range(3):
        assert cells.scalar('(module (func (export "f") unreachable))', "f").reason is Reason.TRAP
    assert cells.scalar('(module (func (export "f")))', "f").outcome.ok
    assert len(descendants()) <= before + 3


# Native code in the cell: what an escape from the engine would find.


@pytest.fixture(scope="module")
def tried():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with listener:
        return attempts_inside_a_cell(listener.getsockname()[1], os.getpid())


NEEDS = {
    "open a file": {"seccomp", "landlock"},
    "create a file": {"seccomp", "landlock"},
    "list a directory": {"seccomp", "landlock"},
    "tcp socket": {"seccomp"},
    "udp socket": {"seccomp"},
    "unix socket": {"seccomp"},
    "connect to the host": {"seccomp", "landlock", "network_namespace"},
    "execute a program": {"seccomp", "landlock"},
    "fork": {"seccomp"},
    "start a thread": {"seccomp"},
    "signal the parent": {"seccomp", "uid_drop"},
    "trace the parent": {"seccomp", "not_dumpable", "uid_drop"},
    "read the parent's memory": {"seccomp", "uid_drop"},
    "bpf": {"seccomp"},
    "io_uring": {"seccomp"},
    "userfaultfd": {"seccomp"},
    "keyctl": {"seccomp"},
    "unshare": {"seccomp"},
    "mount": {"seccomp", "uid_drop"},
    "map writable and executable memory": {"seccomp"},
    "raise a limit": {"seccomp", "uid_drop"},
    "become root": {"seccomp", "uid_drop"},
}


@pytest.mark.parametrize("deed", sorted(NEEDS))
def test_native_code_in_a_cell_is_denied(tried, deed):
    active, outcomes = tried
    if not NEEDS[deed] & active:
        pytest.skip(f"none of {sorted(NEEDS[deed])} is active on this machine")
    assert outcomes[deed] != "done", f"{deed} worked inside a cell"


def test_every_deed_is_tried(tried):
    assert tried[1].keys() == NEEDS.keys()


def signed(value):
    return value - (1 << 32) if value >> 31 else value
