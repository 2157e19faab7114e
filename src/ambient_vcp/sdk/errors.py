"""What a client call can fail with: each error has a code and a hint, and says if it may pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Base of every error of this package.

    ``code`` is stable and machine-readable, ``hint`` says what to do next, ``retryable`` whether
    the same call may succeed later, ``request_id`` names the request in the control plane's log.
    """

    code = "client_error"
    hint = ""
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        request_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = type(self).hint if hint is None else hint
        self.retryable = type(self).retryable if retryable is None else retryable
        self.request_id = request_id
        self.details = dict(details or {})


class ConnectionFailed(ClientError):  # noqa: N818 - the public name says what happened
    """The control plane could not be reached, or the connection broke."""

    code = "connection_failed"
    hint = "Check the address of your profile, and that the control plane runs (`ambient-vcp up`)."
    retryable = True


class NoEndpoint(ConnectionFailed):
    """Nothing says which control plane to talk to."""

    code = "no_endpoint"
    hint = "Start one with `ambient-vcp up`, or set AMBIENT_VCP_ENDPOINT, or save a profile."
    retryable = False


class LoginNeeded(ClientError):  # noqa: N818 - the public name says what happened
    """No token, or one that is not accepted any more."""

    code = "unauthorized"
    hint = "Log in with `ambient-vcp auth login`, or set AMBIENT_VCP_TOKEN."


class ServerError(ClientError):
    """The control plane answered with an error. ``status`` is the HTTP status."""

    code = "internal_error"

    def __init__(self, message: str, *, status: int, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class RequestRefused(ServerError):  # noqa: N818 - the public name says what happened
    """The request breaks a rule; sending it again unchanged is of no use."""


class BadRequest(ClientError, ValueError):  # noqa: N818 - the public name says what happened
    """The call's own arguments contradict each other or name nothing."""

    code = "bad_request"


class TimedOut(ClientError):  # noqa: N818 - the public name says what happened
    """The time given to the call is over; the task goes on."""

    code = "timed_out"
    retryable = True


class TaskFailed(ClientError):  # noqa: N818 - the public name says what happened
    """The task ended without a result. ``reason`` is the machine-readable cause."""

    code = "task_failed"

    def __init__(
        self, task_id: str, reason: str, detail: str, *, receipt_id: str | None = None
    ) -> None:
        super().__init__(
            f"task {task_id} failed: {reason}" + (f" ({detail})" if detail else ""),
            hint=f"See every attempt with `ambient-vcp task show {task_id}`.",
            details={"task_id": task_id, "reason": reason, "detail": detail},
        )
        self.task_id = task_id
        self.reason = reason
        self.detail = detail
        self.receipt_id = receipt_id


class TaskCancelled(TaskFailed):
    """The task was cancelled before it had a result."""

    code = "task_cancelled"
