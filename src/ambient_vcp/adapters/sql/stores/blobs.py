"""Who may read which bytes, in SQL."""

from __future__ import annotations

from collections.abc import Iterable

from ambient_vcp.adapters.sql.statement import Batch, sql
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, TaskId
from ambient_vcp.ports.store import Upload

_ADD = sql(
    """INSERT INTO blob_owners (digest, account_id, size_bytes)
    VALUES (:digest, :account_id, :size_bytes) ON CONFLICT DO NOTHING"""
)
_SIZE = sql(
    """SELECT size_bytes FROM blob_owners WHERE digest = :digest
    UNION ALL SELECT size_bytes FROM task_blobs WHERE digest = :digest LIMIT 1"""
)
_SIZE_FOR = sql(
    """SELECT size_bytes FROM blob_owners WHERE digest = :digest AND account_id = :account_id
    UNION ALL
    SELECT b.size_bytes FROM task_blobs b JOIN tasks t ON t.id = b.task_id
    WHERE b.digest = :digest AND t.account_id = :account_id
    LIMIT 1"""
)
_LINK = sql(
    """INSERT INTO task_blobs (digest, task_id, size_bytes)
    {row} @digest, @task_id, @size_bytes {end}
    ON CONFLICT DO NOTHING""",
    batch=Batch(digest="text", task_id="text", size_bytes="int"),
)
_NODE_MAY_READ = sql(
    """SELECT b.size_bytes FROM slots
    JOIN task_blobs b ON b.task_id = slots.task_id AND b.digest = :digest
    WHERE slots.node_id = :node_id AND slots.lease_expires_at_ms > {now} LIMIT 1"""
)
_START = sql(
    """INSERT INTO uploads (id, account_id, digest, size_bytes, expires_at_ms)
    VALUES (:id, :account_id, :digest, :size_bytes, :expires_at_ms) ON CONFLICT DO NOTHING"""
)
_UPLOAD = sql(
    "SELECT id, account_id, digest, size_bytes, expires_at_ms FROM uploads WHERE id = :id"
)
_END = sql("DELETE FROM uploads WHERE id = :id")
_EXPIRED = sql(
    """SELECT id FROM uploads WHERE expires_at_ms <= {now}
    ORDER BY expires_at_ms, id LIMIT :at_most"""
)


class SqlBlobIndex:
    """The ``BlobIndex`` port."""

    __slots__ = ("_session",)

    def __init__(self, work: Work) -> None:
        self._session = work.session

    def add(self, digest: Digest, size_bytes: int, account_id: AccountId) -> None:
        values = {"digest": digest, "size_bytes": size_bytes, "account_id": account_id}
        self._session.run(_ADD, values)

    def size_for(self, digest: Digest, account_id: AccountId) -> int | None:
        values = {"digest": digest, "account_id": account_id}
        size_bytes: int | None = self._session.scalar(_SIZE_FOR, values)
        return size_bytes

    def size(self, digest: Digest) -> int | None:
        size_bytes: int | None = self._session.scalar(_SIZE, {"digest": digest})
        return size_bytes

    def link_task(self, task_id: TaskId, digests: Iterable[tuple[Digest, int]]) -> None:
        self.link_tasks((task_id, digest, size_bytes) for digest, size_bytes in digests)

    def link_tasks(self, links: Iterable[tuple[TaskId, Digest, int]]) -> None:
        rows = sorted({(digest, task_id, size_bytes) for task_id, digest, size_bytes in links})
        self._session.run_each(_LINK, rows)

    def node_may_read(self, node_id: NodeId, digest: Digest) -> int | None:
        values = {"node_id": node_id, "digest": digest}
        size_bytes: int | None = self._session.scalar(_NODE_MAY_READ, values)
        return size_bytes

    def start_upload(self, upload: Upload) -> None:
        values = {
            "id": upload.id,
            "account_id": upload.account_id,
            "digest": upload.digest,
            "size_bytes": upload.size_bytes,
            "expires_at_ms": upload.expires_at_ms,
        }
        if not self._session.run(_START, values):
            raise ConflictError(what="an upload with this id exists", advice="Use a new id.")

    def upload(self, upload_id: str) -> Upload | None:
        row = self._session.row(_UPLOAD, {"id": upload_id})
        if row is None:
            return None
        return Upload(
            id=row[0],
            account_id=AccountId(row[1]),
            digest=Digest(row[2]),
            size_bytes=row[3],
            expires_at_ms=row[4],
        )

    def end_upload(self, upload_id: str) -> None:
        self._session.run(_END, {"id": upload_id})

    def expired_uploads(self, at_most: int) -> list[str]:
        return [row[0] for row in self._session.rows(_EXPIRED, {"at_most": at_most})]
