"""How fast a cell starts: from the request to the guest's first instruction, and runs per second.

Warm: a spare cell waits, as in a node that is not saturated. Cold: no spare; the cell is forked,
shut in and given its engine while the request waits. The helper that forks cells runs in both; its
own start, once in the life of a node, is a figure of its own. Peer: a plain Python process that
imports ``wasmtime`` and runs the same module, without any isolation. Compilation is part of the
time, so it depends on the module: ``add`` is the smallest there is, ``hello`` has five functions.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.domain.execution.invocation import CellLimits, ScalarCall
from ambient_vcp.ports.sandbox import CellReport, GuestRun
from benchmarks.figure import Figure, percentile

HELLO = Path(__file__).resolve().parent.parent / "examples/hello/hello.wasm"
# (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
ADD = bytes.fromhex(
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)
RUNS = 100
COLD_RUNS = 50
PEER_RUNS = 10
AT_ONCE = 4
PAUSE_S = 0.1  # a spare is made and prepared in this time
PEER = """import sys, time, wasmtime
store = wasmtime.Store()
module = wasmtime.Module.from_file(store.engine, sys.argv[1])
ready = time.monotonic_ns()
exports = wasmtime.Instance(store, module, []).exports(store)
assert exports["add"](store, 2, 3) == 5
print(ready)"""


def request(folder: Path, module: Path, number: int = 0) -> GuestRun:
    return GuestRun(
        module_path=module,
        call=ScalarCall(name="add", args=("2", "3")),
        public_input_path=None,
        private_input_path=None,
        output_path=folder / f"out-{number}",
        limits=CellLimits(),
        random_seed=bytes(32),
    )


def started(report: CellReport) -> float:
    if not report.outcome.ok:
        raise RuntimeError(f"{report.outcome.reason}: {report.outcome.detail}")
    return report.start_ms


async def start_times(
    sandbox: WasmtimeSandbox, folder: Path, module: Path, runs: int
) -> list[float]:
    times = []
    for _ in range(runs):
        await asyncio.sleep(PAUSE_S)
        times.append(started(await sandbox.run(request(folder, module))))
    return times


async def runs_per_second(sandbox: WasmtimeSandbox, folder: Path, module: Path) -> float:
    async def some(number: int) -> None:
        for _ in range(RUNS // AT_ONCE):
            started(await sandbox.run(request(folder, module, number)))

    began = time.monotonic()
    await asyncio.gather(*(some(number) for number in range(AT_ONCE)))
    return RUNS / (time.monotonic() - began)


def peer_times(module: Path) -> tuple[list[float], float]:
    """Milliseconds from the start of each process to its guest's first instruction; runs/s."""
    times, began = [], time.monotonic()
    for _ in range(PEER_RUNS):
        start_ns = time.monotonic_ns()
        done = subprocess.run(
            [sys.executable, "-c", PEER, str(module)], check=True, capture_output=True, text=True
        )
        times.append((int(done.stdout) - start_ns) / 1e6)
    return times, PEER_RUNS / (time.monotonic() - began)


async def measure(folder: Path) -> list[Figure]:
    add = folder / "add.wasm"
    add.write_bytes(ADD)
    peer, peer_rate = await asyncio.to_thread(peer_times, add)
    began = time.monotonic()
    cold_sandbox = await WasmtimeSandbox.start(spares=0)
    helper_ms = (time.monotonic() - began) * 1000
    try:
        cold = await start_times(cold_sandbox, folder, add, COLD_RUNS)
    finally:
        await cold_sandbox.close()
    warm_sandbox = await WasmtimeSandbox.start()
    try:
        warm = await start_times(warm_sandbox, folder, add, RUNS)
        hello = await start_times(warm_sandbox, folder, HELLO, RUNS)
        rate = await runs_per_second(warm_sandbox, folder, add)
    finally:
        await warm_sandbox.close()
    process: dict[str, float | None] = {"wasmtime in a fresh process": percentile(peer, 0.5)}
    return [
        milliseconds("Cell start to first instruction, cold, add", cold, 30, process),
        milliseconds("Cell start to first instruction, warm, add", warm, 3, process),
        milliseconds("Cell start to first instruction, warm, hello", hello, 3, {}),
        milliseconds("Start of the helper that forks cells", [helper_ms], None, {}),
        Figure(
            figure=f"Tiny runs, {AT_ONCE} at once",
            unit="runs/s",
            ours=rate,
            target=None,
            higher_is_better=True,
            peers={"wasmtime in fresh processes, one at a time": peer_rate},
        ),
    ]


def milliseconds(
    figure: str, times: list[float], target: float | None, peers: dict[str, float | None]
) -> Figure:
    return Figure(
        figure=figure,
        unit="ms, median",
        ours=percentile(times, 0.5),
        target=target,
        higher_is_better=False,
        peers=peers,
        note=f"best {min(times):.1f}, p99 {percentile(times, 0.99):.1f}, n {len(times)}",
    )


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))
