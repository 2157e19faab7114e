"""Accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: AccountId
    username: str
    password_hash: str
    email: str | None
    role: str
    created_at_ms: int


class AccountStore(Protocol):
    def insert(self, account: Account) -> None:
        """``created_at_ms`` is ignored. Raises: ConflictError: the username is taken."""
        ...

    def by_name(self, username: str) -> Account | None: ...

    def get(self, account_id: AccountId) -> Account | None: ...

    def count(self) -> int: ...

    def set_role(self, account_id: AccountId, role: str) -> None: ...
