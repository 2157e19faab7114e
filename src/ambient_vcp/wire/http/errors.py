"""The one shape of every error answer."""

from __future__ import annotations

from typing import Any

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.wire.fields import Shape


class ErrorAnswer(Shape, frozen=True):
    """``error`` and ``code`` are the same stable word; ``hint`` tells a person what to do."""

    error: str
    code: str
    message: str
    hint: str
    retryable: bool
    request_id: str
    details: dict[str, Any]


def error_answer(error: VcpError, request_id: str) -> ErrorAnswer:
    return ErrorAnswer(
        error=error.code,
        code=error.code,
        message=str(error),
        hint=error.hint,
        retryable=error.retryable,
        request_id=request_id,
        details=error.details(),
    )
