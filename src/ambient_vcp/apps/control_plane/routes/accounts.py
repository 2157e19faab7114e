"""Registration and login."""

from __future__ import annotations

from starlette.responses import Response

from ambient_vcp.adapters.jose.tokens import Audience
from ambient_vcp.apps.control_plane.http.answers import json_answer
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.domain.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from ambient_vcp.domain.ids import AccountId
from ambient_vcp.services import accounts
from ambient_vcp.wire.http.accounts import LoggedIn, LoginRequest, Me, Registered, Registration

table = Table("accounts")


@table.add(
    "POST",
    "/auth/register",
    "Make an account",
    who=Who.PUBLIC,
    body=Registration,
    answers={201: Registered},
    errors=(403, 409),
)
async def register(call: Call[Registration]) -> Response:
    plane, sent = call.plane, call.body
    if plane.settings.registration != "open":
        raise ForbiddenError(reason="registration is closed; ask the operator for an account")
    username = accounts.check_username(sent.username)
    password = accounts.check_password(sent.password)
    email = accounts.check_email(sent.email)
    # Looked up first, so that a taken name does not cost a hash; the insert decides.
    if await plane.store.read(lambda tx: tx.accounts.by_name(username)) is not None:
        raise ConflictError(what=f"the username {username} is taken", advice="Choose another one.")
    hashed = await plane.passwords.hash(password)
    account_id = AccountId(plane.entropy.uuid4())
    account = await plane.store.transact(
        lambda tx: accounts.register(
            tx, account_id=account_id, username=username, password_hash=hashed, email=email
        )
    )
    answer = {
        "user_id": account.id,
        "username": account.username,
        "email": account.email,
        "api_key": None,
        "message": "The account is ready: log in with POST /api/v1/auth/login.",
    }
    return json_answer(answer, 201)


@table.add(
    "POST",
    "/auth/login",
    "Exchange a password for a token",
    who=Who.PUBLIC,
    body=LoginRequest,
    answers={200: LoggedIn},
    errors=(401,),
)
async def login(call: Call[LoginRequest]) -> Response:
    plane, sent = call.plane, call.body
    account = await plane.store.read(lambda tx: tx.accounts.by_name(sent.username))
    stored = None if account is None else account.password_hash
    if not await plane.passwords.matches(sent.password, stored) or account is None:
        raise UnauthorizedError(reason="the username or the password is wrong")
    lifetime = plane.settings.account_token_sec
    token = plane.tokens.issue(
        account.id,
        Audience.ACCOUNT,
        ttl_sec=lifetime,
        username=account.username,
        role=account.role,
    )
    return json_answer(
        {
            "access_token": token.text,
            "refresh_token": None,
            "token_type": "Bearer",
            "expires_in": lifetime,
        }
    )


@table.add("GET", "/auth/me", "Whose token this is", who=Who.ACCOUNT, answers={200: Me})
async def me(call: Call[None]) -> Response:
    try:
        account = await call.plane.store.read(lambda tx: accounts.the_account(tx, call.account_id))
    except NotFoundError:
        raise UnauthorizedError(reason="the account does not exist any more") from None
    return json_answer({"user_id": account.id, "username": account.username, "role": account.role})
