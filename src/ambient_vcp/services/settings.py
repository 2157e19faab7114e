"""The knobs of the use cases, each with its unit, bound and default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.policy import LOCAL, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """How work is placed, leased, judged and swept.

    ``private_cluster`` waives independence of replicas (one owner, one network); receipts say so.
    """

    profile: Profile = field(default_factory=lambda: LOCAL)
    strategy: Strategy = Strategy.WEIGHTED
    private_cluster: bool = True
    lease_ms: int = 30_000
    sweep_ms: int = 5_000
    heartbeat_ms: int = 10_000
    offline_after_ms: int = 35_000
    slots_per_plan_max: int = 1_000
    nodes_per_plan_max: int = 20_000
    leases_per_node_max: int = 50
    batch_max: int = 200

    def describe(self) -> Mapping[str, int | str | bool]:
        """The settings that a submitter or node should know."""
        return {
            "strategy": self.strategy.value,
            "private_cluster": self.private_cluster,
            "lease_ms": self.lease_ms,
            "sweep_ms": self.sweep_ms,
            "heartbeat_ms": self.heartbeat_ms,
        }
