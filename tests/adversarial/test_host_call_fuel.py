"""Loops over host functions end with their fuel, everywhere at the same point."""

import os
import random

import pytest
import wasmtime

from ambient_vcp.adapters.wasmtime.execution.engine import build_engine, new_store
from ambient_vcp.adapters.wasmtime.execution.fuel_meter import (
    CALL_FUEL,
    ITEM_FUEL,
    RANDOM_BYTE_FUEL,
)
from ambient_vcp.adapters.wasmtime.execution.memory import GuestMemory
from ambient_vcp.adapters.wasmtime.modules.data_segments import detach
from ambient_vcp.adapters.wasmtime.modules.imports import VCP_IMPORTS, WASI_IMPORTS
from ambient_vcp.adapters.wasmtime.modules.module_checks import inspect_module
from ambient_vcp.adapters.wasmtime.modules.module_reader import ModuleRefusedError
from ambient_vcp.domain.execution.outcome import Reason
from support.cells import Cells

WASI = "wasi_snapshot_preview1"
IOVEC_AT, BUFFER_AT, BUFFER_BYTES = 1024, 65536, 4096
ARGUMENTS = {
    "fd_read": (0, IOVEC_AT, 1, 8),
    "fd_pread": (0, IOVEC_AT, 1, 0, 8),
    "fd_write": (2, IOVEC_AT, 1, 8),
    "poll_oneoff": (2048, 4096, 1, 8),
    "random_get": (BUFFER_AT, 256),
    "input_read": (0, BUFFER_AT, 0, 4096),
}
CALLABLE = [(WASI, name) for name in sorted(set(WASI_IMPORTS) - {"proc_exit"})]
CALLABLE += [("vcp", name) for name in VCP_IMPORTS]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    with Cells(tmp_path_factory.mktemp("fuel")) as made:
        yield made


def repeating(module, name, times):
    """Calls the function ``times`` times; for ever where it is None."""
    signature = (VCP_IMPORTS if module == "vcp" else WASI_IMPORTS)[name]
    given = ARGUMENTS.get(name, (0,) * len(signature.params))
    values = " ".join(
        f"({kind}.const {value})" for kind, value in zip(signature.params, given, strict=True)
    )
    result = f"(result {signature.results[0]})" if signature.results else ""
    call = f"(drop (call $f {values}))" if result else f"(call $f {values})"
    again = "(br 0)"
    if times is not None:
        count = "(local.tee $i (i32.add (local.get $i) (i32.const 1)))"
        again = f"(br_if 0 (i32.lt_u {count} (i32.const {times})))"
    return f"""(module
      (import "{module}" "{name}" (func $f (param {" ".join(signature.params)}) {result}))
      (memory (export "memory") 2)
      (func (export "{"run" if module == "vcp" else "_start"}") (local $i i32)
        (i32.store (i32.const {IOVEC_AT}) (i32.const {BUFFER_AT}))
        (i32.store (i32.const {IOVEC_AT + 4}) (i32.const {BUFFER_BYTES}))
        (loop {call} {again})))"""


def run(cells, module, name, times, **limits):
    public = bytes(100_000)
    guest = repeating(module, name, times)
    if module == "vcp":
        return cells.bytes(guest, public, **limits)
    return cells.wasi(guest, public=public, **limits)


@pytest.mark.parametrize(("module", "name"), CALLABLE)
def test_a_loop_over_a_host_function_ends_with_its_fuel(cells, module, name):
    outcomes = {run(cells, module, name, None, fuel_max=10**7).outcome for _ in range(3)}
    assert [outcome.reason for outcome in outcomes] == [Reason.FUEL_EXHAUSTED]
    outcome = outcomes.pop()
    assert outcome.fuel_used == 10**7
    assert outcome.output_size_bytes == 0


@pytest.mark.parametrize(("module", "name"), CALLABLE)
def test_each_call_costs_the_same_fuel_each_time(cells, module, name):
    limits = {"fuel_max": 10**9}
    used = [run(cells, module, name, n, **limits).outcome.fuel_used for n in (1, 2, 3, 1)]
    assert used[3] == used[0]
    assert used[2] - used[1] == used[1] - used[0] or name == "fd_read"  # its input comes to an end
    assert used[1] - used[0] >= CALL_FUEL


def test_bytes_and_items_are_charged(cells):
    def price(module, name):
        once, twice = (run(cells, module, name, n).outcome.fuel_used for n in (1, 2))
        return twice - once

    assert price("vcp", "input_read") - price("vcp", "input_len") == pytest.approx(4096, abs=9)
    random_price = price(WASI, "random_get") - price(WASI, "sched_yield")
    assert random_price == pytest.approx(256 * RANDOM_BYTE_FUEL, abs=9)
    write_price = price(WASI, "fd_write") - price(WASI, "sched_yield")
    assert write_price == pytest.approx(ITEM_FUEL + BUFFER_BYTES, abs=9)


def test_what_cannot_be_paid_for_is_not_done(cells):
    guest = """(module (import "vcp" "output_write" (func $write (param i32 i32))) (memory 16)
      (func (export "run") (call $write (i32.const 0) (i32.const 1000000))))"""
    enough = cells.bytes(guest).outcome.fuel_used
    assert cells.bytes(guest, fuel_max=enough).outcome.output_size_bytes == 1_000_000
    short = cells.bytes(guest, fuel_max=enough - 1)
    assert short.reason is Reason.FUEL_EXHAUSTED
    assert short.outcome.fuel_used == enough - 1
    assert short.output == b""


@pytest.mark.parametrize("pages", [0, 65536, 3])
def test_a_loop_over_memory_grow_ends_with_its_fuel(cells, pages):
    guest = f"""(module (memory 1 2) (func (export "run")
      (loop (drop (memory.grow (i32.const {pages}))) (br 0))))"""
    outcomes = {cells.bytes(guest, fuel_max=10**8).outcome for _ in range(3)}
    assert [(o.reason, o.fuel_used) for o in outcomes] == [(Reason.FUEL_EXHAUSTED, 10**8)]


def test_memory_that_was_asked_for_is_charged_at_the_end(cells):
    guest = """(module (memory 1) (func (export "f") (param i32)
      (loop (drop (memory.grow (i32.const 0)))
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
    one, two = (cells.scalar(guest, "f", n).outcome.fuel_used for n in ("1", "2"))
    assert two - one > 1000
    assert cells.scalar(guest, "f", "2", fuel_max=two).outcome.fuel_used == two
    assert cells.scalar(guest, "f", "2", fuel_max=two - 1).reason is Reason.FUEL_EXHAUSTED


def test_a_deadline_ends_a_guest_inside_a_host_function_and_inside_the_compiler(cells):
    ran = run(cells, WASI, "sched_yield", None, fuel_max=1 << 60, wall_ms_max=300)
    assert ran.reason is Reason.WALL_CLOCK_EXCEEDED
    assert ran.report.wall_ms < 1200
    flat = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 7)) (i32.const 3)))" * 200_000
    slow = f'(module (func (export "f") (result i32) (local i32) {flat} local.get 0))'
    ran = cells.scalar(slow, "f", wall_ms_max=100)
    assert ran.reason is Reason.WALL_CLOCK_EXCEEDED
    assert ran.report.wall_ms < 1200


# Data segments, which the cell places itself.


def test_a_hundred_thousand_data_segments_cost_little(cells):
    text = "".join(f'(data (i32.const {i * 8}) "{i % 10}")' for i in range(100_000))
    last = "(i32.load8_u (i32.const 799992))"
    guest = f'(module (memory 13) {text} (func (export "f") (result i32) {last}))'
    ran = cells.scalar(guest, "f")
    assert ran.values == [ord("9")]
    assert ran.report.cpu_ms < 10_000


def segments(rng, count):
    """Random segments in text: constant and computed places, some outside of the one page."""
    for _ in range(count):
        size = rng.choice([0, 1, 3, 50])
        data = "".join(f"\\{rng.randrange(256):02x}" for _ in range(size))
        place = rng.choice([0, 5, 60, 65_535 - size, rng.randrange(65_536 - 50)])
        if rng.random() < 0.01:
            place = rng.choice([65_536, 65_530, 0xFFFFFFFF])
        at = f"(i32.const {place})"
        if rng.random() < 0.1:
            at = f"(i32.add {at} (i32.const 3))"
        yield f'(data "{data}")' if rng.random() < 0.1 else f'(data {at} "{data}")'


def memory_after(module, image, memory):
    engine = build_engine(memory, 512 * 1024)
    memory.image = image
    store = new_store(engine, 10**9)
    try:
        instance = wasmtime.Instance(store, wasmtime.Module(engine, module), [])
    except wasmtime.Trap as trap:
        return trap.trap_code
    made = instance.exports(store)["m"]
    return bytes(made.read(store, 0, 65_536))


def test_memory_is_the_same_whether_the_engine_or_the_cell_places_the_segments():
    seed = int(os.environ.get("HOSTILE_SEED", "20240817"))
    print("seed", seed)
    rng = random.Random(seed)
    trapped = 0
    for _ in range(60):
        text = "".join(segments(rng, rng.randrange(1, 40)))
        text = f'(module (memory (export "m") 1) {text})'
        module = bytes(wasmtime.wat2wasm(text))
        less, image = detach(module, inspect_module(module).memory_min_bytes)
        whole = memory_after(module, [], GuestMemory(limit_bytes=1 << 20))
        assert memory_after(less, image, GuestMemory(limit_bytes=1 << 20)) == whole
        trapped += not isinstance(whole, bytes)
    assert 0 < trapped < 60


def test_a_placed_segment_is_empty_for_memory_init(cells):
    guest = """(module (memory 1) (data $d (i32.const 0) "abc") (data $p "xyz")
      (func (export "active") (param i32)
        (memory.init $d (i32.const 9) (i32.const 0) (local.get 0)) (data.drop $d))
      (func (export "passive") (result i32)
        (memory.init $p (i32.const 0) (i32.const 2) (i32.const 1)) (i32.load8_u (i32.const 0))))"""
    assert cells.scalar(guest, "active", "0").outcome.ok
    assert cells.scalar(guest, "active", "1").outcome.trap == "memory_out_of_bounds"
    assert cells.scalar(guest, "passive").values == [ord("z")]


def test_bad_data_segments_are_refused(cells):
    head = b"\0asm\1\0\0\0\5\3\1\0\1"
    for section in (
        b"\x0b\x02\x01\x05",  # an unknown kind
        b"\x0b\x06\x01\x02\x01\x41\0\x0b",  # another memory
        b"\x0b\x05\x01\x00\x10\x0b\0",  # a call as its place
        b"\x0b\x07\x01\x00\x41\0\x0b\0\0",  # a byte too many
        b"\x0b\x06\x01\x00\x41\0\x0b\x09",  # longer than the module
        b"\x0b\x0a\x01\x00\x41\xff\xff\xff\xff\x3f\x0b\0",  # a place of more than 32 bits
    ):
        with pytest.raises(ModuleRefusedError):
            detach(head + section, 65_536)
        assert cells.scalar(head + section, "f").reason in (
            Reason.MODULE_INVALID,
            Reason.MISSING_EXPORT,
        )
