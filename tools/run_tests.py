"""Run what CI runs, step by step, and say how long each step took.

``--only check,unit`` picks steps; ``AMBIENT_VCP_*`` knobs named in CONTRIBUTING.md lengthen tests.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS: tuple[tuple[str, ...], ...] = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("mypy",),
    ("lint-imports", "--no-logo", "--no-cache"),
    ("python", "tools/tidy.py"),
    ("python", "tools/code_map.py", "--check"),
    ("python", "tools/protocol_pages.py", "--check"),
    ("python", "tools/program_pages.py", "--check"),
    ("python", "tools/cli_reference.py", "--check"),
)

PYTEST = ("python", "-m", "pytest", "-q", "--no-header")
STEPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "check": CHECKS,
    "unit": ((*PYTEST, "-n", "2", "tests/unit"),),
    "contract": ((*PYTEST, "-n", "2", "--dist", "loadfile", "tests/contract"),),
    "simulation": ((*PYTEST, "-n", "2", "tests/simulation"),),
    "adversarial": ((*PYTEST, "-n", "2", "tests/adversarial"),),
    "integration": ((*PYTEST, "tests/integration"),),
    "e2e": ((*PYTEST, "tests/e2e"),),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(STEPS))
    wanted = parser.parse_args().only.split(",")
    unknown = set(wanted) - set(STEPS)
    if unknown:
        sys.exit(f"there is no step {', '.join(sorted(unknown))}; steps: {', '.join(STEPS)}")
    failed, times = [], []
    for step in (name for name in STEPS if name in wanted):
        began = time.monotonic()
        for command in STEPS[step]:
            print(f"== {step}: {' '.join(command)}", flush=True)
            done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False)
            if done.returncode != 0:
                failed.append(f"{step}: {' '.join(command)}")
        times.append(f"{step} {time.monotonic() - began:.0f} s")
    print("== times: " + ", ".join(times))
    for line in failed:
        print(f"FAILED {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
