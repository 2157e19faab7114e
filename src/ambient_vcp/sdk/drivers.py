"""The two drivers perform an operation's effects over httpx: one blocks, one is asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from ambient_vcp.sdk.effects import (
    Blocking,
    Effect,
    Emit,
    NextLine,
    Now,
    OpenLines,
    Operation,
    Pause,
    Reply,
    Request,
)
from ambient_vcp.sdk.errors import ConnectionFailed

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Finished(Exception):  # noqa: N818 - control flow between `_advance` and the drivers
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def _advance(operation: Operation[Any], answer: Any, error: Exception | None) -> Effect:
    try:
        return operation.throw(error) if error is not None else operation.send(answer)
    except StopIteration as stop:
        raise _Finished(stop.value) from None


def _http_arguments(endpoint: str) -> dict[str, Any]:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    # A proxy of the environment cannot reach this machine's own loopback for us.
    return {
        "base_url": f"{endpoint.rstrip('/')}/api/v1",
        "trust_env": host not in LOOPBACK,
        # Loading the certificates takes longer than a request; without TLS nobody reads them.
        "verify": parts.scheme != "http",
        "follow_redirects": False,
    }


def _request_arguments(request: Request, *, read_s: float | None = None) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query) or None,
        "headers": dict(request.headers),
        "content": request.content,
        "timeout": httpx.Timeout(
            request.timeout_s if read_s is None else read_s,
            connect=min(CONNECT_TIMEOUT_S, request.timeout_s),
        ),
    }


def _reply(response: httpx.Response, content: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status_code, headers=headers, content=content)


def _broken(endpoint: str, error: Exception) -> ConnectionFailed:
    what = str(error) or type(error).__name__
    return ConnectionFailed(f"no connection to {endpoint}: {what}")


class BlockingDriver:
    """Performs operations on the calling thread."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._http = httpx.Client(**_http_arguments(endpoint))

    def run(self, operation: Operation[T]) -> T:
        """The operation's value. What it emits is dropped."""
        steps = self._steps(operation)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return cast("T", stop.value)

    def iterate(self, operation: Operation[Any]) -> Iterator[Any]:
        """What the operation emits."""
        yield from self._steps(operation)

    def close(self) -> None:
        self._http.close()

    def _steps(self, operation: Operation[Any]) -> Any:
        lines = _BlockingLines(self._http)
        answer: Any = None
        error: Exception | None = None
        try:
            while True:
                effect = _advance(operation, answer, error)
                answer, error = None, None
                try:
                    if isinstance(effect, Emit):
                        yield effect.item
                    else:
                        answer = self._perform(effect, lines)
                except Exception as failed:  # noqa: BLE001 - the operation decides what it means
                    error = failed
        except _Finished as finished:
            return finished.value
        finally:
            operation.close()
            lines.close()

    def _perform(self, effect: Effect, lines: _BlockingLines) -> Any:
        match effect:
            case Pause(seconds):
                return time.sleep(seconds)
            case Now():
                return time.monotonic()
            case Blocking(call):
                return call()
        try:
            match effect:
                case Request():
                    response = self._http.request(**_request_arguments(effect))
                    return _reply(response, response.content)
                case OpenLines():
                    return lines.open(effect)
                case NextLine():
                    return lines.next()
        except (httpx.TransportError, httpx.InvalidURL) as failed:
            # The transport's own chain of causes says nothing more, at great length.
            raise _broken(self._endpoint, failed) from None
        raise AssertionError(effect)


class _BlockingLines:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._lines: Iterator[str] = iter(())

    def open(self, effect: OpenLines) -> Reply:
        self.close()
        arguments = _request_arguments(effect.request, read_s=effect.silence_s)
        timeout = arguments.pop("timeout")
        request = self._http.build_request(**arguments, timeout=timeout)
        self._response = self._http.send(request, stream=True)
        content = b"" if self._response.is_success else self._response.read()
        self._lines = self._response.iter_lines() if self._response.is_success else iter(())
        return _reply(self._response, content)

    def next(self) -> str | None:
        return next(self._lines, None)

    def close(self) -> None:
        if self._response is not None:
            with suppress(httpx.TransportError):
                self._response.close()
            self._response = None


class AsyncDriver:
    """Performs operations on the running event loop."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._http = httpx.AsyncClient(**_http_arguments(endpoint))

    async def run(self, operation: Operation[T]) -> T:
        """The operation's value. What it emits is dropped."""
        answer: list[T] = []
        async for _ in self._steps(operation, answer):
            pass
        return answer[0]

    async def iterate(self, operation: Operation[Any]) -> AsyncIterator[Any]:
        """What the operation emits."""
        async for item in self._steps(operation, []):
            yield item

    async def close(self) -> None:
        await self._http.aclose()

    async def _steps(self, operation: Operation[Any], result: list[Any]) -> AsyncIterator[Any]:
        lines = _AsyncLines(self._http)
        answer: Any = None
        error: Exception | None = None
        try:
            while True:
                effect = _advance(operation, answer, error)
                answer, error = None, None
                try:
                    if isinstance(effect, Emit):
                        yield effect.item
                    else:
                        answer = await self._perform(effect, lines)
                except Exception as failed:  # noqa: BLE001 - the operation decides what it means
                    error = failed
        except _Finished as finished:
            result.append(finished.value)
        finally:
            operation.close()
            await lines.close()

    async def _perform(self, effect: Effect, lines: _AsyncLines) -> Any:
        match effect:
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Now():
                return time.monotonic()
            case Blocking(call):
                return await asyncio.to_thread(call)
        try:
            match effect:
                case Request():
                    response = await self._http.request(**_request_arguments(effect))
                    return _reply(response, response.content)
                case OpenLines():
                    return await lines.open(effect)
                case NextLine():
                    return await lines.next()
        except (httpx.TransportError, httpx.InvalidURL) as failed:
            # The transport's own chain of causes says nothing more, at great length.
            raise _broken(self._endpoint, failed) from None
        raise AssertionError(effect)


class _AsyncLines:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._lines: AsyncIterator[str] | None = None

    async def open(self, effect: OpenLines) -> Reply:
        await self.close()
        arguments = _request_arguments(effect.request, read_s=effect.silence_s)
        timeout = arguments.pop("timeout")
        request = self._http.build_request(**arguments, timeout=timeout)
        self._response = await self._http.send(request, stream=True)
        ok = self._response.is_success
        self._lines = self._response.aiter_lines() if ok else None
        return _reply(self._response, b"" if ok else await self._response.aread())

    async def next(self) -> str | None:
        return None if self._lines is None else await anext(self._lines, None)

    async def close(self) -> None:
        if self._response is not None:
            with suppress(httpx.TransportError):
                await self._response.aclose()
            self._response = None
