"""How an operation is declared, and the one way every request takes through it.

Operations are plain ASGI endpoints inside the FastAPI application: measured, that is twice as fast
as FastAPI's own request handling, which the hot routes need. The declaration carries what OpenAPI
must say, so the document cannot drift from what runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ambient_vcp.adapters.jose.tokens import Audience, Claims
from ambient_vcp.apps.control_plane.http.answers import JSON_TYPE, BodyTooLargeError, MediaTypeError
from ambient_vcp.apps.control_plane.plane import ControlPlane
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError, UnauthorizedError
from ambient_vcp.domain.ids import AccountId, NodeId
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http import strict_json

B = TypeVar("B")
BODY_BYTES_MAX = 1024 * 1024


class Who(Enum):
    """Who may call, as the audiences whose tokens are accepted. OPTIONAL takes none as well."""

    PUBLIC = ()
    ACCOUNT = (Audience.ACCOUNT,)
    NODE = (Audience.NODE,)
    EITHER = (Audience.ACCOUNT, Audience.NODE)
    OPTIONAL = (Audience.ACCOUNT, None)


class NoQuery(Shape, frozen=True):
    """No parameters."""


@dataclass(slots=True)
class Call(Generic[B]):
    """One request on its way: who asks, what they sent, and the program to answer with."""

    plane: ControlPlane
    request: Request
    claims: Claims | None
    query: Any
    body: B
    raw_body: bytes = b""

    @property
    def request_id(self) -> str:
        return str(self.request.scope.get("vcp_request_id", ""))

    @property
    def peer(self) -> str:
        """The address at the other end of the socket. No header is believed."""
        client = self.request.client
        return client.host if client else ""

    @property
    def account_id(self) -> AccountId:
        assert self.claims is not None
        return AccountId(self.claims.subject)

    @property
    def caller_node(self) -> NodeId | None:
        """The calling node; None where an account calls."""
        if self.claims is None or self.claims.audience is not Audience.NODE:
            return None
        return NodeId(self.claims.subject)

    @property
    def caller_account(self) -> AccountId | None:
        if self.claims is None or self.claims.audience is not Audience.ACCOUNT:
            return None
        return AccountId(self.claims.subject)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def own_node_id(self) -> NodeId:
        """The node of the path, which must be the calling one; NotFoundError where it is not."""
        node_id = self.path("node_id")
        if self.caller_node != node_id:
            raise NotFoundError(kind="node", id=node_id[:64])
        return NodeId(node_id)


Handler = Callable[[Call[Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. ``answers`` maps a status to the shape of its JSON body, or to None.

    ``errors`` are the error statuses beyond those that follow from ``who`` and ``body``.
    """

    method: str
    path: str
    summary: str
    tag: str
    who: Who
    handler: Handler
    body: type[Shape] | None = None
    body_optional: bool = False
    query: type[Shape] = NoQuery
    answers: Mapping[int, type[Shape] | None] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers with their meaning."""

    media_in: str = ""
    media_out: str = JSON_TYPE


class Table:
    """The operations of one resource, in the order in which they are matched."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.operations: list[Operation] = []

    def add(
        self, method: str, path: str, summary: str, *, who: Who, **more: Any
    ) -> Callable[[Callable[[Call[Any]], Awaitable[Response]]], Handler]:
        """Declare the decorated handler as an operation."""

        def keep(handler: Handler) -> Handler:
            self.operations.append(
                Operation(
                    method=method,
                    path=path,
                    summary=summary,
                    tag=self.tag,
                    who=who,
                    handler=handler,
                    **more,
                )
            )
            return handler

        return keep


class Endpoint:
    """Runs one operation: authenticate, read, answer. Errors are the gate's to translate."""

    def __init__(self, operation: Operation, plane: Callable[[], ControlPlane]) -> None:
        self._operation = operation
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation, plane = self._operation, self._plane()
        scope["vcp_route"] = operation.path
        request = Request(scope, receive)
        claims = authenticate(plane, operation.who, request.headers.get("authorization"))
        query = read_query(request.query_params, operation.query)
        raw, body = b"", None
        if operation.body is not None:
            raw = await read_body(request, BODY_BYTES_MAX)
            body = _read_json(request, raw, operation)
        call = Call(plane, request, claims, query, body, raw)
        response = await operation.handler(call)
        await response(scope, receive, send)


def authenticate(plane: ControlPlane, who: Who, header: str | None) -> Claims | None:
    """Check the Authorization header.

    Raises:
        UnauthorizedError: a needed token is missing, or a given one is not good for this operation.
    """
    if not who.value:
        return None
    if header is None:
        if who is Who.OPTIONAL:
            return None
        raise UnauthorizedError
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthorizedError(reason="the Authorization header is not `Bearer TOKEN`")
    audiences = [audience for audience in who.value if audience is not None]
    return plane.tokens.verify(token, *audiences)


def read_query(given: QueryParams, kind: type[Shape]) -> Shape:
    """Give query parameters their shape; numbers come as text.

    Raises:
        InvalidInputError: unknown, twice, of the wrong type or out of bounds.
    """
    if not given and kind is NoQuery:
        return _NO_QUERY
    items = given.multi_items()
    named = dict(items)
    if len(named) != len(items):
        raise InvalidInputError(where="query", rule="has each parameter once")
    try:
        return msgspec.convert(named, kind, strict=False)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).rpartition(" - at `$.")
        where = path.rstrip("`") or "query"
        raise InvalidInputError(where=where[:100], rule=(rule or str(error))[:300]) from None


_NO_QUERY = NoQuery()


async def read_body(request: Request, maximum: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError: as soon as it is known.
    """
    chunks = bytearray()
    async for chunk in body_stream(request, maximum):
        chunks += chunk
    return bytes(chunks)


async def body_stream(request: Request, maximum: int) -> Any:
    """The body's chunks as they come, at most ``maximum`` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 20 and int(announced) > maximum:  # noqa: PLR2004 - digits of 2^63
        raise BodyTooLargeError(maximum=maximum)
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > maximum:
            raise BodyTooLargeError(maximum=maximum)
        if chunk:
            yield chunk


def _read_json(request: Request, raw: bytes, operation: Operation) -> Shape:
    kind = cast("type[Shape]", operation.body)
    if not raw and operation.body_optional:
        return kind()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON_TYPE:
        raise MediaTypeError(expected=JSON_TYPE)
    return strict_json.read(raw, kind)


__all__ = ["BODY_BYTES_MAX", "Call", "ClientDisconnect", "Endpoint", "Operation", "Table", "Who"]
