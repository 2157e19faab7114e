"""A machine that offers work, as the control plane knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ambient_vcp.domain.ids import AccountId, NodeId, PublicKey
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import NodeType


class NodeStatus(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    DRAINING = "draining"
    REJECTED = "rejected"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What a node tells about itself with each heartbeat, beside its telemetry.

    ``refusing`` names the owner's limits or local breakers that stop it from taking work now
    (for example ``outside_hours``, ``on_battery``, ``temperature``). ``isolation`` maps the layers
    around its cells to ``active: ...`` or ``inactive: ...``.
    """

    boot_id: str = ""
    version: str = ""
    engine: str = ""
    exec_class: str = ""
    concurrency_max: int = 0
    running: int = 0
    refusing: tuple[str, ...] = ()
    isolation: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. ``public_key`` is None for one that was registered but never enrolled a key.

    ``network_prefix`` is the /24 or /48 it connects from. ``trusted`` is set by the control
    plane's operator: its re-execution decides disputes.
    """

    id: NodeId
    owner_id: AccountId
    region: str
    node_type: NodeType
    capabilities: Capabilities
    status: NodeStatus
    registered_at_ms: int
    last_seen_at_ms: int
    public_key: PublicKey | None = None
    network_prefix: str = ""
    trusted: bool = False
    reputation: Reputation = field(default_factory=Reputation)
    last_error_at_ms: int | None = None
    telemetry: Telemetry | None = None
    telemetry_received_at_ms: int | None = None
    report: NodeReport = field(default_factory=NodeReport)
    observability_port: int | None = None
    active_leases: int = 0
