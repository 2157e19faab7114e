"""What the API says of a node."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ambient_vcp.domain.nodes.breaker import BreakerInput, breaker_reasons
from ambient_vcp.domain.nodes.health import health_of
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.nodes.reputation import score
from ambient_vcp.wire.http.fields import rfc3339


def breakers_of(node: Node, now_ms: int) -> list[str]:
    """Why the node gets no new work now; empty when it may."""
    state = BreakerInput(
        telemetry=node.telemetry,
        received_at_ms=node.telemetry_received_at_ms,
        consecutive_errors=node.reputation.consecutive_errors,
        last_error_at_ms=node.last_error_at_ms,
    )
    return [str(reason) for reason in breaker_reasons(state, now_ms)]


def node_info(node: Node, now_ms: int, *, for_owner: bool) -> dict[str, Any]:
    reputation = score(node.reputation)
    health = health_of(node.telemetry, reputation)
    counters = node.reputation
    info: dict[str, Any] = {
        "node_id": node.id,
        "region": node.region,
        "node_type": node.node_type,
        "owner_id": node.owner_id,
        "capabilities": asdict(node.capabilities),
        "health_score": health.percent,
        "status": node.status,
        "registered_at": rfc3339(node.registered_at_ms),
        "last_seen": rfc3339(node.last_seen_at_ms),
        "public_key": node.public_key,
        "health": {
            "bandwidth": health.bandwidth,
            "latency": health.latency,
            "compute": health.compute,
            "reputation": health.reputation,
        },
        "reputation": {
            "score": reputation,
            "completed": counters.completed,
            "failed": counters.failed,
            "disputes": counters.disputes,
            "consecutive_errors": counters.consecutive_errors,
        },
        "breaker_reasons": breakers_of(node, now_ms),
        "refusing": list(node.report.refusing),
        "telemetry": None if node.telemetry is None else asdict(node.telemetry),
        "isolation": dict(node.report.isolation),
        "engine": node.report.engine,
        "exec_class": node.report.exec_class,
        "concurrency_max": node.report.concurrency_max,
        "active_tasks": node.active_leases,
        "trusted": node.trusted,
        "version": node.report.version,
    }
    if for_owner:
        info["observability_port"] = node.observability_port
    return info
