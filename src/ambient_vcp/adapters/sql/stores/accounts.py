"""Accounts in SQL."""

from __future__ import annotations

from ambient_vcp.adapters.sql.session import Row
from ambient_vcp.adapters.sql.statement import sql
from ambient_vcp.adapters.sql.work import Work
from ambient_vcp.domain.errors import ConflictError, NotFoundError
from ambient_vcp.domain.ids import AccountId
from ambient_vcp.ports.store import Account

_COLUMNS = "id, username, password_hash, email, role, created_at_ms"
_INSERT = sql(
    """INSERT INTO accounts (id, username, password_hash, email, role, created_at_ms)
    VALUES (:id, :username, :password_hash, :email, :role, {now}) ON CONFLICT DO NOTHING"""
)
_BY_NAME = sql("SELECT {columns} FROM accounts WHERE username = :username", columns=_COLUMNS)
_GET = sql("SELECT {columns} FROM accounts WHERE id = :id", columns=_COLUMNS)
_SET_ROLE = sql("UPDATE accounts SET role = :role WHERE id = :id")
_COUNT = sql("SELECT count(*) FROM accounts")


def _account_of(row: Row | None) -> Account | None:
    if row is None:
        return None
    return Account(
        id=AccountId(row[0]),
        username=row[1],
        password_hash=row[2],
        email=row[3],
        role=row[4],
        created_at_ms=row[5],
    )


class SqlAccountStore:
    """The ``AccountStore`` port."""

    __slots__ = ("_session",)

    def __init__(self, work: Work) -> None:
        self._session = work.session

    def insert(self, account: Account) -> None:
        values = {
            "id": account.id,
            "username": account.username,
            "password_hash": account.password_hash,
            "email": account.email,
            "role": account.role,
        }
        if not self._session.run(_INSERT, values):
            raise ConflictError(
                what=f"the username {account.username} is taken", advice="Choose another one."
            )

    def by_name(self, username: str) -> Account | None:
        return _account_of(self._session.row(_BY_NAME, {"username": username}))

    def get(self, account_id: AccountId) -> Account | None:
        return _account_of(self._session.row(_GET, {"id": account_id}))

    def set_role(self, account_id: AccountId, role: str) -> None:
        if not self._session.run(_SET_ROLE, {"id": account_id, "role": role}):
            raise NotFoundError(kind="account", id=account_id)

    def count(self) -> int:
        return int(self._session.scalar(_COUNT))
