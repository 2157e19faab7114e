"""Nodes, their history and invitations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import AccountId, Digest, NodeId, PublicKey, TaskId
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.nodes.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """A sample of a node's history: a heartbeat or something that happened to it."""

    node_id: NodeId
    at_ms: int
    kind: str
    task_id: TaskId | None
    health_percent: float | None
    active_tasks: int | None
    fields: dict[str, str]


class NodeStore(Protocol):
    """Nodes. ``active_leases`` of every Node read is the number of its live leases.

    Changing a node that does not exist raises NotFoundError.
    """

    def insert(self, node: Node) -> None:
        """Raises: ConflictError: the id or the key is taken."""
        ...

    def get(self, node_id: NodeId) -> Node | None:
        """Any node, deleted and rejected ones included."""
        ...

    def by_key(self, public_key: PublicKey) -> Node | None: ...

    def many(self, node_ids: Sequence[NodeId]) -> dict[NodeId, Node]: ...

    def page(
        self, *, owner_id: AccountId | None, cursor: str | None, at_most: int
    ) -> tuple[tuple[Node, ...], str | None]:
        """Nodes that are neither deleted nor rejected, newest registration first, and a cursor."""
        ...

    def placeable(self, at_most: int) -> list[Node]:
        """Enrolled online nodes, by id."""
        ...

    def save_registration(self, node: Node) -> None:
        """Overwrite region, type, capabilities, report, status, network prefix, last seen
        and observability port.
        """
        ...

    def heartbeat(
        self,
        node_id: NodeId,
        *,
        telemetry: Telemetry | None,
        report: NodeReport | None,
        network_prefix: str,
    ) -> None:
        """Stamp last seen; store telemetry and report if given; offline becomes online."""
        ...

    def set_key(self, node_id: NodeId, public_key: PublicKey) -> None:
        """Give its key to a node that has none. Raises: ConflictError: the key is taken."""
        ...

    def set_status(self, node_id: NodeId, status: NodeStatus) -> None: ...

    def set_trusted(self, node_id: NodeId, *, trusted: bool) -> None: ...

    def save_reputation(self, node_id: NodeId, reputation: Reputation, *, error: bool) -> None:
        """``error`` stamps ``last_error_at_ms``."""
        ...

    def silent(self, *, older_than_ms: int, at_most: int) -> list[NodeId]:
        """Online or draining nodes not seen for longer than this."""
        ...

    def add_event(
        self,
        node_id: NodeId,
        *,
        kind: str,
        task_id: TaskId | None = None,
        health_percent: float | None = None,
        active_tasks: int | None = None,
        fields: dict[str, str] | None = None,
    ) -> None: ...

    def events(self, node_id: NodeId, at_most: int) -> list[NodeEvent]:
        """Newest first."""
        ...

    def prune_events(self, *, keep_per_node: int, at_most: int) -> int: ...

    def add_invite(self, code_hash: Digest, owner_id: AccountId, *, ttl_ms: int) -> int:
        """Store an invitation; answers when it expires."""
        ...

    def use_invite(self, code_hash: Digest, node_id: NodeId) -> AccountId | None:
        """Spend an invitation once; answers its owner, or None if unknown, used or expired."""
        ...
