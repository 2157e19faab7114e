"""Nodes as their owners, everybody else and the operator see them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import activity, json_answer
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.domain.errors import ForbiddenError, NotFoundError
from ambient_vcp.domain.ids import AccountId, NodeId
from ambient_vcp.domain.nodes.capability import (
    NODE_ID_PATTERN,
)
from ambient_vcp.domain.nodes.node import Node, NodeStatus
from ambient_vcp.ports.store import NodeEvent, Transaction
from ambient_vcp.services import accounts
from ambient_vcp.services.machines import nodes
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.node_info import node_info
from ambient_vcp.wire.http.nodes import (
    ActivityAnswer,
    NodeInfo,
    NodeMessage,
    NodePage,
    NodeRejected,
)

ACTIVITY_MAX = 50
table = Table("nodes")


class NodesQuery(Shape, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    mine: bool = False


def node_id_of(call: Call[Any]) -> NodeId:
    """The node id in the path; NotFoundError for what cannot be one."""
    text = call.path("node_id")
    if not NODE_ID_PATTERN.fullmatch(text):
        raise NotFoundError(kind="node", id=text[:64])
    return NodeId(text)


def node_answer(call: Call[Any], node: Node, now_ms: int) -> dict[str, Any]:
    return node_info(node, now_ms, for_owner=node.owner_id == call.caller_account)


@table.add(
    "GET",
    "/nodes",
    "Nodes, newest first",
    who=Who.ACCOUNT,
    query=NodesQuery,
    answers={200: NodePage},
    errors=(400,),
)
async def page(call: Call[None]) -> Response:
    query: NodesQuery = call.query
    owner_id = call.account_id if query.mine else None

    def work(tx: Transaction) -> dict[str, Any]:
        found, cursor = tx.nodes.page(owner_id=owner_id, cursor=query.cursor, at_most=query.limit)
        now_ms = tx.now_ms()
        return {
            "nodes": [node_answer(call, node, now_ms) for node in found],
            "next_cursor": cursor,
        }

    return json_answer(await call.plane.store.read(work))


@table.add(
    "GET", "/nodes/{node_id}", "One node", who=Who.ACCOUNT, answers={200: NodeInfo}, errors=(404,)
)
async def one(call: Call[None]) -> Response:
    node_id = node_id_of(call)

    def work(tx: Transaction) -> dict[str, Any]:
        return node_answer(call, nodes.the_node(tx, node_id), tx.now_ms())

    return json_answer(await call.plane.store.read(work))


async def _remove(call: Call[None], status: NodeStatus) -> NodeId:
    plane, node_id = call.plane, node_id_of(call)
    cut = await plane.store.transact(
        lambda tx: nodes.remove(
            tx,
            node_id=node_id,
            owner_id=call.account_id,
            status=status,
            entropy=plane.entropy,
        )
    )
    plane.work.leases_cut(cut)
    plane.fanout.end_node(node_id)
    plane.work.slots_opened()
    plane.work.tasks_ended()
    return node_id


@table.add(
    "DELETE",
    "/nodes/{node_id}",
    "Delete a node; its leases are given back",
    who=Who.ACCOUNT,
    answers={200: NodeMessage},
    errors=(404,),
)
async def delete(call: Call[None]) -> Response:
    node_id = await _remove(call, NodeStatus.DELETED)
    return json_answer({"message": "the node was deleted", "node_id": node_id})


@table.add(
    "POST",
    "/nodes/{node_id}/reject",
    "Reject a node for good",
    who=Who.ACCOUNT,
    answers={200: NodeRejected},
    errors=(404,),
)
async def reject(call: Call[None]) -> Response:
    node_id = await _remove(call, NodeStatus.REJECTED)
    answer = {"message": "the node was rejected", "node_id": node_id, "status": "rejected"}
    return json_answer(answer)


async def _drain(call: Call[None], *, draining: bool) -> Response:
    plane, node_id = call.plane, node_id_of(call)
    if call.caller_node is not None and call.caller_node != node_id:
        raise NotFoundError(kind="node", id=node_id)

    def work(tx: Transaction) -> dict[str, Any]:
        if call.caller_account is not None:
            nodes.own_node(tx, node_id, call.caller_account)
        actor = call.caller_account or node_id
        node = nodes.drain(tx, node_id=node_id, actor=actor, draining=draining)
        return node_answer(call, node, tx.now_ms())

    answer = await plane.store.transact(work)
    if draining:
        plane.fanout.drain(node_id)
    else:
        plane.work.slots_opened()
    return json_answer(answer)


@table.add(
    "POST",
    "/nodes/{node_id}/drain",
    "Give it no new work",
    who=Who.EITHER,
    answers={200: NodeInfo},
    errors=(403, 404),
)
async def drain(call: Call[None]) -> Response:
    return await _drain(call, draining=True)


@table.add(
    "POST",
    "/nodes/{node_id}/undrain",
    "Give it work again",
    who=Who.EITHER,
    answers={200: NodeInfo},
    errors=(403, 404),
)
async def undrain(call: Call[None]) -> Response:
    return await _drain(call, draining=False)


async def _trust(call: Call[None], *, trusted: bool) -> Response:
    node_id = node_id_of(call)

    def work(tx: Transaction) -> dict[str, Any]:
        # The token's word is not enough here: the role may have been taken away since.
        account = accounts.the_account(tx, AccountId(call.account_id))
        if account.role != accounts.ROLE_ADMIN:
            raise ForbiddenError(reason="only an administrator decides whom to trust")
        node = nodes.trust(tx, node_id=node_id, actor=account.id, trusted=trusted)
        return node_answer(call, node, tx.now_ms())

    answer = await call.plane.store.transact(work)
    call.plane.work.slots_opened()
    return json_answer(answer)


@table.add(
    "POST",
    "/nodes/{node_id}/trust",
    "Let its re-executions decide disputes (administrators)",
    who=Who.ACCOUNT,
    answers={200: NodeInfo},
    errors=(403, 404),
)
async def trust(call: Call[None]) -> Response:
    return await _trust(call, trusted=True)


@table.add(
    "POST",
    "/nodes/{node_id}/untrust",
    "Take that back (administrators)",
    who=Who.ACCOUNT,
    answers={200: NodeInfo},
    errors=(403, 404),
)
async def untrust(call: Call[None]) -> Response:
    return await _trust(call, trusted=False)


@table.add(
    "GET",
    "/nodes/{node_id}/heartbeat/activity",
    "The newest 50 entries of a node's history",
    who=Who.ACCOUNT,
    answers={200: ActivityAnswer},
    errors=(404,),
)
async def history(call: Call[None]) -> Response:
    node_id = node_id_of(call)

    def work(tx: Transaction) -> list[NodeEvent]:
        nodes.own_node(tx, node_id, call.account_id)
        return tx.nodes.events(node_id, ACTIVITY_MAX)

    events = await call.plane.store.read(work)
    return json_answer({"events": [activity(event) for event in events]})
