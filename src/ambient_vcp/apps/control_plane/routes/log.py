"""The transparency log, for anybody to check."""

from __future__ import annotations

import base64
from typing import Annotated

import msgspec
from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import json_answer
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.domain.log.merkle import SIZE_MAX
from ambient_vcp.ports.store import Leaf, LogHead, Transaction
from ambient_vcp.services.record import log
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.public import (
    CheckpointAnswer,
    ConsistencyAnswer,
    InclusionAnswer,
    LeavesAnswer,
)

LEAVES_MAX = 1_000
Position = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]
table = Table("log")


class LeavesQuery(Shape, frozen=True):
    start: Position = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=LEAVES_MAX)] = 100


class InclusionQuery(Shape, frozen=True):
    index: Position
    size: Position


class ConsistencyQuery(Shape, frozen=True):
    first: Position
    second: Position


@table.add(
    "GET",
    "/log/checkpoint",
    "The newest signed checkpoint",
    who=Who.PUBLIC,
    answers={200: CheckpointAnswer},
)
async def checkpoint(call: Call[None]) -> Response:
    head = await call.plane.store.read(lambda tx: tx.log.head())
    return json_answer({"size": head.size, "checkpoint": head.checkpoint})


@table.add(
    "GET",
    "/log/leaves",
    "Leaves in order",
    who=Who.PUBLIC,
    query=LeavesQuery,
    answers={200: LeavesAnswer},
    errors=(400,),
)
async def leaves(call: Call[None]) -> Response:
    query: LeavesQuery = call.query

    def work(tx: Transaction) -> tuple[list[Leaf], LogHead]:
        return tx.log.leaves(query.start, query.limit), tx.log.head()

    found, head = await call.plane.store.read(work)
    after = query.start + len(found)
    return json_answer(
        {
            "leaves": [
                {
                    "index": leaf.index,
                    "kind": leaf.kind,
                    "at_ms": leaf.at_ms,
                    "data_b64": base64.b64encode(leaf.data).decode(),
                }
                for leaf in found
            ],
            "next": after if found and after < head.size else None,
        }
    )


@table.add(
    "GET",
    "/log/inclusion",
    "Proof that a leaf is in the log",
    who=Who.PUBLIC,
    query=InclusionQuery,
    answers={200: InclusionAnswer},
    errors=(400,),
)
async def inclusion(call: Call[None]) -> Response:
    query: InclusionQuery = call.query
    path = await call.plane.store.read(
        lambda tx: log.inclusion(tx, index=query.index, size=query.size)
    )
    return json_answer(
        {"index": query.index, "size": query.size, "path": [step.hex() for step in path]}
    )


@table.add(
    "GET",
    "/log/consistency",
    "Proof that one tree grew out of another",
    who=Who.PUBLIC,
    query=ConsistencyQuery,
    answers={200: ConsistencyAnswer},
    errors=(400,),
)
async def consistency(call: Call[None]) -> Response:
    query: ConsistencyQuery = call.query
    path = await call.plane.store.read(
        lambda tx: log.consistency(tx, first=query.first, second=query.second)
    )
    return json_answer(
        {"first": query.first, "second": query.second, "path": [step.hex() for step in path]}
    )
