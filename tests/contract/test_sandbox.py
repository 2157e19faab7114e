"""What ports.sandbox.Sandbox promises, held against the real adapter and real processes."""

import asyncio
import hashlib
import os
import signal
import struct
import subprocess
import sys
import time

import psutil
import pytest
import wasmtime

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import BytesCall, ScalarCall
from ambient_vcp.domain.execution.outcome import Reason
from support.cells import Cells, descendants, open_descriptors

ARITHMETIC = """(module
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "add64") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add)
  (func (export "div") (param f64 f64) (result f64) local.get 0 local.get 1 f64.div)
  (func (export "third") (param f32) (result f32) local.get 0 f32.const 3 f32.div)
  (func (export "swap") (param i32 i64) (result i64 i32) local.get 1 local.get 0)
  (func (export "nothing"))
  (func (export "vector") (param v128) (result v128) local.get 0)
  (func (export "trap") unreachable)
  (func (export "spin") (loop (br 0)))
  (func $deep (export "deep") (param i32) (result i32)
    (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1))))))"""

# Copies the public input, then the private one, to the output through one page of memory.
COPY = """(module
  (import "vcp" "input_len" (func $len (param i32) (result i32)))
  (import "vcp" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "vcp" "output_write" (func $write (param i32 i32)))
  (memory 1)
  (func $copy (param $kind i32) (local $at i32) (local $got i32)
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $at) (call $len (local.get $kind))))
      (local.set $got
        (call $read (local.get $kind) (i32.const 0) (local.get $at) (i32.const 65536)))
      (call $write (i32.const 0) (local.get $got))
      (local.set $at (i32.add (local.get $at) (local.get $got)))
      (br $more))))
  (func (export "run") (call $copy (i32.const 0)) (call $copy (i32.const 1))))"""

# Sums all bytes of the public input, one MiB at a time, and writes the 8-byte sum.
SUM = """(module
  (import "vcp" "input_len" (func $len (param i32) (result i32)))
  (import "vcp" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "vcp" "output_write" (func $write (param i32 i32)))
  (memory 33)
  (func (export "run") (local $at i32) (local $got i32)
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $at) (call $len (i32.const 0))))
      (local.set $got
        (call $read (i32.const 0) (i32.const 65536) (local.get $at) (i32.const 1048576)))
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0))
        (i64.load8_u (i32.add (local.get $got) (i32.const 65535)))))
      (local.set $at (i32.add (local.get $at) (local.get $got)))
      (br $more)))
    (call $write (i32.const 0) (i32.const 8))))"""

WASI = '(import "wasi_snapshot_preview1" '
# Echoes arguments (as the raw buffer), then standard input, to standard output.
ECHO = f"""(module
  {WASI} "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  {WASI} "args_get" (func $args (param i32 i32) (result i32)))
  {WASI} "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $out (param $size i32)
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (local.get $size))
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  (func (export "_start") (local $got i32)
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 32) (i32.const 1024)))
    (call $out (i32.load (i32.const 20)))
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 4096))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (local.set $got (i32.load (i32.const 8)))
      (if (local.get $got) (then (call $out (local.get $got)) (br $more))))))"""

# Writes realtime and monotonic clock (twice), then 16 random bytes.
CLOCKS = f"""(module
  {WASI} "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  {WASI} "random_get" (func $random (param i32 i32) (result i32)))
  {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 72)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 80)))
    (drop (call $random (i32.const 88) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 40))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def exits_with(status):
    return f"""(module {WASI} "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {status}))))"""


def writes(descriptor, size, times):
    return f"""(module {WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 2) (func (export "_start") (local $i i32)
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const {size}))
      (loop $again
        (drop (call $write (i32.const {descriptor}) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.const {times}))))))"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    with Cells(tmp_path_factory.mktemp("cells")) as made:
        yield made


# The three interfaces.


def test_a_scalar_call_returns_typed_values(cells):
    ran = cells.scalar(ARITHMETIC, "add", "2", "3")
    assert ran.output == b'{"values":[{"type":"i32","value":"5"}]}'
    assert ran.outcome.output_digest == hashlib.sha256(ran.output).hexdigest()
    assert ran.outcome.output_size_bytes == len(ran.output)
    assert cells.scalar(ARITHMETIC, "add", "-1", "0x7fffffff").values == [0x7FFFFFFE]
    assert cells.scalar(ARITHMETIC, "add64", "9223372036854775807", "1").values == [-(2**63)]
    assert cells.scalar(ARITHMETIC, "swap", "7", "-8").values == [-8, 7]
    assert cells.scalar(ARITHMETIC, "nothing").output == b'{"values":[]}'


def test_floats_carry_their_bits_and_nan_is_canonical(cells):
    ran = cells.scalar(ARITHMETIC, "third", "1")
    assert ran.output == (b'{"values":[{"bits":"0x3eaaaaab","type":"f32","value":"0.33333334"}]}')
    nan = b'{"values":[{"bits":"0x7ff8000000000000","type":"f64","value":"nan"}]}'
    assert cells.scalar(ARITHMETIC, "div", "0", "0").output == nan
    assert cells.scalar(ARITHMETIC, "div", "-0", "nan").output == nan


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("add", ("1",), "takes 2 arguments"),
        ("add", ("1", "2", "3"), "takes 2 arguments"),
        ("add", ("1", "4294967296"), "32 bits"),
        ("add", ("1", "two"), "args[1]"),
        ("add", ("1", "1.5"), "integer"),
        ("add", ("", "1"), "args[0]"),
        ("div", ("1", "1e"), "args[1]"),
        ("div", ("1", "0x1ffffffffffffffff"), "64 bits"),
        ("vector", ("1",), "only numbers"),
    ],
)
def test_a_wrong_argument_is_named(cells, name, args, said):
    ran = cells.scalar(ARITHMETIC, name, *args)
    assert ran.reason is Reason.BAD_ARGUMENTS
    assert said in ran.outcome.detail


def test_a_missing_export_lists_what_there_is(cells):
    ran = cells.scalar(ARITHMETIC, "subtract")
    assert ran.reason is Reason.MISSING_EXPORT
    assert "add" in ran.outcome.detail
    assert cells.bytes(ARITHMETIC).reason is Reason.MISSING_EXPORT
    assert cells.wasi(ARITHMETIC).reason is Reason.MISSING_EXPORT


def test_a_bytes_guest_reads_both_inputs_and_writes_its_output(cells):
    public, private = os.urandom(200_000), b"secret"
    ran = cells.bytes(COPY, public, private=private)
    assert ran.outcome.ok
    assert ran.output == public + private
    assert ran.outcome.output_digest == hashlib.sha256(public + private).hexdigest()
    assert cells.bytes(COPY).output == b""
    assert cells.bytes(COPY, b"").output == b""


def test_an_input_of_one_gibibyte_costs_no_memory(cells, tmp_path):
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        for block in range(1024):
            file.seek((block << 20) + (1 << 20) - 1)
            file.write(b"\1")
    ran = cells.bytes(SUM, path, memory_bytes_max=4 << 20)
    assert ran.outcome.ok, ran.outcome
    assert struct.unpack("<q", ran.output) == (1024,)
    assert ran.outcome.memory_peak_bytes == 33 * 65536


def test_a_wasi_command_gets_arguments_and_standard_input(cells):
    text = os.urandom(10_000)
    ran = cells.wasi(ECHO, "one", "two words", public=text)
    assert ran.outcome.ok, ran.outcome
    assert ran.output == b"guest.wasm\0one\0two words\0" + text


def test_wasi_time_and_chance_follow_from_the_task_alone(cells):
    first = cells.wasi(CLOCKS, clock_start_ms=1_700_000_000_000)
    again = cells.wasi(CLOCKS, clock_start_ms=1_700_000_000_000)
    assert first.outcome == again.outcome
    real, early, late = struct.unpack("<QQQ", first.output[:24])
    assert real == 1_700_000_000_000 * 1_000_000
    assert late > early
    assert any(first.output[24:])


def test_the_log_is_kept_and_cut(cells):
    ran = cells.wasi(writes(2, 100, 3), log_bytes_max=250)
    assert ran.outcome.ok
    assert len(ran.report.log) == 250
    assert ran.output == b""


def test_exit_status_zero_is_success_and_another_is_a_reason(cells):
    assert cells.wasi(exits_with(0)).outcome.ok
    ran = cells.wasi(exits_with(3))
    assert (ran.reason, ran.outcome.trap) == (Reason.EXIT_CODE, "3")
    assert cells.wasi(exits_with(-1)).outcome.trap == "4294967295"


# Every limit has its own reason.


def test_each_limit_stops_with_its_own_reason(cells):
    grow = '(module (memory 1) (func (export "f") (drop (memory.grow (i32.const 100)))))'
    cases = [
        (cells.scalar(ARITHMETIC, "spin", fuel_max=10**6), Reason.FUEL_EXHAUSTED),
        (
            cells.scalar(ARITHMETIC, "spin", fuel_max=10**15, wall_ms_max=200),
            Reason.WALL_CLOCK_EXCEEDED,
        ),
        (cells.scalar(ARITHMETIC, "deep", "0"), Reason.STACK_EXHAUSTED),
        (cells.scalar(grow, "f", memory_bytes_max=50 * 65536), Reason.MEMORY_EXCEEDED),
        (cells.wasi(writes(1, 100, 100), output_bytes_max=5000), Reason.OUTPUT_TOO_LARGE),
        (cells.scalar(ARITHMETIC, "add", "1", "2", output_bytes_max=5), Reason.OUTPUT_TOO_LARGE),
        (cells.scalar(ARITHMETIC, "trap"), Reason.TRAP),
        (cells.scalar(b"\0asm", "f"), Reason.MODULE_INVALID),
        (cells.scalar(b"", "f"), Reason.MODULE_INVALID),
        (cells.scalar(bytes(10 * 1024 * 1024 + 1), "f"), Reason.MODULE_TOO_LARGE),
    ]
    assert [ran.reason for ran, _ in cases] == [reason for _, reason in cases]
    empty = hashlib.sha256(b"").hexdigest()
    for ran, _ in cases:
        assert ran.outcome.output_digest == empty
        assert ran.outcome.output_size_bytes == 0
        assert ran.output == b""


def test_fuel_is_exact_on_success_and_the_whole_budget_otherwise(cells):
    used = cells.scalar(ARITHMETIC, "add", "1", "2").outcome.fuel_used
    assert 0 < used < 100
    assert cells.scalar(ARITHMETIC, "add", "1", "2", fuel_max=used).outcome.fuel_used == used
    short = cells.scalar(ARITHMETIC, "add", "1", "2", fuel_max=used - 1).outcome
    assert (short.reason, short.fuel_used) == (Reason.FUEL_EXHAUSTED, used - 1)
    assert cells.scalar(ARITHMETIC, "trap", fuel_max=77).outcome.fuel_used == 77


def test_a_module_of_exactly_ten_megabytes_runs(cells):

    module = bytes(wasmtime.wat2wasm(ARITHMETIC))
    size = 10 * 1024 * 1024 - len(module) - 6
    leb = bytes([(size & 0x7F) | 0x80, (size >> 7 & 0x7F) | 0x80, (size >> 14 & 0x7F) | 0x80])
    leb += bytes([(size >> 21 & 0x7F) | 0x80, size >> 28])
    padding = b"\0" + leb + b"\1p" + bytes(size - 2)
    assert len(module + padding) == 10 * 1024 * 1024
    assert cells.scalar(module + padding, "add", "2", "3").values == [5]


def test_limits_out_of_range_are_the_callers_mistake(cells):
    for limits in ({"fuel_max": 0}, {"stack_bytes_max": 1 << 30}, {"wall_ms_max": 0}):
        with pytest.raises(InvalidInputError):
            cells.scalar(ARITHMETIC, "add", "1", "2", **limits)


def test_a_missing_input_file_is_the_nodes_trouble(cells, tmp_path):
    ran = cells.bytes(COPY, tmp_path / "absent")
    assert ran.reason is Reason.INPUT_UNAVAILABLE
    assert "absent" in ran.outcome.detail
    assert cells.bytes(tmp_path / "no-module").reason is Reason.INPUT_UNAVAILABLE


# The same everywhere, always.


@pytest.mark.parametrize(
    ("how", "module", "args"),
    [
        ("scalar", ARITHMETIC, ("div", "1", "3")),
        ("scalar", ARITHMETIC, ("deep", "0")),
        ("bytes", COPY, (b"some input",)),
        ("wasi", CLOCKS, ()),
        ("wasi", writes(1, 1000, 50), ()),
    ],
)
def test_twenty_runs_have_one_outcome(cells, how, module, args):
    outcomes = {getattr(cells, how)(module, *args).outcome for _ in range(20)}
    assert len(outcomes) == 1


# Processes come and go without a trace.


def test_runs_at_the_same_time_do_not_disturb_each_other(cells):
    async def together():
        requests = [
            cells.request(ARITHMETIC, ScalarCall(name="add", args=(str(i), "1"))) for i in range(12)
        ]
        reports = await asyncio.gather(*(cells.sandbox.run(request) for request in requests))
        return requests, reports

    requests, reports = cells.runner.run(together())
    assert all(report.outcome.ok for report in reports)
    for index, request in enumerate(requests):
        assert f'"{index + 1}"' in request.output_path.read_text()


def test_a_hundred_runs_leave_no_descriptor_and_no_process(cells):
    cells.scalar(ARITHMETIC, "add", "1", "2")
    settle(cells)
    files, processes = open_descriptors(), len(descendants())
    for _ in range(100):
        assert cells.scalar(ARITHMETIC, "add", "1", "2").outcome.ok
    settle(cells)
    assert open_descriptors() == files
    assert len(descendants()) == processes


def test_cancelling_kills_the_cell_at_once(cells):
    settle(cells)
    before = descendants()

    async def cancelled():
        request = cells.request(ARITHMETIC, ScalarCall(name="spin"), fuel_max=10**15)
        run = asyncio.create_task(cells.sandbox.run(request))
        await asyncio.sleep(0.1)
        earlier = {child: cpu_seconds(child) for child in before}
        await asyncio.sleep(0.4)
        used = {child for child in before if cpu_seconds(child) - earlier[child] > 0.05}
        run.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await run
        return used, time.monotonic() - started

    used, seconds = cells.runner.run(cancelled())
    assert len(used) == 1
    assert seconds < 0.5
    assert not used & descendants()


def test_a_dead_helper_fails_its_runs_and_is_replaced(tmp_path):
    with Cells(tmp_path) as own:

        async def orphaned():
            request = own.request(ARITHMETIC, ScalarCall(name="spin"), fuel_max=10**15)
            run = asyncio.create_task(own.sandbox.run(request))
            await asyncio.sleep(0.3)
            helper = psutil.Process(own.sandbox._zygote._process.pid)
            family = {helper.pid} | {child.pid for child in helper.children(recursive=True)}
            os.kill(helper.pid, signal.SIGKILL)
            return family, (await run).outcome

        family, outcome = own.runner.run(orphaned())
        assert outcome.reason in (Reason.NODE_ERROR, Reason.CELL_CRASHED)
        assert own.scalar(ARITHMETIC, "add", "2", "3").values == [5]
        deadline = time.monotonic() + 5
        while family & descendants() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not family & descendants()


def test_the_cells_die_with_the_agent():
    program = """
import asyncio, pathlib, sys, tempfile, psutil, os
from support.cells import Cells
cells = Cells(pathlib.Path(tempfile.mkdtemp()))
cells.scalar('(module (func (export "f")))', "f")
print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), 9)
"""
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, env=env, timeout=60
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) >= 2, done.stderr
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []


def test_the_agent_never_loads_the_engine():
    program = "import sys, ambient_vcp.adapters.wasmtime.sandbox; print('wasmtime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"False"


def test_every_layer_is_reported_once_and_with_words(cells):
    report = cells.sandbox.isolation
    assert not report.active.keys() & report.inactive.keys()
    named = report.active | report.inactive
    for layer in ("process", "rlimits", "no_new_privs", "seccomp", "landlock", "uid_drop"):
        assert named[layer]
    assert cells.sandbox.engine.startswith("wasmtime ")
    assert cells.sandbox.exec_class.startswith(cells.sandbox.engine.replace(" ", "-"))


def test_a_run_after_close_is_refused_cleanly(tmp_path):
    with Cells(tmp_path) as own:
        own.runner.run(own.sandbox.close())
        own.runner.run(own.sandbox.close())
        ran = own.run(ARITHMETIC, BytesCall())
        assert ran.reason is Reason.NODE_ERROR


def settle(cells):
    """Wait until the spares are back: the number of processes is steady then."""

    async def wait():
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 0.3:
            await asyncio.sleep(0.02)
            count = len(descendants())
            if count != last:
                last, since = count, time.monotonic()

    cells.runner.run(wait())


def cpu_seconds(pid):
    try:
        return sum(psutil.Process(pid).cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


def alive(pid):

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
