"""The cluster's figures, and bytes to measure a line with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from starlette.responses import Response, StreamingResponse

from ambient_vcp.apps.control_plane.http.answers import json_answer
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who, body_stream
from ambient_vcp.apps.control_plane.http.ranges import BYTES_TYPE
from ambient_vcp.services import views
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.public import ClusterStats, ProbeTaken

PROBE_BYTES_MAX = 4 * 1024 * 1024
PIECE = bytes(64 * 1024)
table = Table("cluster")


class ProbeQuery(Shape, frozen=True):
    count: Annotated[int, msgspec.Meta(ge=0, le=PROBE_BYTES_MAX)] = msgspec.field(name="bytes")


@table.add(
    "GET",
    "/cluster/stats",
    "Counts and averages of what is there now",
    who=Who.ACCOUNT,
    answers={200: ClusterStats},
)
async def stats(call: Call[None]) -> Response:
    found = await call.plane.store.read(views.cluster)
    health = found.average_health
    return json_answer(
        {
            "total_nodes": found.nodes,
            "healthy_nodes": found.healthy,
            "total_tasks": sum(found.tasks.values()),
            "completed_tasks": found.tasks.get("completed", 0),
            "failed_tasks": found.tasks.get("failed", 0),
            "avg_health_score": None if health is None else round(health * 100, 2),
            "total_compute_capacity": found.capacity,
            "tasks_by_state": found.tasks,
        }
    )


@table.add(
    "GET",
    "/probe",
    "That many bytes",
    who=Who.NODE,
    query=ProbeQuery,
    answers={200: None},
    media_out=BYTES_TYPE,
    errors=(400,),
)
async def probe(call: Call[None]) -> Response:
    query: ProbeQuery = call.query
    headers = {"Content-Length": str(query.count), "Cache-Control": "no-store"}
    return StreamingResponse(_zeros(query.count), headers=headers, media_type=BYTES_TYPE)


async def _zeros(count: int) -> AsyncIterator[bytes]:
    while count > 0:
        yield PIECE[:count]
        count -= len(PIECE)


@table.add(
    "POST",
    "/probe",
    "Takes up to 4 MiB",
    who=Who.NODE,
    media_in=BYTES_TYPE,
    answers={200: ProbeTaken},
    errors=(413,),
)
async def take_probe(call: Call[None]) -> Response:
    received = 0
    async for chunk in body_stream(call.request, PROBE_BYTES_MAX):
        received += len(chunk)
    return json_answer({"received_bytes": received})
