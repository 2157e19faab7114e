"""Answers kept for repeated requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId, Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    request_hash: Digest
    status: int
    body: bytes


class IdempotencyStore(Protocol):
    def begin(self, account_id: AccountId, key: str, request_hash: Digest) -> StoredAnswer | None:
        """Insert first, so that two racing requests cannot both run.

        Answers None when this transaction now owns the key, else what was stored. On PostgreSQL a
        racing insert waits for the other transaction to end. A transaction that owns a key finishes
        it or rolls back, which is checked at its commit.
        """
        ...

    def finish(self, account_id: AccountId, key: str, *, status: int, body: bytes) -> None: ...

    def prune(self, *, older_than_ms: int, at_most: int) -> int: ...
