"""Accounts: rules of names and passwords, registration, the first administrator."""

from __future__ import annotations

from ambient_vcp.domain.errors import ConflictError, NotFoundError, ValidationFailedError
from ambient_vcp.domain.ids import AccountId
from ambient_vcp.ports.store import Account, Transaction
from ambient_vcp.services.record import audit

USERNAME_MIN = 3
USERNAME_MAX = 32
PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 72
EMAIL_CHARS_MAX = 255
ROLE_USER = "user"
ROLE_ADMIN = "admin"


def check_username(username: str) -> str:
    """Return the name.

    Raises:
        ValidationFailedError: not 3 to 32 letters, digits or underscores.
    """
    fits = USERNAME_MIN <= len(username.encode()) <= USERNAME_MAX
    if not fits or not all(letter.isalnum() or letter == "_" for letter in username):
        raise ValidationFailedError(
            where="username",
            rule=f"is {USERNAME_MIN} to {USERNAME_MAX} bytes of letters, digits and _",
        )
    return username


def check_password(password: str) -> str:
    """Return the password. The error never repeats it.

    Raises:
        ValidationFailedError: fewer than 8 characters, or more than 72 bytes of UTF-8.
    """
    if len(password) < PASSWORD_CHARS_MIN:
        raise ValidationFailedError(
            where="password", rule=f"has at least {PASSWORD_CHARS_MIN} characters"
        )
    if len(password.encode()) > PASSWORD_BYTES_MAX:
        raise ValidationFailedError(
            where="password", rule=f"has at most {PASSWORD_BYTES_MAX} bytes of UTF-8"
        )
    return password


def check_email(email: str | None) -> str | None:
    """Return the address without spaces around it.

    Raises:
        ValidationFailedError: blank, longer than 255, without ``@``, or with control characters.
    """
    if email is None:
        return None
    trimmed = email.strip()
    if "@" not in trimmed or len(trimmed) > EMAIL_CHARS_MAX or not trimmed.isprintable():
        raise ValidationFailedError(where="email", rule="is an address with @, at most 255 long")
    return trimmed


def register(
    tx: Transaction,
    *,
    account_id: AccountId,
    username: str,
    password_hash: str,
    email: str | None,
    role: str = ROLE_USER,
) -> Account:
    """Store a checked account.

    Raises:
        ConflictError: the name is taken.
    """
    if tx.accounts.by_name(username) is not None:
        raise ConflictError(what=f"the username {username} is taken", advice="Choose another one.")
    account = Account(
        id=account_id,
        username=username,
        password_hash=password_hash,
        email=email,
        role=role,
        created_at_ms=0,
    )
    tx.accounts.insert(account)
    audit.record(
        tx, "account.registered", actor=account_id, subject=account_id, fields={"role": role}
    )
    return account


def the_account(tx: Transaction, account_id: AccountId) -> Account:
    """Raises NotFoundError where there is none."""
    account = tx.accounts.get(account_id)
    if account is None:
        raise NotFoundError(kind="account", id=account_id)
    return account


def promote(tx: Transaction, account_id: AccountId) -> None:
    """Make an account an administrator. Repeating it changes nothing."""
    if the_account(tx, account_id).role == ROLE_ADMIN:
        return
    tx.accounts.set_role(account_id, ROLE_ADMIN)
    audit.record(tx, "account.promoted", actor="operator", subject=account_id)
