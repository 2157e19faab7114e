"""What anybody may ask."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import json_answer
from ambient_vcp.apps.control_plane.http.endpoint import BODY_BYTES_MAX, Call, Table, Who
from ambient_vcp.apps.control_plane.plane import ControlPlane
from ambient_vcp.apps.control_plane.routes.blobs import CHUNK_BYTES_MAX
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.tasks.policy import INPUT_BYTES_MAX, MODULE_BYTES_MAX
from ambient_vcp.domain.tasks.spec import OFFERED_CLASSES
from ambient_vcp.wire.http.fields import rfc3339
from ambient_vcp.wire.http.leases import BATCH_MAX
from ambient_vcp.wire.http.public import AboutAnswer, HealthAnswer, ProgramsAnswer
from ambient_vcp.wire.http.tasks import BULK_MAX

table = Table("public")


@table.add(
    "GET",
    "/health",
    "Is every part at work?",
    who=Who.PUBLIC,
    answers={200: HealthAnswer, 503: HealthAnswer},
)
async def health(call: Call[None]) -> Response:
    plane = call.plane
    checks = {"database": await _database(plane), "blobs": await _blobs(plane)}
    for name, found in plane.work.health().items():
        checks[name] = {"status": found.status, "detail": found.detail, "lag_ms": found.lag_ms}
    healthy = all(check["status"] == "ok" for check in checks.values())
    answer = {
        "status": "healthy" if healthy else "degraded",
        "version": plane.version,
        "timestamp": rfc3339(plane.clock.now_ms()),
        "checks": checks,
    }
    return json_answer(answer, 200 if healthy else 503)


async def _database(plane: ControlPlane) -> dict[str, Any]:
    try:
        await plane.store.read(lambda tx: tx.now_ms())
    except VcpError as error:
        return {"status": "degraded", "detail": str(error), "lag_ms": None}
    return {"status": "ok", "detail": "", "lag_ms": None}


async def _blobs(plane: ControlPlane) -> dict[str, Any]:
    try:
        await plane.blobs.check()
    except VcpError as error:
        return {"status": "degraded", "detail": str(error), "lag_ms": None}
    return {"status": "ok", "detail": "", "lag_ms": None}


@table.add(
    "GET",
    "/control-plane",
    "Who this is and what it allows",
    who=Who.PUBLIC,
    answers={200: AboutAnswer},
)
async def about(call: Call[None]) -> Response:
    plane = call.plane
    settings = plane.settings
    return json_answer(
        {
            "control_plane_id": plane.id,
            "public_key": plane.signer.public_key,
            "version": plane.version,
            "cluster": settings.cluster,
            "visibility": settings.visibility,
            "profile": settings.profile,
            "strategy": settings.strategy,
            "limits": {
                "module_bytes_max": MODULE_BYTES_MAX,
                "input_bytes_max": INPUT_BYTES_MAX,
                "body_bytes_max": BODY_BYTES_MAX,
                "upload_chunk_bytes_max": CHUNK_BYTES_MAX,
                "bulk_tasks_max": BULK_MAX,
                "results_max": BATCH_MAX,
            },
            "assurance_classes": sorted(OFFERED_CLASSES),
            "lease_ms": settings.lease_ms,
            "heartbeat_ms": settings.heartbeat_ms,
        }
    )


@table.add(
    "GET",
    "/programs",
    "The catalogue of named programs",
    who=Who.PUBLIC,
    answers={200: ProgramsAnswer},
)
async def programs(call: Call[None]) -> Response:
    return json_answer({"programs": call.plane.programs.about})
