"""HTTP with bounds: one connection pool, one token, one way to fail."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from ambient_vcp.adapters.control_plane_http.errors import error_of
from ambient_vcp.domain.errors import InvalidInputError, UnauthorizedError, UnavailableError

API_PREFIX = "/api/v1"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT = httpx.Timeout(connect=5.0, read=20.0, write=20.0, pool=20.0)
EVENTS_READ_TIMEOUT_S = 45.0
"""Three comment lines of the event stream; a stream that is silent for longer is dead."""

_RETRIED_ERRORS = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A success. ``round_trip_ms`` is from sending the request to the answer's first byte."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    round_trip_ms: float


def base_url_of(url: str) -> str:
    """Normalise what a person typed: no trailing slash, no ``/api/v1``.

    Raises:
        InvalidInputError: not an http or https address, or one that carries a password.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise InvalidInputError(
            where="url", rule="is http://HOST:PORT or https://HOST[:PORT]", got=repr(url[:120])
        )
    path = parts.path.rstrip("/").removesuffix(API_PREFIX)
    return f"{parts.scheme}://{parts.netloc}{path}"


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Transport:
    """Requests to one control plane.

    Every method raises ``UnavailableError`` when there is no answer or the answer says "later",
    ``UnauthorizedError`` for 401 and ``RefusedError`` for every other refusal. ``renew_token`` is
    awaited once, and the request repeated, when a token was refused.
    """

    def __init__(self, url: str, *, monotonic_ms: Callable[[], int], user_agent: str) -> None:
        self.base_url = base_url_of(url)
        self.token = ""
        self.renew_token: Callable[[], Awaitable[None]] | None = None
        self._monotonic_ms = monotonic_ms
        secure = self.base_url.startswith("https")
        self._http = httpx.AsyncClient(
            base_url=self.base_url + API_PREFIX,
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=4),
            headers={"User-Agent": user_agent},
            # Without TLS the certificate store would only cost memory.
            verify=ssl.create_default_context() if secure else False,
            # A proxy from the environment must not see traffic to this machine.
            trust_env=not is_loopback(self.base_url),
            follow_redirects=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        authenticated: bool = True,
    ) -> Answer:
        """One exchange. ``json`` and ``content`` exclude each other."""
        sent = dict(headers or {})
        body = content
        if json is not None:
            body = msgspec.json.encode(json)
            sent["Content-Type"] = "application/json"
        try:
            return await self._exchange(method, path, body, sent, authenticated=authenticated)
        except UnauthorizedError:
            if not authenticated or self.renew_token is None:
                raise
            await self.renew_token()
            return await self._exchange(method, path, body, sent, authenticated=True)

    @asynccontextmanager
    async def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, read_timeout_s: float = 20.0
    ) -> AsyncIterator[httpx.Response]:
        """An open answer whose body is read piece by piece."""
        timeout = httpx.Timeout(connect=5.0, read=read_timeout_s, write=20.0, pool=20.0)
        try:
            try:
                response = await self._open(path, headers or {}, timeout)
            except UnauthorizedError:
                if self.renew_token is None:
                    raise
                await self.renew_token()
                response = await self._open(path, headers or {}, timeout)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise _unavailable(error) from error

    async def _open(
        self, path: str, headers: Mapping[str, str], timeout: httpx.Timeout
    ) -> httpx.Response:
        authorized = {**headers, "Authorization": f"Bearer {self.token}"}
        request = self._http.build_request("GET", path, headers=authorized, timeout=timeout)
        response = await self._http.send(request, stream=True)
        if not response.is_success:
            await response.aread()
            await response.aclose()
            raise error_of(response)
        return response

    async def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
        *,
        authenticated: bool,
    ) -> Answer:
        if authenticated:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            try:
                return await self._once(method, path, content, headers)
            except _RETRIED_ERRORS:
                # The server may close an idle connection just while we use it. Every call of a
                # node may be repeated, so one second try on a fresh connection is safe.
                return await self._once(method, path, content, headers)
        except httpx.HTTPError as error:
            raise _unavailable(error) from error

    async def _once(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> Answer:
        stopwatch = _Stopwatch(self._monotonic_ms)
        request = self._http.build_request(
            method, path, content=content, headers=headers, extensions={"trace": stopwatch.trace}
        )
        response = await self._http.send(request, stream=True)
        try:
            received = bytearray()
            async for piece in response.aiter_bytes():
                received += piece
                if len(received) > ANSWER_BYTES_MAX:
                    raise UnavailableError(reason="the answer is larger than any answer may be")
        finally:
            await response.aclose()
        response = httpx.Response(
            response.status_code, headers=response.headers, content=bytes(received)
        )
        if not response.is_success:
            raise error_of(response)
        return Answer(
            status=response.status_code,
            content=bytes(received),
            headers=response.headers,
            round_trip_ms=stopwatch.elapsed_ms,
        )


class _Stopwatch:
    """Times one exchange without the making of its connection."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self._monotonic_ms = monotonic_ms
        self._sent_ms = monotonic_ms()
        self._answered_ms = self._sent_ms

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self._sent_ms = self._monotonic_ms()
        elif event.endswith("receive_response_headers.complete"):
            self._answered_ms = self._monotonic_ms()

    @property
    def elapsed_ms(self) -> float:
        return float(max(0, self._answered_ms - self._sent_ms))


def _unavailable(error: httpx.HTTPError) -> UnavailableError:
    text = str(error) or type(error).__name__
    return UnavailableError(reason=f"no connection to the control plane: {text}")
