"""Make the virtual environment: pinned and hashed dependencies, then this package itself.

Runs with any Python 3.11+ and its standard library. Says exactly what to install when the machine
lacks something that it may not install itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def ensure_venv_module() -> None:
    """Debian ships `venv` apart from Python."""
    probe = subprocess.run(
        [sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True
    )
    if probe.returncode == 0:
        return
    package = "python3-venv"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"setup: Python's venv module is missing. Install it: apt-get install {package}")
    say(f"installing {package}")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", package)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--stamp", type=Path, required=True)
    args = parser.parse_args()
    if sys.version_info < MINIMUM:
        sys.exit(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    python = args.venv / "bin" / "python"
    if not python.exists():
        ensure_venv_module()
        say(f"making {args.venv}")
        run(sys.executable, "-m", "venv", args.venv)
    say("installing pinned dependencies (the first time this takes a minute or two)")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--require-hashes", "--no-deps", "-r", "constraints.txt")
    run(*pip, "install", "--no-deps", "--no-build-isolation", "--editable", ".")
    # An editable package is not compiled by pip, and the command line promises to start fast.
    run(python, "-m", "compileall", "-q", "src")
    args.stamp.touch()
    say("ready")


if __name__ == "__main__":
    main()
