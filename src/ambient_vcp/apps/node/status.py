"""What ``/node/status`` shows: the reference's fields, each with a real value or null."""

from __future__ import annotations

from typing import Any

from ambient_vcp.apps.node.wiring import Parts

_PERCENT = 100
_MS_PER_S = 1000


def status_snapshot(parts: Parts) -> dict[str, Any]:
    """``health_score`` (0 to 1) is the control plane's last word; null before the first.

    ``trust_summary`` is null: no multi-model work runs on this agent, nothing is there to sum up.
    """
    state = parts.state
    now_ms = parts.clock.monotonic_ms()
    sample = state.telemetry
    breakers = state.breakers(now_ms)
    report = parts.report()
    return {
        "node_region": parts.membership.node.region,
        "node_type": parts.membership.node.node_type,
        "uptime_seconds": (now_ms - state.started_at_ms) // _MS_PER_S,
        "current_workload": "compute" if state.held.working else "idle",
        "resources": {
            "cpu_percent": sample.cpu_percent if sample else None,
            "memory_percent": sample.memory_percent if sample else None,
            "temperature_c": sample.temperature_c if sample else None,
            "power_watts": sample.power_watts if sample else None,
            "power_source": sample.power_source if sample else "unknown",
        },
        "trust_summary": None,
        "trust_summary_reason": "unknown: no generation task has run on this node",
        "health_score": None if state.health_score is None else state.health_score / _PERCENT,
        "safe_mode": bool(breakers),
        "safe_mode_reasons": list(breakers),
        "refusing": list(report.refusing),
        "running": report.running,
        "concurrency_max": report.concurrency_max,
        "unsent_results": len(parts.spool),
        "connected": parts.link.is_up,
        "isolation": report.isolation,
        "timestamp": parts.clock.now_ms() // _MS_PER_S,
    }
