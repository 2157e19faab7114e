"""Who may read which bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId, Digest, NodeId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    id: str
    account_id: AccountId
    digest: Digest
    size_bytes: int
    expires_at_ms: int


class BlobIndex(Protocol):
    """Who may read which bytes. The bytes themselves are behind the BlobStore port."""

    def add(self, digest: Digest, size_bytes: int, account_id: AccountId) -> None:
        """Idempotent."""
        ...

    def size_for(self, digest: Digest, account_id: AccountId) -> int | None:
        """Size if this account put the blob or owns a task that names it; else None."""
        ...

    def size(self, digest: Digest) -> int | None: ...

    def link_task(self, task_id: TaskId, digests: Iterable[tuple[Digest, int]]) -> None:
        """Record that a task names these blobs (module, inputs, output)."""
        ...

    def link_tasks(self, links: Iterable[tuple[TaskId, Digest, int]]) -> None:
        """The same for many: task, blob and its size."""
        ...

    def node_may_read(self, node_id: NodeId, digest: Digest) -> int | None:
        """Size if the node holds a live lease on a task that names the blob; else None."""
        ...

    def start_upload(self, upload: Upload) -> None: ...

    def upload(self, upload_id: str) -> Upload | None: ...

    def end_upload(self, upload_id: str) -> None: ...

    def expired_uploads(self, at_most: int) -> list[str]: ...
