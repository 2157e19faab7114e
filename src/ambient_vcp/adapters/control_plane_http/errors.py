"""Answers of the control plane that are no success, as errors of the domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import httpx
import msgspec

from ambient_vcp.domain.errors import UnauthorizedError, UnavailableError, VcpError

_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_MESSAGE_LENGTH_MAX = 400


@dataclass(eq=False, kw_only=True)
class RefusedError(VcpError):
    """The control plane understood the request and said no; repeating it would not help."""

    code: ClassVar[str] = "refused_by_control_plane"
    http_status: ClassVar[int] = 502
    status: int
    reason_code: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"the control plane refused ({self.status} {self.reason_code}): {self.message}"

    @property
    def hint(self) -> str:
        return self.advice


def error_of(response: httpx.Response) -> VcpError:
    """The error a read response stands for. Text of other servers on the way is kept, shortened."""
    body = _body(response)
    message = str(body.get("message") or response.reason_phrase)[:_MESSAGE_LENGTH_MAX]
    status = response.status_code
    if status in _RETRYABLE_STATUSES or body.get("retryable") is True:
        return UnavailableError(reason=f"the control plane answered {status}: {message}")
    if status == httpx.codes.UNAUTHORIZED:
        return UnauthorizedError(reason=message)
    return RefusedError(
        status=status,
        reason_code=str(body.get("code") or "unknown")[:64],
        message=message,
        advice=str(body.get("hint") or "")[:_MESSAGE_LENGTH_MAX],
    )


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return {}
