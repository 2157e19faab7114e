"""WebAssembly in the cell, with fuel, deadline and canonical NaN, against `gcc -O2`: five kernels.

The same C source runs in both; the checksums must be equal. Compile time is left out on both sides.
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
ROUNDS = 3
# name, size, target ratio: integer kernels first, then floating point.
KERNELS = (
    ("sha256", 600_000, 1.2),
    ("collatz", 1_500_000, 1.2),
    ("sieve", 40, 1.2),
    ("matmul", 24, 2.0),
    ("heat", 300_000, 2.0),
)


def native_seconds(binary: Path, name: str, size: int) -> tuple[int, float]:
    best, checksum = float("inf"), 0
    for _ in range(ROUNDS):
        done = subprocess.run(
            [str(binary), name, str(size)], check=True, capture_output=True, text=True
        )
        text, seconds = done.stdout.split()
        checksum, best = int(text), min(best, float(seconds))
    return checksum, best


async def guest_seconds(
    sandbox: WasmtimeSandbox, output: Path, name: str, size: int
) -> tuple[int, float]:
    best, checksum = float("inf"), 0
    for _ in range(ROUNDS):
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
        checksum = int(text_of(decode_scalars(result)[0]))
        best = min(best, report.run_ms / 1000)
    return checksum, best


async def measure(folder: Path, binary: Path) -> list[Figure]:
    sandbox = await WasmtimeSandbox.start()
    figures = []
    try:
        for name, size, target in KERNELS:
            expected, native = native_seconds(binary, name, size)
            got, guest = await guest_seconds(sandbox, folder / "out", name, size)
            if got != expected:
                raise RuntimeError(f"{name}: the guest computed {got}, gcc {expected}")
            figures.append(
                Figure(
                    figure=f"WASM against gcc -O2: {name}",
                    unit="times native",
                    ours=guest / native,
                    target=target,
                    higher_is_better=False,
                    peers={"gcc -O2 (s)": native},
                    note=f"guest {guest:.3f} s",
                )
            )
    finally:
        await sandbox.close()
    return figures


def run() -> list[Figure]:
    if shutil.which("gcc") is None:
        raise RuntimeError("gcc is needed: apt-get install gcc")
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "native"
        subprocess.run(["gcc", "-O2", "-o", str(binary), str(HERE / "native.c")], check=True)
        return asyncio.run(measure(Path(folder), binary))
