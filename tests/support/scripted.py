"""Plays client operations through without a network: each effect gets a scripted answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ambient_vcp.sdk.effects import (
    Blocking,
    Emit,
    NextLine,
    Now,
    OpenLines,
    Operation,
    Pause,
    Reply,
    Request,
)
from ambient_vcp.sdk.session import Session


def reply(status: int = 200, body: Any = None, **headers: str) -> Reply:
    content = b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=named, content=content)


def error(status: int, code: str, *, retryable: bool = False) -> Reply:
    body = {"code": code, "message": f"it is {code}", "hint": "do this", "retryable": retryable}
    return reply(status, {**body, "request_id": "r-1", "details": {"where": "x"}})


class World:
    """Performs effects: ``answer`` replies to requests, time passes only in pauses."""

    def __init__(self, answer: Callable[[Request], Reply | Exception]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.emitted: list[Any] = []
        self.lines: list[str | Exception] = []
        self.now = 0.0

    def run(self, operation: Operation[Any]) -> Any:
        value: Any = None
        failure: Exception | None = None
        while True:
            try:
                effect = operation.throw(failure) if failure else operation.send(value)
            except StopIteration as stop:
                return stop.value
            value, failure = None, None
            try:
                value = self.perform(effect)
            except Exception as failed:  # noqa: BLE001 - as the drivers do
                failure = failed

    def perform(self, effect: Any) -> Any:
        match effect:
            case Request():
                return self.reply_to(effect)
            case OpenLines():
                return self.reply_to(effect.request)
            case NextLine():
                line = self.lines.pop(0) if self.lines else None
                if isinstance(line, Exception):
                    raise line
                return line
            case Pause(seconds):
                self.pauses.append(seconds)
                self.now += seconds
            case Now():
                return self.now
            case Blocking(call):
                return call()
            case Emit(item):
                self.emitted.append(item)
        return None

    def reply_to(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def script(*answers: Reply | Exception) -> World:
    """Answers in order, whatever is asked."""
    left = list(answers)
    return World(lambda _request: left.pop(0))


def session(**fields: Any) -> Session:
    return Session(**{"endpoint": "http://host", "token": "t0", **fields})
