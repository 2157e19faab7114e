"""Our own programs as child processes: each in its own group, with a log file, never orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ambient_vcp.adapters.system.clock import SystemClock
from ambient_vcp.apps.cli.failures import CommandFailed

LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 16 * 1024
POLL_S = 0.02
CONTROL_PLANE = "ambient_vcp.apps.control_plane"
NODE = "ambient_vcp.apps.node"


class Child:
    """One running program."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        log_file: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start it. Call from the main thread: the kernel ends it when the starting thread ends."""
        self.name = name
        self.log_file = log_file
        self.started_at_ms = SystemClock().now_ms()
        log_file.parent.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-m", "ambient_vcp.apps.cli.guard", str(os.getpid())]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(variables or {})},  # noqa: TID251 - handed on, not read
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        if self.is_running:
            self._process.terminate()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to it and everything it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, timeout_s: float) -> None:
        """Ask, wait, then kill what is left."""
        self.terminate()
        self.wait(timeout_s)
        self.kill()

    def check_running(self) -> None:
        """Raises CommandFailed with the end of its log when it is not running."""
        if self.is_running:
            return
        raise CommandFailed(
            f"the {self.name} ended with code {self.exit_code}:\n{self.log_tail()}",
            hint=f"Its whole log is {self.log_file}.",
            code="child_ended",
        )

    def log_tail(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def stop_all(children: Sequence[Child], *, timeout_s: float) -> None:
    """Stop in the given order, all that are equal in kind at once: ask, then wait, then kill."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.wait(max(0.0, deadline - time.monotonic()))
        child.kill()


def become(module: str, arguments: Sequence[str]) -> None:
    """Replace this process with another of our programs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own program
