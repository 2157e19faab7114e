"""Answers of repeated requests in SQL."""

from __future__ import annotations

from ambient_vcp.adapters.sql.statement import sql
from ambient_vcp.adapters.sql.work import InvariantError, Work
from ambient_vcp.domain.ids import AccountId, Digest
from ambient_vcp.ports.store import StoredAnswer

_BEGIN = sql(
    """INSERT INTO idempotency (account_id, key, request_hash, created_at_ms)
    VALUES (:account_id, :key, :request_hash, {now}) ON CONFLICT DO NOTHING"""
)
_STORED = sql(
    """SELECT request_hash, status, body FROM idempotency
    WHERE account_id = :account_id AND key = :key"""
)
_FINISH = sql(
    """UPDATE idempotency SET status = :status, body = :body
    WHERE account_id = :account_id AND key = :key AND status IS NULL"""
)
_PRUNE = sql(
    """DELETE FROM idempotency WHERE (account_id, key) IN (
        SELECT account_id, key FROM idempotency WHERE created_at_ms < {now} - :older_than_ms
        ORDER BY created_at_ms LIMIT :at_most)"""
)


class SqlIdempotencyStore:
    """The ``IdempotencyStore`` port. A transaction that begins a key finishes it, or rolls back."""

    __slots__ = ("_session", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._session = work.session

    def begin(self, account_id: AccountId, key: str, request_hash: Digest) -> StoredAnswer | None:
        named = {"account_id": account_id, "key": key}
        if self._session.run(_BEGIN, {**named, "request_hash": request_hash}):
            self._work.open_keys.add((account_id, key))
            return None
        row = self._session.row(_STORED, named)
        if row is None or row[1] is None:
            raise InvariantError("an idempotency key was begun twice in one transaction")
        return StoredAnswer(request_hash=Digest(row[0]), status=row[1], body=bytes(row[2]))

    def finish(self, account_id: AccountId, key: str, *, status: int, body: bytes) -> None:
        values = {"account_id": account_id, "key": key, "status": status, "body": body}
        if not self._session.run(_FINISH, values):
            raise InvariantError("an idempotency key was finished without having been begun")
        self._work.open_keys.discard((account_id, key))

    def prune(self, *, older_than_ms: int, at_most: int) -> int:
        values = {"older_than_ms": older_than_ms, "at_most": at_most}
        return self._session.run(_PRUNE, values)
