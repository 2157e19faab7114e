"""Finished attempts on disk, until the control plane has acknowledged each one.

An entry is one file, written durably before anything is sent and removed after the
acknowledgement. A large output stands beside it in ``outputs`` and is made durable *before* its
entry, and removed *after* it: an entry never names an output that is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ambient_vcp.apps.node.disk.durable import sync_file, sync_folder, write_durably
from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import Digest, NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef

ENTRIES_MAX = 1024


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished attempt: ``message`` is what the protocol calls RESULT, ready to be sent."""

    version: int = 1
    task_id: str
    slot: int
    epoch: int
    node_id: str
    message: dict[str, Any]
    output_digest: str = ""
    output_size_bytes: int = 0
    finished_at_ms: int = 0

    @property
    def ref(self) -> LeaseRef:
        return LeaseRef(
            task_id=TaskId(self.task_id),
            slot=self.slot,
            epoch=self.epoch,
            node_id=NodeId(self.node_id),
        )

    @property
    def large_output(self) -> Digest | None:
        return Digest(self.output_digest) if self.output_digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What an earlier run left: how many entries, and the names of files that could not be read."""

    entries: int
    damaged: tuple[str, ...]


def entry_name(ref: LeaseRef) -> str:
    """A file name for an attempt. Hashed, because a task id is text from outside."""
    parts = (ref.task_id, str(ref.slot), str(ref.epoch), ref.node_id)
    return hashlib.sha256(length_prefixed(*(part.encode() for part in parts))).hexdigest()[:40]


class Spool:
    """All methods but ``pending`` block on the disk: call them in a thread."""

    def __init__(self, folder: Path, outputs: Path) -> None:
        self._folder = folder
        self._outputs = outputs
        self._entries: dict[LeaseRef, Entry] = {}

    def __contains__(self, ref: LeaseRef) -> bool:
        return ref in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        return len(self._entries) >= ENTRIES_MAX

    def pending(self) -> tuple[Entry, ...]:
        """Unacknowledged entries, oldest first."""
        return tuple(self._entries.values())

    def recover(self) -> Recovered:
        """Read what is on disk; set damaged entries aside and drop outputs that nobody names."""
        found, damaged = [], []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Entry))
            except (OSError, msgspec.DecodeError, msgspec.ValidationError):
                damaged.append(path.name)
                with suppress(OSError):
                    path.replace(path.with_suffix(".damaged"))
        found.sort(key=lambda entry: entry.finished_at_ms)
        self._entries = {entry.ref: entry for entry in found}
        named = {self.output_path(entry.ref) for entry in found if entry.large_output}
        for path in self._outputs.iterdir():
            if path not in named:
                with suppress(OSError):
                    path.unlink()
        return Recovered(entries=len(found), damaged=tuple(damaged))

    def output_path(self, ref: LeaseRef) -> Path:
        return self._outputs / entry_name(ref)

    def keep_output(self, ref: LeaseRef, path: Path) -> None:
        """Move a large output in, durably. Must come before its entry is added."""
        sync_file(path)
        path.replace(self.output_path(ref))
        sync_folder(self._outputs)

    def add(self, entry: Entry) -> None:
        """Store an entry. It is pending even if the disk refused it (``OSError``)."""
        self._entries[entry.ref] = entry
        write_durably(self._path(entry.ref), msgspec.json.encode(entry))

    def acknowledged(self, ref: LeaseRef) -> None:
        """Drop an entry and its output. Idempotent."""
        entry = self._entries.pop(ref, None)
        self._path(ref).unlink(missing_ok=True)
        sync_folder(self._folder)
        if entry is None or entry.large_output:
            self.output_path(ref).unlink(missing_ok=True)

    def set_aside(self, ref: LeaseRef) -> None:
        """Keep an entry that the control plane can never take, for a person to look at."""
        self._entries.pop(ref, None)
        with suppress(FileNotFoundError):
            self._path(ref).replace(self._path(ref).with_suffix(".refused"))

    def _path(self, ref: LeaseRef) -> Path:
        return self._folder / f"{entry_name(ref)}.json"


def batch_of(entries: tuple[Entry, ...], count_max: int, bytes_max: int) -> tuple[Entry, ...]:
    """The first entries that fit into one request, at least one."""
    chosen: list[Entry] = []
    size = 0
    for entry in entries[:count_max]:
        size += message_bytes(entry.message)
        if chosen and size > bytes_max:
            break
        chosen.append(entry)
    return tuple(chosen)


def message_bytes(message: Mapping[str, Any]) -> int:
    return len(msgspec.json.encode(message))
