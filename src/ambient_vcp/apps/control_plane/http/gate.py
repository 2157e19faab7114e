"""The outermost layer: request ids, the access log, and errors in their one shape."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ambient_vcp.apps.control_plane.http.answers import (
    InternalError,
    UnknownRouteError,
    error_response,
)
from ambient_vcp.domain.errors import InvalidInputError, UnavailableError, VcpError
from ambient_vcp.ports.entropy import Entropy

REQUEST_ID_CHARS_MAX = 128
CLIENT_GONE = 499
log = structlog.get_logger()


class Gate:
    """Wraps the application. ``requests_max`` bounds what is worked on at once."""

    def __init__(
        self, app: ASGIApp, *, entropy: Entropy, requests_max: int, access_log: bool
    ) -> None:
        self._app = app
        # Counted, not drawn: a system call for each request would wait for other threads.
        self._prefix = entropy.token_bytes(6).hex()
        self._count = 0
        self._requests_max = requests_max
        self._access_log = access_log
        self._busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        self._count += 1
        request_id = _request_id(scope) or f"{self._prefix}-{self._count}"
        scope["vcp_request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        status = 0

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                if not any(name == b"x-request-id" for name, _ in headers):
                    headers.append(header)
            await send(message)

        release = self._occupy()
        scope["vcp_release"] = release
        try:
            if self._busy > self._requests_max:
                raise UnavailableError(reason="too many requests at once")  # noqa: TRY301  (translated below like any other)
            await self._app(scope, receive, marked)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001  (the boundary: nothing escapes untranslated)
            known = translate(error, request_id, started=bool(status))
            if known is not None and not status:
                await error_response(known, request_id)(scope, receive, marked)
        finally:
            release()
            if self._access_log:
                log.info(
                    "request",
                    request_id=request_id,
                    method=scope["method"],
                    route=scope.get("vcp_route", "-"),
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 2),
                )

    def _occupy(self) -> Callable[[], None]:
        """Count a request; the answer ends that, once. Streams call it when they begin."""
        self._busy += 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._busy -= 1

        return release


def translate(
    error: Exception, request_id: str, *, started: bool, route: str = ""
) -> VcpError | None:
    """The error table. Answers None where an answer has begun and nothing can be said any more."""
    if isinstance(error, VcpError):
        if error.http_status < 500 or error.retryable:  # noqa: PLR2004 - where our own errors begin
            return error
        log.error("request.failed", request_id=request_id, exc_info=error)
        return InternalError()
    if isinstance(error, HTTPException):
        return _of_http(error, route)
    log.error("request.failed", request_id=request_id, started=started, exc_info=error)
    return None if started else InternalError()


def _of_http(error: HTTPException, route: str) -> VcpError:
    """What the framework itself refuses: unknown routes and methods, odd requests."""
    if error.status_code in (404, 405):
        return UnknownRouteError(route=route)
    return InvalidInputError(where="request", rule=str(error.detail)[:200])


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = bytes(value).decode("latin-1")
            fits = 0 < len(text) <= REQUEST_ID_CHARS_MAX
            return text if fits and text.isascii() and text.isprintable() else ""
    return ""
