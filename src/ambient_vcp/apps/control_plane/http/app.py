"""The ASGI application: every table's operations inside FastAPI, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ambient_vcp.apps.control_plane.http.answers import InternalError, error_response, json_answer
from ambient_vcp.apps.control_plane.http.dispatch import Dispatch
from ambient_vcp.apps.control_plane.http.endpoint import Endpoint, Operation
from ambient_vcp.apps.control_plane.http.gate import Gate, translate
from ambient_vcp.apps.control_plane.http.openapi import document
from ambient_vcp.apps.control_plane.plane import ControlPlane
from ambient_vcp.apps.control_plane.routes import (
    accounts,
    agent,
    blobs,
    cluster,
    enrolment,
    log,
    nodes,
    public,
    streams,
    tasks,
)
from ambient_vcp.domain.errors import VcpError

BASE = "/api/v1"
OPENAPI_PATH = "/api-docs/openapi.json"
TABLES = (agent, tasks, enrolment, nodes, blobs, streams, accounts, cluster, public, log)
"""In the order in which routes are tried: the hottest first."""


def operations() -> list[Operation]:
    return [operation for module in TABLES for operation in module.table.operations]


def build_app(plane: ControlPlane) -> Gate:
    """Put the routes together. The plane's loops run while the application does."""
    app = FastAPI(
        title="Ambient VCP",
        version=plane.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(plane),
        redirect_slashes=False,
    )
    for error in (VcpError, HTTPException, Exception):
        app.add_exception_handler(error, _answer_error)
    dispatch = Dispatch(app)
    for operation in operations():
        endpoint = Endpoint(operation, lambda: plane)
        dispatch.add(operation.method, BASE + operation.path, endpoint)
        app.router.routes.append(Route(BASE + operation.path, endpoint, methods=[operation.method]))
    spec = document(operations(), base=BASE, version=plane.version)

    async def openapi(_: Request) -> Response:
        return json_answer(spec)

    app.router.routes.append(Route(OPENAPI_PATH, openapi, methods=["GET"]))
    settings = plane.settings
    return Gate(
        dispatch,
        entropy=plane.entropy,
        requests_max=settings.requests_max,
        access_log=settings.access_log,
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    request_id = str(request.scope["vcp_request_id"])
    route = f"{request.method} {request.url.path[:200]}"
    if isinstance(error, (VcpError, HTTPException)):
        known = translate(error, request_id, started=False, route=route)
        if known is not None:
            return error_response(known, request_id)
    # Anything else is raised again behind this answer; the gate logs it.
    return error_response(InternalError(), request_id)


def _lifespan(plane: ControlPlane) -> Any:
    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        plane.work.start()
        structlog.get_logger().info("started", control_plane_id=plane.id, version=plane.version)
        try:
            yield
        finally:
            plane.fanout.close()
            await plane.work.stop()
            plane.passwords.close()
            await plane.store.close()
            structlog.get_logger().info("stopped")

    return run
