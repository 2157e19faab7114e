"""What a submitter imports: `Client`, `AsyncClient`, task handles, typed results and errors."""

from ambient_vcp.sdk.client import AsyncClient, AsyncTaskHandle, Client, TaskHandle
from ambient_vcp.sdk.errors import (
    BadRequest,
    ClientError,
    ConnectionFailed,
    LoginNeeded,
    NoEndpoint,
    RequestRefused,
    ServerError,
    TaskCancelled,
    TaskFailed,
    TimedOut,
)
from ambient_vcp.sdk.request import TaskRequest
from ambient_vcp.sdk.results import (
    BytesResult,
    Event,
    NodeInfo,
    ProgramResult,
    ScalarResult,
    TaskInfo,
)

__all__ = [
    "AsyncClient",
    "AsyncTaskHandle",
    "BadRequest",
    "BytesResult",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Event",
    "LoginNeeded",
    "NoEndpoint",
    "NodeInfo",
    "ProgramResult",
    "RequestRefused",
    "ScalarResult",
    "ServerError",
    "TaskCancelled",
    "TaskFailed",
    "TaskHandle",
    "TaskInfo",
    "TaskRequest",
    "TimedOut",
]
