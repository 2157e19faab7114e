"""The folder of one node: its key, its state, its unsent results. One agent at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from ambient_vcp.apps.node.disk.durable import write_durably
from ambient_vcp.domain.errors import VcpError

STATE_BYTES_MAX = 64 * 1024


@dataclass(eq=False, kw_only=True)
class DataDirError(VcpError):
    code: ClassVar[str] = "data_dir_unusable"
    path: str
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"the data folder {self.path} cannot be used: {self.reason}"

    @property
    def hint(self) -> str:
        return self.advice


class NodeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the agent must still know after a restart. Owner's terms are as typed at ``join``."""

    version: int = 1
    url: str
    node_id: str
    region: str
    node_type: str
    control_plane_id: str = ""
    control_plane_public_key: str = ""
    enrolled: bool = False
    drained_by_us: bool = False
    bandwidth_mbps: float | None = None
    terms: dict[str, str | int | float | bool | None] = {}


class DataDir:
    """Paths below one folder, which only its owner may enter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = root / "node.key"
        self.state_file = root / "node.json"
        self.lock_file = root / "agent.lock"
        self.spool = root / "spool"
        self.outputs = root / "outputs"
        self.cache = root / "cache"
        self.work = root / "work"
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make the folders, readable by their owner only.

        Raises:
            DataDirError: they cannot be made, or belong to somebody else.
        """
        try:
            for folder in (self.root, self.spool, self.outputs, self.cache, self.work):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise DataDirError(
                path=str(self.root),
                reason=str(error.strerror),
                advice="Choose another with --data-dir, or make this one yours and writable.",
            ) from error

    def lock(self) -> None:
        """Take the folder for this process, until it ends.

        Raises:
            DataDirError: another agent runs from it.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirError(
                path=str(self.root),
                reason=f"an agent with process id {holder} runs from it",
                advice="Stop that agent first, or give this one its own --data-dir.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load_state(self) -> NodeState | None:
        """The state, or None when no node was ever joined from here.

        Raises:
            DataDirError: the file is damaged.
        """
        try:
            content = self.state_file.read_bytes()[:STATE_BYTES_MAX]
            return msgspec.json.decode(content, type=NodeState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise DataDirError(
                path=str(self.root),
                reason=f"{self.state_file.name} is damaged ({error})",
                advice="Join again; the node keeps its key and therefore its name.",
            ) from error

    def save_state(self, state: NodeState) -> None:
        write_durably(self.state_file, msgspec.json.format(msgspec.json.encode(state)))

    def clear_work(self) -> None:
        """Drop what an earlier run of the agent left half done. Only under the lock."""
        for path in self.work.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        for path in (*self.spool.glob("*.tmp"), *self.cache.glob("*.part")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self.root).free
        except OSError:
            return None
