"""How much each strategy wants a node. Add a strategy by adding its function to ``SCORERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ambient_vcp.domain.scheduling.view import NodeView, Strategy

WEIGHT_FLOOR = 0.01
"""No eligible node is starved: the weakest still draws some work."""

UNKNOWN_LATENCY_MS = 50.0
UNKNOWN_CPU_PERCENT = 50.0


def weight(node: NodeView) -> float:
    """Weight of a node in the random choice: health, times the square of its standing.

    Standing comes from audited outcomes and is squared because health is what the node says of
    itself: a node cannot draw all the work by claiming to be perfect.
    """
    return max(WEIGHT_FLOOR, node.health * node.reputation * node.reputation)


def by_load(node: NodeView, region: str) -> tuple[float, float, int, str]:
    """Fewest leases per capacity first, then the least busy processor."""
    del region
    load = node.leases / node.capacity
    cpu = UNKNOWN_CPU_PERCENT if node.cpu_percent is None else node.cpu_percent
    return (load, cpu, node.registered_at_ms, node.id)


def by_latency(node: NodeView, region: str) -> tuple[float, float, int, str]:
    """The task's region first, then the lowest measured latency."""
    latency = UNKNOWN_LATENCY_MS if node.latency_ms is None else node.latency_ms
    elsewhere = 1.0 if region and node.region != region else 0.0
    return (elsewhere, latency, node.registered_at_ms, node.id)


SCORERS: Mapping[Strategy, Callable[[NodeView, str], tuple[float, float, int, str]]] = (
    MappingProxyType({Strategy.LEAST_LOADED: by_load, Strategy.LATENCY_AWARE: by_latency})
)
"""Strategies that pick the smallest key. Weighted draws at random, round-robin rotates."""
