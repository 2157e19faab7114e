"""WebAssembly in the cell, with fuel, deadline and canonical NaN, against `gcc -O2`: five kernels.

The same C source runs in both; the checksums must be equal. Both sides count processor time, which
other work on the machine disturbs less than the clock. The guest's is that of its whole process
less that of a run of size 0: start and compilation are left out, as they are for gcc.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.domain.execution.invocation import CellLimits, ScalarCall
from ambient_vcp.domain.execution.scalars import decode_scalars, text_of
from ambient_vcp.ports.sandbox import GuestRun
from benchmarks.figure import Figure

HERE = Path(__file__).resolve().parent / "kernels"
ROUNDS = 7
# name, size, target ratio: integer kernels first, then floating point.
KERNELS = (
    ("sha256", 600_000, 1.2),
    ("collatz", 1_500_000, 1.2),
    ("sieve", 40, 1.2),
    ("matmul", 24, 2.0),
    ("heat", 300_000, 2.0),
)


def native_run(binary: Path, name: str, size: int) -> tuple[int, float]:
    """Checksum and seconds of processor time."""
    done = subprocess.run(
        [str(binary), name, str(size)], check=True, capture_output=True, text=True
    )
    text, seconds = done.stdout.split()
    return int(text), float(seconds)


async def guest_run(
    sandbox: WasmtimeSandbox, output: Path, name: str, size: int
) -> tuple[int, float]:
    """Checksum and seconds of processor time of the whole cell."""
    report = await sandbox.run(
        GuestRun(
            module_path=HERE / "kernels.wasm",
            call=ScalarCall(name=name, args=(str(size),)),
            public_input_path=None,
            private_input_path=None,
            output_path=output,
            limits=CellLimits(fuel_max=1_000_000_000_000, wall_ms_max=120_000),
            random_seed=bytes(32),
        )
    )
    if not report.outcome.ok:
        raise RuntimeError(f"{name}: {report.outcome.reason} {report.outcome.detail}")
    result = await asyncio.to_thread(output.read_bytes)
    return int(text_of(decode_scalars(result)[0])), report.cpu_ms / 1000


async def compare(
    sandbox: WasmtimeSandbox, folder: Path, name: str, size: int
) -> tuple[float, float]:
    """Best guest and best native seconds, taken in turns so that a slow moment meets both."""
    guest, native, empty = [], [], []
    for _ in range(ROUNDS):
        expected, seconds = await asyncio.to_thread(native_run, folder / "native", name, size)
        native.append(seconds)
        got, seconds = await guest_run(sandbox, folder / "out", name, size)
        guest.append(seconds)
        empty.append((await guest_run(sandbox, folder / "out", name, 0))[1])
        if got != expected:
            raise RuntimeError(f"{name}: the guest computed {got}, gcc {expected}")
    return min(guest) - min(empty), min(native)


async def measure(folder: Path) -> list[Figure]:
    sandbox = await WasmtimeSandbox.start()
    figures = []
    try:
        for name, size, target in KERNELS:
            guest, native = await compare(sandbox, folder, name, size)
            figures.append(
                Figure(
                    figure=f"WASM against gcc -O2: {name}",
                    unit="times native",
                    ours=guest / native,
                    target=target,
                    higher_is_better=False,
                    note=f"guest {guest:.3f} s, gcc -O2 {native:.3f} s",
                )
            )
    finally:
        await sandbox.close()
    return figures


def run() -> list[Figure]:
    if shutil.which("gcc") is None:
        raise RuntimeError("gcc is needed: apt-get install gcc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["gcc", "-O2", "-o", str(folder / "native"), str(HERE / "native.c")]
        subprocess.run(command, check=True)
        return asyncio.run(measure(folder))
