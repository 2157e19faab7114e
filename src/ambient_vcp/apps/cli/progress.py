"""A progress line on stderr, for people at a terminal only."""

from __future__ import annotations

import sys
import time

from ambient_vcp.apps.cli.output import printable

EVERY_S = 0.1
WIDTH = 30
MIB = 1024 * 1024


class ProgressLine:
    """Shows how much of each transfer is done; call it as the client's progress callback."""

    def __init__(self) -> None:
        self._shown_at = 0.0
        self._open = False

    def __call__(self, label: str, done_bytes: int, total_bytes: int) -> None:
        if not sys.stderr.isatty() or not total_bytes:
            return
        finished = done_bytes >= total_bytes
        now = time.monotonic()
        if now - self._shown_at < EVERY_S and not finished:
            return
        self._shown_at = now
        filled = WIDTH * done_bytes // total_bytes
        bar = "#" * filled + "." * (WIDTH - filled)
        figures = f"{done_bytes / MIB:.1f} of {total_bytes / MIB:.1f} MiB"
        sys.stderr.write(f"\r{printable(label)} [{bar}] {figures}")
        self._open = True
        if finished:
            self.close()

    def close(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False
