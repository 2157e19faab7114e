"""Who we talk to and as whom, and the one way a request is sent: authorised, retried, checked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ambient_vcp.sdk.effects import Operation, Pause, Reply, Request
from ambient_vcp.sdk.errors import (
    BadRequest,
    ClientError,
    ConnectionFailed,
    LoginNeeded,
    RequestRefused,
    ServerError,
)

TRIES_MAX = 5
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
RETRY_AFTER_MAX_S = 30.0
RETRY_STATUSES = frozenset({429, 502, 503, 504})
SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
IDEMPOTENCY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Lets a session log in again by itself. Never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r})"


@dataclass(slots=True, kw_only=True)
class Session:
    """``on_token`` is told of every new token, so that a profile can keep it."""

    endpoint: str
    token: str | None = None
    credential: Credential | None = None
    on_token: Callable[[str], None] | None = None

    def __repr__(self) -> str:
        return f"Session(endpoint={self.endpoint!r})"


def new_idempotency_key() -> str:
    return os.urandom(16).hex()


def json_request(
    method: str, path: str, body: Any = None, *, key: str | None = None, **fields: Any
) -> Request:
    """A request with a JSON body. Refuses NaN and infinities, which JSON does not have."""
    headers = dict(fields.pop("headers", {}))
    content = None
    if body is not None:
        try:
            content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise BadRequest(
                f"this cannot be sent as JSON: {error}",
                hint="JSON has text, finite numbers, booleans, lists and objects.",
            ) from None
        headers["Content-Type"] = "application/json"
    if key is not None:
        headers[IDEMPOTENCY_HEADER] = key
    return Request(method=method, path=path, headers=headers, content=content, **fields)


def send(session: Session, /, request: Request) -> Operation[Reply]:
    """Send with the session's token; retry what is safe to repeat; raise what is an error.

    A request is repeated after a broken connection or a passing server error when its method is
    safe to repeat or it carries an idempotency key. A refused token is renewed once when the
    session holds a credential.
    """
    repeatable = request.method in SAFE_METHODS or IDEMPOTENCY_HEADER in request.headers
    renewed = False
    tries = 0
    while True:
        tries += 1
        last = tries >= TRIES_MAX or not repeatable
        try:
            reply: Reply = yield authorised(session, request)
        except ConnectionFailed:
            if last:
                raise
            yield Pause(backoff_s(tries))
            continue
        if reply.status < 400:  # noqa: PLR2004 - where HTTP's errors begin
            return reply
        if reply.status == 401 and session.credential is not None and not renewed:  # noqa: PLR2004
            renewed = True
            yield from login(session, session.credential.username, session.credential.password)
            continue
        error = error_of(reply)
        if last or not (error.retryable or reply.status in RETRY_STATUSES):
            raise error
        yield Pause(_retry_after_s(reply, tries))


def call(
    session: Session, /, method: str, path: str, body: Any = None, **fields: Any
) -> Operation[Any]:
    """Send JSON, return the decoded JSON answer (None when it is empty)."""
    reply = yield from send(session, json_request(method, path, body, **fields))
    return decode(reply)


def call_object(
    session: Session, /, method: str, path: str, body: Any = None, **fields: Any
) -> Operation[dict[str, Any]]:
    """The same for answers that are JSON objects."""
    reply = yield from send(session, json_request(method, path, body, **fields))
    decoded = decode(reply)
    if not isinstance(decoded, dict):
        raise _no_control_plane(reply)
    return decoded


def login(session: Session, /, username: str, password: str) -> Operation[str]:
    """Exchange a password for a token, which the session then uses."""
    body = {"username": username, "password": password}
    reply: Reply = yield json_request("POST", "/auth/login", body)
    if reply.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
        raise error_of(reply)
    token = str(decode(reply)["access_token"])
    session.token = token
    if session.on_token is not None:
        session.on_token(token)
    return token


def authorised(session: Session, request: Request) -> Request:
    if not session.token:
        return request
    headers = {**request.headers, "Authorization": f"Bearer {session.token}"}
    return replace(request, headers=headers)


def decode(reply: Reply) -> Any:
    if not reply.content:
        return None
    try:
        return json.loads(reply.content)
    except ValueError:
        raise _no_control_plane(reply) from None


def _no_control_plane(reply: Reply) -> ServerError:
    return ServerError(
        "the answer is not what a control plane says",
        status=reply.status,
        code="bad_answer",
        hint="Is the address really that of a control plane?",
    )


def error_of(reply: Reply) -> ClientError:
    """The exception for an error answer, in our shape or in any other."""
    try:
        body = json.loads(reply.content or b"{}")
    except ValueError:
        body = {}
    if not isinstance(body, Mapping):
        body = {}
    message = str(body.get("message") or f"the control plane answered {reply.status}")
    fields: dict[str, Any] = {
        "code": str(body.get("code") or body.get("error") or f"http_{reply.status}"),
        "hint": str(body["hint"]) if body.get("hint") else None,
        "retryable": bool(body.get("retryable", False)),
        "request_id": body.get("request_id") or reply.headers.get("x-request-id"),
        "details": body.get("details") if isinstance(body.get("details"), Mapping) else None,
    }
    if reply.status == 401:  # noqa: PLR2004 - not authorised
        return LoginNeeded(message, **fields)
    passing = reply.status >= 500 or reply.status == 429  # noqa: PLR2004 - the server's side
    kind = ServerError if passing else RequestRefused
    return kind(message, status=reply.status, **fields)


def backoff_s(tries: int) -> float:
    """Exponential with full jitter: many clients must not come back together."""
    share = int.from_bytes(os.urandom(4), "big") / 2**32
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** (tries - 1)) * (0.5 + share / 2)


def _retry_after_s(reply: Reply, tries: int) -> float:
    text = reply.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(RETRY_AFTER_MAX_S, float(text))
    return backoff_s(tries)
