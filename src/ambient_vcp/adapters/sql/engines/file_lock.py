"""Exactly one control plane opens a SQLite file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ambient_vcp.domain.errors import ConflictError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Held until :meth:`release`, or until the process ends however it ends."""

    def __init__(self, database: Path) -> None:
        """Take the lock of a database file.

        Raises:
            ConflictError: another process holds it.
        """
        path = database.with_name(database.name + ".lock")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise ConflictError(
                what=f"another control plane uses the database {database}",
                advice="Stop it, choose another data folder, or use PostgreSQL to run several.",
            ) from None

    def release(self) -> None:
        os.close(self._descriptor)
