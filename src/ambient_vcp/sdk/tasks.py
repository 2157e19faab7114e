"""Operations on tasks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ambient_vcp.sdk.effects import Blocking, Emit, NextLine, Now, Operation, Pause, Request
from ambient_vcp.sdk.errors import BadRequest, ConnectionFailed, TaskCancelled, TaskFailed, TimedOut
from ambient_vcp.sdk.events import EventParser, open_events
from ambient_vcp.sdk.request import Bytes, TaskRequest, prepare
from ambient_vcp.sdk.results import Result, TaskInfo, inline_output, typed_result
from ambient_vcp.sdk.session import Session, backoff_s, call, call_object, new_idempotency_key, send
from ambient_vcp.sdk.uploads import Progress, store

PAGE_SIZE = 100
BULK_TASKS_MAX = 1000
BULK_BODY_BYTES_MAX = 900 * 1024
OUTPUT_FETCH_BYTES_MAX = 16 * 1024 * 1024
OUTPUT_PIECE_BYTES = 8 * 1024 * 1024
POLL_S = 1.0


def submit_request(
    session: Session,
    /,
    request: TaskRequest,
    *,
    idempotency_key: str | None = None,
    progress: Progress | None = None,
) -> Operation[str]:
    """Store the bytes, then the task; answers its id. A repeated key answers the same task."""
    prepared = yield Blocking(lambda: prepare(request))
    for upload in prepared.uploads:
        yield from store(session, upload, progress)
    key = idempotency_key or new_idempotency_key()
    answer = yield from call(session, "POST", "/tasks", prepared.body, key=key)
    return str(answer["task_id"])


def submit(
    session: Session,
    /,
    module: str | Bytes | None = None,
    *,
    program: str | None = None,
    invoke: str | None = None,
    args: Sequence[Any] = (),
    wasi: bool = False,
    env: Mapping[str, str] | None = None,
    input: Any = None,  # noqa: A002 - the word of the published API
    private_input: Bytes | None = None,
    assurance: str | None = None,
    replicas: int | None = None,
    audit_rate: float | None = None,
    limits: Mapping[str, int] | None = None,
    requirements: Mapping[str, Any] | None = None,
    queue_sec: int | None = None,
    total_sec: int | None = None,
    max_attempts: int | None = None,
    name: str | None = None,
    blinder: bytes | None = None,
    idempotency_key: str | None = None,
    progress: Progress | None = None,
) -> Operation[str]:
    """Submit one task; see `TaskRequest` for the fields. A text as module is a file's path."""
    request = TaskRequest(
        module=Path(module) if isinstance(module, str) else module,
        program=program,
        invoke=invoke,
        args=args,
        wasi=wasi,
        env=env or {},
        input=input,
        private_input=private_input,
        assurance=assurance,
        replicas=replicas,
        audit_rate=audit_rate,
        limits=limits or {},
        requirements=requirements or {},
        queue_sec=queue_sec,
        total_sec=total_sec,
        max_attempts=max_attempts,
        name=name,
        blinder=blinder,
    )
    return (
        yield from submit_request(
            session, request, idempotency_key=idempotency_key, progress=progress
        )
    )


def submit_many(session: Session, /, requests: Sequence[TaskRequest]) -> Operation[list[str]]:
    """Submit many tasks in few requests; ids in order. Each request is stored whole or not."""
    ids: list[str] = []
    batch: list[dict[str, Any]] = []
    batch_bytes = 0
    for request in requests:
        prepared = yield Blocking(partial(prepare, request))
        for upload in prepared.uploads:
            yield from store(session, upload)
        size_bytes = len(json.dumps(prepared.body))
        full = len(batch) >= BULK_TASKS_MAX or batch_bytes + size_bytes > BULK_BODY_BYTES_MAX
        if batch and full:
            ids += yield from _submit_batch(session, batch)
            batch, batch_bytes = [], 0
        batch.append(prepared.body)
        batch_bytes += size_bytes
    if batch:
        ids += yield from _submit_batch(session, batch)
    return ids


def _submit_batch(session: Session, batch: list[dict[str, Any]]) -> Operation[list[str]]:
    key = new_idempotency_key()
    answer = yield from call(session, "POST", "/tasks/bulk", {"tasks": batch}, key=key)
    return [str(task_id) for task_id in answer["task_ids"]]


def run(
    session: Session,
    /,
    module: str | Bytes | None = None,
    *,
    timeout: float | None = None,
    **fields: Any,
) -> Operation[Result]:
    """Submit, wait, and answer the result; takes what `submit` takes."""
    task_id = yield from submit(session, module, **fields)
    return (yield from result(session, task_id, timeout=timeout))


def get(session: Session, /, task_id: str) -> Operation[TaskInfo]:
    answer = yield from call(session, "GET", task_path(task_id))
    return TaskInfo(answer)


def list_tasks(
    session: Session, /, *, status: str | None = None, limit: int | None = None
) -> Operation[None]:
    """Emits `TaskInfo`s, newest first, page by page."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
        query = {"limit": str(size)}
        query.update({"status": status} if status else {})
        query.update({"cursor": cursor} if cursor else {})
        page = yield from call(session, "GET", "/tasks", query=query)
        for item in page["tasks"]:
            yield Emit(TaskInfo(item))
        left = None if left is None else left - len(page["tasks"])
        cursor = page.get("next_cursor")
        if not cursor:
            return


def cancel(session: Session, /, task_id: str) -> Operation[TaskInfo]:
    answer = yield from call(session, "POST", f"{task_path(task_id)}/cancel")
    return TaskInfo(answer)


def explain(session: Session, /, task_id: str) -> Operation[dict[str, Any]]:
    """Why the task waits: counted reasons, and each node's own."""
    return (yield from call_object(session, "GET", f"{task_path(task_id)}/explain"))


def logs(session: Session, /, task_id: str) -> Operation[list[dict[str, Any]]]:
    """What the guest wrote to its log, one entry an attempt; ``log`` has the bytes."""
    answer = yield from call(session, "GET", f"{task_path(task_id)}/logs")
    return [
        {**attempt, "log": base64.b64decode(attempt.get("log_b64") or "")}
        for attempt in answer["attempts"]
    ]


def receipt(session: Session, /, task_id: str) -> Operation[bytes]:
    """The sealed receipt, byte for byte as the control plane gave it."""
    request = Request(method="GET", path=f"{task_path(task_id)}/receipt")
    return (yield from send(session, request)).content


def output(
    session: Session,
    /,
    task_id: str,
    path: str | Path | None = None,
    *,
    progress: Progress | None = None,
) -> Operation[bytes | None]:
    """The output's bytes, or None when they went to ``path`` (in pieces, so any size)."""
    info = yield from get(session, task_id)
    size_bytes = int((info.output or {}).get("size_bytes") or 0)
    if path is None:
        return (yield from _output_bytes(session, info))
    target = Path(path)
    yield Blocking(lambda: target.write_bytes(b""))
    offset = 0
    while offset < size_bytes:
        stop = min(size_bytes, offset + OUTPUT_PIECE_BYTES)
        headers = {"Range": f"bytes={offset}-{stop - 1}"}
        piece = yield from send(
            session, Request(method="GET", path=f"{task_path(task_id)}/output", headers=headers)
        )
        yield Blocking(partial(_append, target, piece.content))
        offset += len(piece.content)
        if progress is not None:
            progress("output", offset, size_bytes)
    return None


def wait(session: Session, /, task_id: str, timeout: float | None = None) -> Operation[TaskInfo]:
    """Wait until the task has ended, by events, and by asking where there are none.

    Raises:
        TimedOut: ``timeout`` seconds are over; the task goes on.
    """
    started: float = yield Now()
    parser = EventParser()
    failures = 0
    while True:
        info = yield from get(session, task_id)
        if info.is_terminal:
            return info
        now: float = yield Now()
        left_s = None if timeout is None else started + timeout - now
        if left_s is not None and left_s <= 0:
            raise _timed_out(task_id, info.status)
        try:
            yield from open_events(session, parser, task_id=task_id, left_s=left_s)
            # What happened between the first look and the open stream would not be told.
            info = yield from get(session, task_id)
            if info.is_terminal:
                return info
            yield from _until_event(parser)
            failures = 0
        except ConnectionFailed:
            failures += 1
            pause_s = min(POLL_S, backoff_s(failures))
            yield Pause(pause_s if left_s is None else min(pause_s, left_s))


def _until_event(parser: EventParser) -> Operation[None]:
    while (line := (yield NextLine())) is not None:
        if parser.feed(line) is not None:
            return
    raise ConnectionFailed("the event stream ended")


def result(session: Session, /, task_id: str, timeout: float | None = None) -> Operation[Result]:
    """Wait and answer the typed result.

    Raises:
        TaskFailed: the task ended without one. TaskCancelled: it was cancelled.
        TimedOut: ``timeout`` seconds are over; the task goes on.
    """
    info = yield from wait(session, task_id, timeout)
    return (yield from result_of(session, info))


def result_of(session: Session, /, info: TaskInfo) -> Operation[Result]:
    """The typed result of a task that has ended."""
    if info.status != "completed":
        kind = TaskCancelled if info.status == "cancelled" else TaskFailed
        reason = info.reason or info.status
        raise kind(info.id, reason, info.detail, receipt_id=info.receipt_id)
    data: bytes | None = None
    size_bytes = int((info.output or {}).get("size_bytes") or 0)
    if info.output is not None and size_bytes <= OUTPUT_FETCH_BYTES_MAX:
        data = yield from _output_bytes(session, info)
    return typed_result(info, data)


def _output_bytes(session: Session, info: TaskInfo) -> Operation[bytes]:
    inline = inline_output(info)
    if inline is not None:
        return inline
    if info.output is None:
        raise BadRequest(f"task {info.id} has no output", hint="It has none until it completes.")
    request = Request(method="GET", path=f"{task_path(info.id)}/output", timeout_s=600.0)
    return (yield from send(session, request)).content


def _append(target: Path, data: bytes) -> None:
    with target.open("ab") as file:
        file.write(data)


def _timed_out(task_id: str, status: str) -> TimedOut:
    return TimedOut(
        f"task {task_id} is still {status}",
        hint=f"It goes on. Come back with `ambient-vcp task get {task_id} --wait`,"
        f" or ask why with `ambient-vcp task explain {task_id}`.",
        details={"task_id": task_id, "status": status},
    )


def task_path(task_id: str) -> str:
    """Refuses what would address something else.

    Raises:
        BadRequest: not the shape of a task id.
    """
    if not task_id or not all(c.isascii() and (c.isalnum() or c in "-_") for c in task_id):
        raise BadRequest(f"{task_id[:64]!r} is no task id", hint="List them with `task list`.")
    return f"/tasks/{task_id}"
