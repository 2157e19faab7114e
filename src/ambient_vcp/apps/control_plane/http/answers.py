"""HTTP answers: JSON, errors, and translation of what use cases return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from starlette.responses import Response

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.ports.store import NodeEvent, NodeLease
from ambient_vcp.wire.http.errors import error_answer
from ambient_vcp.wire.http.fields import rfc3339
from ambient_vcp.wire.task_spec import encode_spec

_ENCODER = msgspec.json.Encoder(enc_hook=str)
JSON_TYPE = "application/json"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def encode(value: Any) -> bytes:
    return _ENCODER.encode(value)


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return raw_json(encode(value), status, headers)


def raw_json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {**HEADERS, **(headers or {})}, JSON_TYPE)


def error_response(error: VcpError, request_id: str) -> Response:
    headers = {"X-Request-Id": request_id}
    if error.http_status == 401:  # noqa: PLR2004 - RFC 9110 wants the header with this status
        headers["WWW-Authenticate"] = "Bearer"
    if error.retryable:
        headers["Retry-After"] = "1"
    return json_answer(error_answer(error, request_id), error.http_status, headers)


@dataclass(eq=False, kw_only=True)
class BodyTooLargeError(VcpError):
    code: ClassVar[str] = "body_too_large"
    http_status: ClassVar[int] = 413
    maximum: int

    def __str__(self) -> str:
        return f"the body is larger than {self.maximum} bytes"

    @property
    def hint(self) -> str:
        return "Send large modules and inputs as blobs: POST /api/v1/blobs/uploads."


@dataclass(eq=False, kw_only=True)
class MediaTypeError(VcpError):
    code: ClassVar[str] = "unsupported_media_type"
    http_status: ClassVar[int] = 415
    expected: str

    def __str__(self) -> str:
        return f"the body must be {self.expected}"

    @property
    def hint(self) -> str:
        return f"Send the header Content-Type: {self.expected}."


@dataclass(eq=False, kw_only=True)
class RangeError(VcpError):
    code: ClassVar[str] = "range_not_satisfiable"
    http_status: ClassVar[int] = 416
    size_bytes: int

    def __str__(self) -> str:
        return f"the range lies outside of the {self.size_bytes} bytes"


@dataclass(eq=False, kw_only=True)
class UnknownRouteError(VcpError):
    code: ClassVar[str] = "not_found"
    http_status: ClassVar[int] = 404
    route: str

    def __str__(self) -> str:
        return f"there is no {self.route}"

    @property
    def hint(self) -> str:
        return "GET /api-docs/openapi.json lists every operation."


@dataclass(eq=False, kw_only=True)
class RateLimitedError(VcpError):
    code: ClassVar[str] = "rate_limited"
    http_status: ClassVar[int] = 429
    retryable: ClassVar[bool] = True
    what: str

    def __str__(self) -> str:
        return self.what

    @property
    def hint(self) -> str:
        return "Wait a moment and try again."


@dataclass(eq=False, kw_only=True)
class InternalError(VcpError):
    """Our bug. The log has the details under the request id; the answer has none."""

    def __str__(self) -> str:
        return "something went wrong on our side"

    @property
    def hint(self) -> str:
        return "Report the request id to the operator."


def lease_info(lease: NodeLease, now_ms: int) -> dict[str, Any]:
    ref = lease.lease
    return {
        "task_id": ref.task_id,
        "slot": ref.slot,
        "epoch": ref.epoch,
        "claimed": lease.claimed,
        "expires_at_ms": lease.expires_at_ms,
        "expires_in_ms": max(0, lease.expires_at_ms - now_ms),
    }


def assignment(lease: NodeLease, now_ms: int) -> dict[str, Any]:
    ref = lease.lease
    return {
        "task_id": ref.task_id,
        "slot": ref.slot,
        "epoch": ref.epoch,
        "purpose": lease.purpose,
        "expires_at_ms": lease.expires_at_ms,
        "expires_in_ms": max(0, lease.expires_at_ms - now_ms),
        "execution_ms": lease.spec.timeouts.execution_ms,
        "spec": encode_spec(lease.spec),
    }


def activity(event: NodeEvent) -> dict[str, Any]:
    return {
        "event": event.kind,
        "at_ms": event.at_ms,
        "cleared_at": rfc3339(event.at_ms),
        "task_id": event.task_id,
        "health_score": event.health_percent,
        "active_tasks": event.active_tasks,
        "fields": event.fields,
    }
