"""What happened, in order, for those who listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId, NodeId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a submitter or dashboard may hear of; ``sequence`` rises."""

    sequence: int
    at_ms: int
    kind: str
    account_id: AccountId | None
    task_id: TaskId | None
    node_id: NodeId | None
    fields: dict[str, str]


class EventStore(Protocol):
    def add(
        self,
        kind: str,
        *,
        account_id: AccountId | None = None,
        task_id: TaskId | None = None,
        node_id: NodeId | None = None,
        fields: dict[str, str] | None = None,
    ) -> None: ...

    def since(
        self,
        sequence: int,
        *,
        account_id: AccountId | None,
        task_id: TaskId | None,
        at_most: int,
    ) -> list[Event]:
        """Events after ``sequence`` of one account (None: of all), optionally of one task."""
        ...

    def last_sequence(self) -> int: ...

    def prune(self, *, older_than_ms: int, at_most: int) -> int: ...
