"""What the API says of a task."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import ScalarCall, entry_name, interface_name
from ambient_vcp.domain.execution.scalars import decode_scalars, text_of
from ambient_vcp.domain.tasks.lifecycle import AttemptState, TaskState
from ambient_vcp.domain.tasks.records import Attempt, AttemptResult, Task, TaskRecord
from ambient_vcp.wire.fields import Shape
from ambient_vcp.wire.http.fields import rfc3339

ReadProgram = Callable[[str, bytes], Any]
"""Types the output of the named program; raises InvalidInputError where it is not an answer."""

TEXT_RESULT_BYTES_MAX = 64 * 1024
_LIVE_ATTEMPTS = frozenset({AttemptState.ASSIGNED, AttemptState.IN_PROGRESS})


class HoldInfo(Shape, frozen=True):
    code: str
    reason: str


class OutputInfo(Shape, frozen=True):
    """``inline_b64`` is null for a large output: fetch it from ``/tasks/{id}/output``."""

    digest: str
    size_bytes: int
    inline_b64: str | None


class AttemptInfo(Shape, frozen=True):
    slot: int
    epoch: int
    purpose: str
    node_id: str
    state: str
    verdict: str
    reason: str
    detail: str
    granted_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    fuel_used: int | None
    millijoules: int | None
    energy_label: str | None
    output_digest: str | None


class TaskInfo(Shape, frozen=True):
    task_id: str
    task_type: str
    name: str
    status: str
    state: str
    created_at: str
    updated_at: str
    finished_at: str | None
    assigned_nodes: list[str]
    former_assigned_nodes: list[str]
    result: Any
    hold: HoldInfo | None
    reason: str
    detail: str
    assurance_class: str = msgspec.field(name="class")
    replicas: int
    entry: str
    interface: str
    module_digest: str
    program: str | None
    decision: str
    assurance: str
    error_bound_ppb: int | None
    fuel_used: int | None
    receipt_id: str | None
    output: OutputInfo | None
    proof_id: None = None
    attempts: list[AttemptInfo] | msgspec.UnsetType = msgspec.UNSET
    """Left out of lists."""


class TaskPageAnswer(Shape, frozen=True):
    tasks: list[TaskInfo]
    next_cursor: str | None


def task_info(
    record: TaskRecord,
    *,
    read_program: ReadProgram,
    error_bound_ppb: int | None = None,
    attempts: bool = True,
) -> dict[str, Any]:
    """TaskInfo with its attempts (left out where ``attempts`` is false)."""
    task, tried = record.task, record.attempts
    accepted = accepted_result(record)
    completed = accepted if task.state is TaskState.COMPLETED else None
    spec = task.spec
    return {
        "task_id": task.id,
        "task_type": spec.task_type,
        "name": spec.name,
        "status": task.state,
        "state": task.state,
        "created_at": rfc3339(task.created_at_ms),
        "updated_at": rfc3339(task.updated_at_ms),
        "finished_at": None if task.finished_at_ms is None else rfc3339(task.finished_at_ms),
        "assigned_nodes": _nodes(tried, live=True),
        "former_assigned_nodes": _nodes(tried, live=False),
        "result": None if completed is None else typed_result(task, completed, read_program),
        "hold": None if task.hold is None else {"code": task.hold.code, "reason": task.hold.reason},
        "reason": task.reason,
        "detail": task.detail,
        "class": spec.verification.assurance_class,
        "replicas": spec.verification.replicas,
        "entry": entry_name(spec.call),
        "interface": interface_name(spec.call),
        "module_digest": spec.module.digest,
        "program": spec.program or None,
        "decision": task.decision,
        "assurance": task.assurance,
        "error_bound_ppb": error_bound_ppb,
        "fuel_used": None if accepted is None else accepted.outcome.fuel_used,
        "receipt_id": task.id if task.sealed else None,
        "output": None if completed is None else _output(completed),
        **({"attempts": [_attempt(attempt) for attempt in tried]} if attempts else {}),
        "proof_id": None,
    }


def accepted_result(record: TaskRecord) -> AttemptResult | None:
    """The result that is the task's, if it has one."""
    for attempt in record.attempts:
        if (attempt.slot, attempt.epoch) == record.task.accepted:
            return attempt.result
    return None


def typed_result(task: Task, result: AttemptResult, read_program: ReadProgram) -> Any:
    """Values of a scalar call, a program's result object, or the output's digest and text.

    Bytes that are not what they should be are shown as what they are: a digest.
    """
    output = result.output
    with suppress(InvalidInputError):
        if output is not None and task.spec.program:
            return read_program(task.spec.program, output)
        if output is not None and isinstance(task.spec.call, ScalarCall):
            return {
                "values": [
                    {"type": value.type, "value": text_of(value)}
                    for value in decode_scalars(output)
                ]
            }
    plain: dict[str, Any] = {
        "output_digest": result.outcome.output_digest,
        "size_bytes": result.outcome.output_size_bytes,
    }
    if output is not None and len(output) <= TEXT_RESULT_BYTES_MAX:
        with suppress(UnicodeDecodeError):
            plain["text"] = output.decode()
    return plain


def _output(result: AttemptResult) -> dict[str, Any]:
    inline = None if result.output is None else base64.b64encode(result.output).decode()
    return {
        "digest": result.outcome.output_digest,
        "size_bytes": result.outcome.output_size_bytes,
        "inline_b64": inline,
    }


def _nodes(attempts: tuple[Attempt, ...], *, live: bool) -> list[str]:
    """Nodes that work on it now, or that did and do not any more; each once, in order."""
    now = {attempt.node_id for attempt in attempts if attempt.state in _LIVE_ATTEMPTS}
    chosen = [a.node_id for a in attempts if (a.node_id in now) is live]
    return list(dict.fromkeys(chosen))


def _attempt(attempt: Attempt) -> dict[str, Any]:
    result = attempt.result
    return {
        "slot": attempt.slot,
        "epoch": attempt.epoch,
        "purpose": attempt.purpose,
        "node_id": attempt.node_id,
        "state": attempt.state,
        "verdict": attempt.verdict,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "granted_at_ms": attempt.granted_at_ms,
        "started_at_ms": attempt.started_at_ms,
        "finished_at_ms": attempt.finished_at_ms,
        "fuel_used": None if result is None else result.outcome.fuel_used,
        "millijoules": None if result is None else result.energy.millijoules,
        "energy_label": None if result is None else result.energy.label,
        "output_digest": None if result is None else result.outcome.output_digest,
    }
