"""Debian packages that tests need, installed where that is allowed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

INSTALL_SEC_MAX = 600


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str) -> None:
    """Try to install; whether it is there afterwards is the caller's to look at."""
    with Path(tempfile.gettempdir(), "ambient-vcp-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(
                ["apt-get", "-q", *command],
                env=environment,
                capture_output=True,
                timeout=INSTALL_SEC_MAX,
                check=False,
            )
