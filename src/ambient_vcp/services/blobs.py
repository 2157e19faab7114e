"""Who may write and read which bytes."""

from __future__ import annotations

from collections.abc import Iterable

from ambient_vcp.domain.errors import ForbiddenError, LimitExceededError, NotFoundError
from ambient_vcp.domain.ids import AccountId, Digest, NodeId
from ambient_vcp.domain.tasks.policy import INPUT_BYTES_MAX
from ambient_vcp.ports.store import Transaction, Upload

UPLOAD_TTL_MS = 24 * 3_600_000


def account_of_node(tx: Transaction, node_id: NodeId) -> AccountId:
    """The owner of a node that may write blobs: it holds a live lease.

    Raises:
        ForbiddenError: it does not.
    """
    node = tx.nodes.get(node_id)
    if node is None or not tx.tasks.node_leases(node_id, 1):
        raise ForbiddenError(reason="a node stores blobs only while it holds a live lease")
    return node.owner_id


def readable_size(
    tx: Transaction, digest: Digest, *, account_id: AccountId | None, node_id: NodeId | None
) -> int:
    """Size of a blob that the caller may read.

    Raises:
        NotFoundError: there is none, or it is not the caller's to read.
    """
    size = None
    if account_id is not None:
        size = tx.blobs.size_for(digest, account_id)
    elif node_id is not None:
        size = tx.blobs.node_may_read(node_id, digest)
    if size is None:
        raise NotFoundError(kind="blob", id=digest)
    return size


def start_upload(
    tx: Transaction, *, upload_id: str, account_id: AccountId, digest: Digest, size_bytes: int
) -> int | None:
    """Open an upload; answers None, or the size where the account owns the blob already.

    Raises:
        LimitExceededError: larger than any blob may be.
    """
    if size_bytes > INPUT_BYTES_MAX:
        raise LimitExceededError(limit="size_bytes", maximum=INPUT_BYTES_MAX, got=size_bytes)
    owned = tx.blobs.size_for(digest, account_id)
    if owned is not None:
        return owned
    tx.blobs.start_upload(
        Upload(
            id=upload_id,
            account_id=account_id,
            digest=digest,
            size_bytes=size_bytes,
            expires_at_ms=tx.now_ms() + UPLOAD_TTL_MS,
        )
    )
    return None


def the_upload(tx: Transaction, upload_id: str, account_id: AccountId) -> Upload:
    """Raises NotFoundError where there is none, it is somebody else's, or it has expired."""
    upload = tx.blobs.upload(upload_id)
    if upload is None or upload.account_id != account_id or upload.expires_at_ms <= tx.now_ms():
        raise NotFoundError(kind="upload", id=upload_id)
    return upload


def finish_upload(tx: Transaction, upload: Upload) -> None:
    """The bytes are stored: they belong to the account now."""
    tx.blobs.add(upload.digest, upload.size_bytes, upload.account_id)
    tx.blobs.end_upload(upload.id)


def known_sizes(tx: Transaction, account_id: AccountId, digests: Iterable[str]) -> dict[str, int]:
    """Sizes of those of the blobs that the account may read."""
    found = {digest: tx.blobs.size_for(Digest(digest), account_id) for digest in digests}
    return {digest: size for digest, size in found.items() if size is not None}
