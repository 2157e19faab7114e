"""What nodes do: beat, claim, renew, hand in. The hottest routes there are."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import assignment, json_answer, lease_info
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.apps.control_plane.routes.nodes import node_id_of
from ambient_vcp.apps.control_plane.routes.tasks import task_id_of
from ambient_vcp.domain.errors import (
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StaleLeaseError,
    VcpError,
)
from ambient_vcp.domain.ids import TaskId
from ambient_vcp.domain.nodes.health import health_of
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.nodes.reputation import score
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.store import NodeLease, Transaction
from ambient_vcp.services.machines import heartbeats, nodes
from ambient_vcp.services.machines.enrolment import GONE
from ambient_vcp.services.machines.heartbeats import Beat
from ambient_vcp.services.tasks import leases, results
from ambient_vcp.services.tasks.results import Answer, AnswerStatus, NodeFailure, Submission
from ambient_vcp.wire.attempt_result import decode_result
from ambient_vcp.wire.http.fields import network_prefix, rfc3339
from ambient_vcp.wire.http.leases import (
    BATCH_MAX,
    ClaimAnswer,
    ClaimRequest,
    FailureIn,
    ReferenceResultAnswer,
    ReferenceResultIn,
    RenewAnswer,
    RenewRequest,
    ResultsAnswer,
    ResultsRequest,
    lease_name,
)
from ambient_vcp.wire.http.node_info import breakers_of
from ambient_vcp.wire.http.nodes import HeartbeatAnswer, HeartbeatRequest
from ambient_vcp.wire.http.submission import decode_base64

table = Table("agent")
BEATS_GATHERED_MS = 20
"""Heartbeats come all the time: those of this time share a commit."""


@table.add(
    "PUT",
    "/nodes/{node_id}/heartbeat",
    "I am alive, and this is how I feel",
    who=Who.EITHER,
    body=HeartbeatRequest,
    body_optional=True,
    answers={200: HeartbeatAnswer},
    errors=(403, 404),
)
async def heartbeat(call: Call[HeartbeatRequest]) -> Response:
    plane, sent = call.plane, call.body
    node_id = node_id_of(call) if call.caller_account else call.own_node_id()
    telemetry = sent.telemetry.domain() if sent.telemetry else None
    report = sent.report.domain() if sent.report else None
    # From the owner it says nothing about where the node is.
    prefix = network_prefix(call.peer) if call.caller_node is not None else None

    def work(tx: Transaction) -> Beat:
        if call.caller_account is not None:
            nodes.own_node(tx, node_id, call.caller_account)
        return heartbeats.beat(
            tx, node_id=node_id, telemetry=telemetry, report=report, network_prefix=prefix
        )

    beat = await plane.store.transact(work, within_ms=BEATS_GATHERED_MS)
    has_room = beat.node.active_leases < max(1, beat.node.report.concurrency_max)
    if beat.returned or (has_room and plane.work.unplaced):
        plane.work.slots_opened()
    return json_answer(_beat_answer(call, beat))


def _beat_answer(call: Call[Any], beat: Beat) -> dict[str, Any]:
    node, held = beat.node, beat.leases
    reputation = score(node.reputation)
    return {
        "message": "heartbeat taken",
        "node_id": node.id,
        "timestamp": rfc3339(beat.now_ms),
        "health_score": health_of(node.telemetry, reputation).percent,
        "node_status": node.status,
        "active_tasks": len(held),
        "assigned_task_ids": [entry.lease.task_id for entry in held],
        "assigned_tasks": [
            {
                "task_id": entry.lease.task_id,
                "task_type": entry.spec.task_type,
                "execution_status": "in_progress" if entry.claimed else "assigned",
            }
            for entry in held
        ],
        "leases": [lease_info(entry, beat.now_ms) for entry in held],
        "cancelled": [lease_name(ref) for ref in call.plane.fanout.take_cancelled(node.id)],
        "now_ms": beat.now_ms,
        "breaker_reasons": breakers_of(node, beat.now_ms),
    }


@table.add(
    "POST",
    "/nodes/{node_id}/claim",
    "Confirm leases and get the work",
    who=Who.NODE,
    body=ClaimRequest,
    body_optional=True,
    answers={200: ClaimAnswer},
    errors=(400, 404),
)
async def claim(call: Call[ClaimRequest]) -> Response:
    node_id, sent = call.own_node_id(), call.body
    if sent.at_most is not None and sent.leases is not None:
        raise InvalidInputError(where="at_most", rule="or leases: one of the two")
    named = None if sent.leases is None else [name.ref(node_id) for name in sent.leases]

    def work(tx: Transaction) -> tuple[list[NodeLease], int]:
        taken = leases.claim(tx, node_id=node_id, at_most=sent.at_most or BATCH_MAX, leases=named)
        return taken, tx.now_ms()

    taken, now_ms = await call.plane.store.transact(work)
    if taken:
        call.plane.work.happened()
    return json_answer({"assignments": [assignment(entry, now_ms) for entry in taken]})


@table.add(
    "POST",
    "/nodes/{node_id}/renew",
    "Keep leases alive",
    who=Who.NODE,
    body=RenewRequest,
    answers={200: RenewAnswer},
    errors=(400, 404),
)
async def renew(call: Call[RenewRequest]) -> Response:
    plane, node_id = call.plane, call.own_node_id()
    named = [name.ref(node_id) for name in call.body.leases]
    if len({(ref.task_id, ref.slot) for ref in named}) != len(named):
        raise InvalidInputError(where="leases", rule="names each slot once")
    found = await plane.store.transact(
        lambda tx: leases.renew(tx, node_id=node_id, leases=named, lease_ms=plane.settings.lease_ms)
    )
    lost = set(found.lost)
    renewed = [
        {
            **lease_name(ref),
            "expires_in_ms": max(0, found.renewed[ref.task_id, ref.slot] - found.now_ms),
        }
        for ref in named
        if ref not in lost
    ]
    return json_answer({"renewed": renewed, "lost": [lease_name(ref) for ref in found.lost]})


def _submission(lease: LeaseRef, result: Any, failure: FailureIn | None) -> Submission:
    """Raises InvalidInputError where it is not exactly one of the two, or malformed."""
    if (result is None) == (failure is None):
        raise InvalidInputError(where="result", rule="or failure: exactly one of the two")
    if failure is None:
        return Submission(lease=lease, result=decode_result(result))
    log = decode_base64(failure.log_b64, "failure.log_b64")
    return Submission(
        lease=lease, result=NodeFailure(reason=failure.reason, detail=failure.detail, log=log)
    )


async def _hand_in(call: Call[Any], submissions: list[Submission]) -> list[Answer]:
    plane = call.plane
    node_id = call.caller_node
    assert node_id is not None

    def work(tx: Transaction) -> list[Answer]:
        return results.hand_in(
            tx,
            node=_working_node(tx, call),
            submissions=submissions,
            verifier=plane.verifier,
            entropy=plane.entropy,
        )

    answers = await plane.store.transact(work)
    for answer in answers:
        plane.work.leases_cut(answer.cancelled)
    plane.work.slots_opened()
    plane.work.tasks_ended()
    return answers


def _working_node(tx: Transaction, call: Call[Any]) -> Node:
    node_id = call.caller_node
    node = None if node_id is None else tx.nodes.get(node_id)
    if node is None:
        raise NotFoundError(kind="node", id=str(node_id))
    if node.status in GONE:
        raise ForbiddenError(reason=f"node {node.id} was {node.status}")
    return node


@table.add(
    "POST",
    "/nodes/{node_id}/results",
    "Hand in up to 64 results or failures",
    who=Who.NODE,
    body=ResultsRequest,
    answers={200: ResultsAnswer},
    errors=(400, 403, 404),
)
async def hand_in(call: Call[ResultsRequest]) -> Response:
    node_id = call.own_node_id()
    good: list[Submission] = []
    answered: list[dict[str, Any]] = []
    places: list[int] = []
    for sent in call.body.results:
        name = {"task_id": sent.task_id, "slot": sent.slot, "epoch": sent.epoch}
        lease = LeaseRef(
            task_id=TaskId(sent.task_id), slot=sent.slot, epoch=sent.epoch, node_id=node_id
        )
        try:
            if sent.node_id != node_id:
                raise InvalidInputError(where="node_id", rule="is the calling node")
            good.append(_submission(lease, sent.result, sent.failure))
        except VcpError as error:
            # Refused alone, so that one malformed entry does not hold back the others for ever.
            answered.append({**name, **_refusal(error)})
            continue
        places.append(len(answered))
        answered.append(name)
    answers = await _hand_in(call, good) if good else []
    for place, answer in zip(places, answers, strict=True):
        answered[place] = _answer(answer)
    return json_answer({"answers": answered})


def _refusal(error: VcpError) -> dict[str, str]:
    return {
        "status": "refused",
        "code": error.code,
        "message": str(error),
        "task_status": "",
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        **lease_name(answer.lease),
        "status": answer.status,
        "code": answer.code,
        "message": answer.message,
        "task_status": answer.task_status,
    }


@table.add(
    "POST",
    "/tasks/{task_id}/result",
    "Hand in one result",
    who=Who.NODE,
    body=ReferenceResultIn,
    answers={200: ReferenceResultAnswer},
    errors=(400, 403, 404, 409),
)
async def hand_in_one(call: Call[ReferenceResultIn]) -> Response:
    sent, task_id = call.body, task_id_of(call)
    node_id = call.caller_node
    if sent.node_id != node_id or sent.task_id not in (None, task_id):
        raise NotFoundError(kind="task", id=task_id)
    lease = LeaseRef(task_id=task_id, slot=sent.slot, epoch=sent.epoch, node_id=node_id)
    (answer,) = await _hand_in(call, [_submission(lease, sent.result, sent.failure)])
    if answer.status is AnswerStatus.TOO_LATE or answer.code == StaleLeaseError.code:
        raise StaleLeaseError(task_id=task_id, slot=sent.slot, epoch=sent.epoch)
    if answer.code == NotFoundError.code:
        raise NotFoundError(kind="task", id=task_id)
    if answer.status is AnswerStatus.REFUSED:
        raise InvalidInputError(where="result", rule=answer.message)
    record = await call.plane.store.read(lambda tx: tx.tasks.load([task_id])[task_id])
    ended_ms = record.task.finished_at_ms
    return json_answer(
        {
            "task_id": task_id,
            "status": record.task.state,
            "node_id": node_id,
            "proof_verified": False,
            "completed_at": None if ended_ms is None else rfc3339(ended_ms),
        }
    )
