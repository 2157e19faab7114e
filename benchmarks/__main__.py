"""Run benchmarks: ``python -m benchmarks [--name NAME] [--json FILE]``.

Each module of this folder that has a ``run()`` is a benchmark; it returns figures. A figure that
could not be measured says why. Timings depend on the machine: compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import traceback
from pathlib import Path

from benchmarks.figure import Figure

NAMES = (
    "placement",
    "cell",
    "wasm_native",
    "submit",
    "work",
    "latency",
    "heartbeats",
    "command_line",
    "idle",
)


def measure(name: str) -> list[Figure]:
    try:
        figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run()
    except Exception as error:  # noqa: BLE001 - one broken benchmark must not hide the others
        traceback.print_exc()
        return [
            Figure(
                figure=name,
                unit="",
                ours=None,
                target=None,
                higher_is_better=True,
                note=f"could not be measured: {type(error).__name__}: {error}",
            )
        ]
    return figures


def show(figures: list[Figure]) -> None:
    def number(value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

    print(f"{'figure':<58} {'ours':>10} {'target':>10} {'met':>4} {'ratio':>7}  unit, peers, note")
    for item in figures:
        peers = ", ".join(f"{name} {number(value)}" for name, value in item.peers.items())
        met = {True: "yes", False: "NO", None: "-"}[item.met]
        extra = "; ".join(part for part in (item.unit, peers, item.note) if part)
        print(
            f"{item.figure:<58} {number(item.ours):>10} {number(item.target):>10} {met:>4} "
            f"{number(item.ratio):>7}  {extra}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", choices=NAMES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    print(f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}", file=sys.stderr)
    figures: list[Figure] = []
    for name in [args.name] if args.name else NAMES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += measure(name)
    show(figures)
    if args.json:
        args.json.write_text(
            json.dumps([item.as_dict() for item in figures], indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
