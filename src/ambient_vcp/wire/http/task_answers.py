"""Smaller answers about tasks."""

from __future__ import annotations

from typing import Any

from ambient_vcp.wire.fields import Shape


class TaskRemoved(Shape, frozen=True):
    message: str
    task_id: str
    status: str


class NodeReasons(Shape, frozen=True):
    """No reason: the node may take the slot."""

    node_id: str
    reasons: list[str]


class SlotExplained(Shape, frozen=True):
    """``refusals`` counts nodes by reason. ``node_id``: who holds the slot now."""

    slot: int
    purpose: str
    state: str
    node_id: str | None
    refusals: dict[str, int]
    nodes: list[NodeReasons]


class ExplainAnswer(Shape, frozen=True):
    task_id: str
    state: str
    summary: str
    slots: list[SlotExplained]
    next_check_at_ms: int


class AttemptLog(Shape, frozen=True):
    slot: int
    epoch: int
    node_id: str
    log_b64: str


class LogsAnswer(Shape, frozen=True):
    attempts: list[AttemptLog]


class TaskEvent(Shape, frozen=True):
    """The data of a ``task`` event."""

    sequence: int
    at_ms: int
    kind: str
    task_id: str | None
    node_id: str | None
    fields: dict[str, Any]
