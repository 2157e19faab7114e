"""How long `ambient-vcp --help` takes, as a whole process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figure import Figure, percentile

RUNS = 15


def milliseconds(*command: str) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 0.5)


def run() -> list[Figure]:
    program = str(Path(sys.executable).parent / "ambient-vcp")
    return [
        Figure(
            figure="ambient-vcp --help, median",
            unit="ms",
            ours=milliseconds(program, "--help"),
            target=150,
            higher_is_better=False,
            peers={"python -c pass": milliseconds(sys.executable, "-c", "pass")},
        )
    ]
