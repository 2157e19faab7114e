"""What submitters do with tasks."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import encode, json_answer, raw_json
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.apps.control_plane.http.idempotency import HEADER, once
from ambient_vcp.apps.control_plane.http.ranges import BYTES_TYPE, blob_response, bytes_response
from ambient_vcp.domain.errors import ConflictError, NotFoundError
from ambient_vcp.domain.ids import Digest, TaskId
from ambient_vcp.domain.receipts.canonical import Json
from ambient_vcp.domain.receipts.shape import to_json
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES, TaskState
from ambient_vcp.domain.tasks.records import Attempt, TaskRecord
from ambient_vcp.domain.tasks.request import build_spec
from ambient_vcp.domain.tasks.spec import TaskSpec
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services import views
from ambient_vcp.services.record import seal
from ambient_vcp.services.tasks import explain, submit
from ambient_vcp.services.views import Viewer
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.submission import Incoming, named_digests, read_submission
from ambient_vcp.wire.http.task_answers import (
    ExplainAnswer,
    LogsAnswer,
    TaskRemoved,
)
from ambient_vcp.wire.http.task_info import (
    TaskInfo,
    TaskPageAnswer,
    accepted_result,
    task_info,
)
from ambient_vcp.wire.http.tasks import BulkAnswer, BulkSubmission, TaskSubmission

table = Table("tasks")
ADMIN = "admin"
TRANSLATED_AT_ONCE_MAX = 32
_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class TasksQuery(Shape, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    status: TaskState | None = None


def _viewer(call: Call[Any]) -> Viewer:
    assert call.claims is not None
    return Viewer(account_id=call.account_id, admin=call.claims.role == ADMIN)


def task_id_of(call: Call[Any]) -> TaskId:
    """The task id in the path; NotFoundError for what cannot be one."""
    text = call.path("task_id")
    if not _TASK_ID.fullmatch(text):
        raise NotFoundError(kind="task", id=text[:64])
    return TaskId(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """Submissions, translated and checked; ``blobs`` are the bytes they brought along, by size."""

    specs: list[TaskSpec]
    blobs: dict[Digest, int]


async def _take_in(call: Call[Any], sent: Sequence[TaskSubmission]) -> _Taken:
    """Translate submissions and store the bytes they brought along."""
    plane = call.plane
    named = {digest for each in sent for digest in named_digests(each)}
    sizes = await plane.blob_sizes.of(call.account_id, named) if named else {}

    def translate() -> tuple[list[Incoming], list[TaskSpec]]:
        incoming = [
            read_submission(each, plane.programs.translate, plane.entropy.token_bytes, sizes)
            for each in sent
        ]
        return incoming, [build_spec(each.request, plane.rules.profile) for each in incoming]

    # A thousand of them take long enough that others should get in between.
    few = len(sent) <= TRANSLATED_AT_ONCE_MAX
    incoming, specs = translate() if few else await asyncio.to_thread(translate)
    brought: dict[Digest, int] = {}
    for each in incoming:
        for digest, data in each.blobs:
            if digest not in brought:
                await plane.blobs.put(data)
                brought[digest] = len(data)
    return _Taken(specs=specs, blobs=brought)


def _submit(call: Call[Any], tx: Transaction, taken: _Taken) -> list[TaskId]:
    for digest, size_bytes in taken.blobs.items():
        tx.blobs.add(digest, size_bytes, call.account_id)
    return submit.submit_tasks(
        tx,
        account_id=call.account_id,
        specs=taken.specs,
        independence_waived=call.plane.private,
        entropy=call.plane.entropy,
    )


@table.add(
    "POST",
    "/tasks",
    "Submit one task",
    who=Who.ACCOUNT,
    body=TaskSubmission,
    answers={201: TaskInfo},
    errors=(400, 404, 503),
    headers=HEADER,
)
async def submit_one(call: Call[TaskSubmission]) -> Response:
    taken = await _take_in(call, [call.body])

    def work(tx: Transaction) -> bytes:
        (task_id,) = _submit(call, tx, taken)
        return encode(_info(call, tx, tx.tasks.load([task_id])[task_id]))

    body = await once(call, 201, work)
    call.plane.work.slots_opened()
    return raw_json(body, 201)


@table.add(
    "POST",
    "/tasks/bulk",
    "Submit up to 1000 tasks: all or none",
    who=Who.ACCOUNT,
    body=BulkSubmission,
    answers={201: BulkAnswer},
    errors=(400, 404, 503),
    headers=HEADER,
)
async def submit_bulk(call: Call[BulkSubmission]) -> Response:
    taken = await _take_in(call, call.body.tasks)

    def work(tx: Transaction) -> bytes:
        return encode({"task_ids": _submit(call, tx, taken)})

    body = await once(call, 201, work)
    call.plane.work.slots_opened()
    return raw_json(body, 201)


def _log_of(attempt: Attempt) -> bytes:
    """What the guest wrote to its log, whether the attempt answered or failed."""
    return attempt.log if attempt.result is None else attempt.result.log


def _info(
    call: Call[Any], tx: Transaction, record: TaskRecord, *, attempts: bool = True
) -> dict[str, Any]:
    return task_info(
        record,
        read_program=call.plane.programs.read,
        error_bound_ppb=views.error_bound_ppb(tx, record),
        attempts=attempts,
    )


@table.add(
    "GET",
    "/tasks",
    "Tasks, newest first",
    who=Who.ACCOUNT,
    query=TasksQuery,
    answers={200: TaskPageAnswer},
    errors=(400,),
)
async def page(call: Call[None]) -> Response:
    query: TasksQuery = call.query

    def work(tx: Transaction) -> bytes:
        found = tx.tasks.page(
            call.account_id, state=query.status, cursor=query.cursor, at_most=query.limit
        )
        records = tx.tasks.load([task.id for task in found.tasks])
        tasks = [_info(call, tx, records[task.id], attempts=False) for task in found.tasks]
        return encode({"tasks": tasks, "next_cursor": found.next_cursor})

    return raw_json(await call.plane.store.read(work))


@table.add(
    "GET", "/tasks/{task_id}", "One task", who=Who.ACCOUNT, answers={200: TaskInfo}, errors=(404,)
)
async def one(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)

    def work(tx: Transaction) -> bytes:
        return encode(_info(call, tx, views.the_task(tx, task_id, viewer)))

    return raw_json(await call.plane.store.read(work))


@table.add(
    "DELETE",
    "/tasks/{task_id}",
    "Cancel a live task, hide an ended one",
    who=Who.ACCOUNT,
    answers={200: TaskRemoved},
    errors=(404,),
)
async def remove(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)
    state, cut = await call.plane.store.transact(lambda tx: views.remove_task(tx, task_id, viewer))
    call.plane.work.leases_cut(cut)
    call.plane.work.tasks_ended()
    call.plane.work.slots_opened()
    message = "the task was cancelled" if state is TaskState.CANCELLED else "the task is hidden"
    return json_answer({"message": message, "task_id": task_id, "status": state})


@table.add(
    "POST",
    "/tasks/{task_id}/cancel",
    "Cancel a live task",
    who=Who.ACCOUNT,
    answers={200: TaskInfo},
    errors=(404, 409),
)
async def cancel(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)

    def work(tx: Transaction) -> tuple[bytes, list[Any]]:
        record, cut = views.cancel_task(tx, task_id, viewer)
        return encode(_info(call, tx, record)), cut

    body, cut = await call.plane.store.transact(work)
    call.plane.work.leases_cut(cut)
    call.plane.work.tasks_ended()
    call.plane.work.slots_opened()
    return raw_json(body)


@table.add(
    "GET",
    "/tasks/{task_id}/explain",
    "Why a task waits",
    who=Who.ACCOUNT,
    answers={200: ExplainAnswer},
    errors=(404,),
)
async def why(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)

    def work(tx: Transaction) -> dict[str, Any]:
        record = views.the_task(tx, task_id, viewer)
        found = explain.explain(tx, record, call.plane.rules)
        return {
            "task_id": task_id,
            "state": found.state,
            "summary": found.summary,
            "slots": [
                {
                    "slot": slot.slot,
                    "purpose": slot.purpose,
                    "state": slot.state,
                    "node_id": slot.node_id,
                    "refusals": {str(reason): count for reason, count in slot.refusals.items()},
                    "nodes": [
                        {"node_id": node_id, "reasons": [reason] if reason else []}
                        for node_id, reason in slot.nodes
                    ],
                }
                for slot in found.slots
            ],
            "next_check_at_ms": record.task.next_check_at_ms,
        }

    return json_answer(await call.plane.store.read(work))


@table.add(
    "GET",
    "/tasks/{task_id}/logs",
    "What the guest wrote to its log, per attempt",
    who=Who.ACCOUNT,
    answers={200: LogsAnswer},
    errors=(404,),
)
async def logs(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)
    record = await call.plane.store.read(lambda tx: views.the_task(tx, task_id, viewer))
    attempts = [
        {
            "slot": attempt.slot,
            "epoch": attempt.epoch,
            "node_id": attempt.node_id,
            "log_b64": base64.b64encode(_log_of(attempt)).decode(),
        }
        for attempt in record.attempts
    ]
    return json_answer({"attempts": attempts})


@table.add(
    "GET",
    "/tasks/{task_id}/output",
    "The output's bytes; Range is honoured",
    who=Who.ACCOUNT,
    media_out=BYTES_TYPE,
    answers={200: None, 206: None, 304: None},
    errors=(404, 409, 416),
    headers={"Range": "bytes=first-last"},
)
async def output(call: Call[None]) -> Response:
    task_id, viewer = task_id_of(call), _viewer(call)
    record = await call.plane.store.read(lambda tx: views.the_task(tx, task_id, viewer))
    if record.task.state in LIVE_STATES:
        raise ConflictError(what=f"task {task_id} has not ended", advice="Wait until it has.")
    result = accepted_result(record)
    if result is None or record.task.state is not TaskState.COMPLETED:
        raise NotFoundError(kind="output of task", id=task_id)
    if result.output is not None:
        return bytes_response(call, result.outcome.output_digest, result.output)
    return await blob_response(call, result.outcome.output_digest, result.outcome.output_size_bytes)


@table.add(
    "GET",
    "/tasks/{task_id}/receipt",
    "The signed receipt with its place in the log",
    who=Who.ACCOUNT,
    answers={200: None},
    errors=(404, 409),
)
async def receipt(call: Call[None]) -> Response:
    plane, task_id, viewer = call.plane, task_id_of(call), _viewer(call)

    def work(tx: Transaction) -> Json:
        record = views.the_task(tx, task_id, viewer)
        if record.task.state in LIVE_STATES:
            raise ConflictError(
                what=f"task {task_id} has not ended", advice="Its receipt comes with its end."
            )
        found = seal.receipt(tx, task_id=task_id, signer=plane.signer, control_plane_id=plane.id)
        return to_json(found)

    answer = await plane.store.transact(work)
    plane.work.happened()
    return json_answer(answer)
