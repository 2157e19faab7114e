"""Command lines as a person types them: processes of their own, a home of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CLI = (sys.executable, "-m", "ambient_vcp.apps.cli")
START_TIMEOUT_S = 100
CALL_TIMEOUT_S = 100


@dataclass(frozen=True)
class Terminal:
    """Runs command lines in one home, each in a process of its own."""

    home: Path

    def variables(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AMBIENT_VCP_")}
        return {**kept, "HOME": str(self.home), "AMBIENT_VCP_HOME": str(self.home / "vcp"), **more}

    def run(self, *arguments: str, given: str = "", **variables: str) -> Done:
        done = subprocess.run(
            [*CLI, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_TIMEOUT_S,
            input=given,
            cwd=ROOT,
            env=self.variables(**variables),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A program that runs meanwhile, and is stopped in any case."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*CLI, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=self.variables(),
                start_new_session=True,
            )
        try:
            yield process
        finally:
            stop(process)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def data(self) -> Any:
        """The data of the JSON envelope."""
        envelope = json.loads(self.out)
        assert (envelope["schema_version"], envelope["status"]) == (1, "ok")
        return envelope["data"]

    def error(self) -> dict[str, Any]:
        """The error of the JSON envelope on stderr."""
        for line in reversed(self.err.splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line)["error"])
        raise AssertionError(self.err)


def wait_for_text(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C, and SIGKILL to the group if that does not help."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
