"""The peers, each installed from its package into an environment of its own and run for real."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-peers"
SCRIPTS = Path(__file__).resolve().parent / "peer_scripts"
PACKAGES = {
    "Dask": ("distributed", "dask_noop.py"),
    "Celery (files)": ("celery", "celery_noop.py"),
    "Ray": ("ray", "ray_noop.py"),
}
INSTALL_S = 600
RUN_S = 240


@functools.cache
def measure(name: str) -> dict[str, float] | str:
    """Figures of one peer (``per_second``, ``p50_ms``, ``p99_ms``), or why there are none."""
    package, script = PACKAGES[name]
    python = ENVIRONMENTS / package / "bin" / "python"
    try:
        if not python.exists():
            print(f"installing {package} ...", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENTS / package)], check=True)
            command = [str(python), "-m", "pip", "install", "--quiet", package]
            subprocess.run(command, check=True, timeout=INSTALL_S)
        done = subprocess.run(
            [str(python), str(SCRIPTS / script)],
            check=True,
            timeout=RUN_S,
            capture_output=True,
            text=True,
        )
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        return f"{name}: {(error.stderr or str(error)).strip()[-200:]}"
    except (subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
        return f"{name}: {type(error).__name__}"
    return figures


def column(figure: str) -> tuple[dict[str, float | None], str]:
    """One figure of every peer, and a note on those that could not be measured."""
    found = {name: measure(name) for name in PACKAGES}
    values = {
        name: None if isinstance(answer, str) else answer[figure] for name, answer in found.items()
    }
    notes = [answer for answer in found.values() if isinstance(answer, str)]
    return values, "; ".join(notes)
