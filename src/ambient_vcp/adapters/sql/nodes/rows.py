"""Rows of nodes as domain values. Telemetry and report are JSON text."""

from __future__ import annotations

import math
from dataclasses import asdict

import msgspec

from ambient_vcp.adapters.sql.session import Row, json_text
from ambient_vcp.domain.ids import AccountId, NodeId, PublicKey
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import NodeType

STORED_COLUMNS = (
    "id",
    "owner_id",
    "region",
    "node_type",
    "bandwidth_mbps",
    "cpu_cores",
    "memory_gb",
    "gpu_available",
    "status",
    "registered_at_ms",
    "last_seen_at_ms",
    "public_key",
    "network_prefix",
    "trusted",
    "completed",
    "failed",
    "disputes",
    "consecutive_errors",
    "compute_time_ms",
    "last_error_at_ms",
    "telemetry",
    "telemetry_received_at_ms",
    "report",
    "observability_port",
)
ACTIVE_LEASES = (
    "(SELECT count(*) FROM slots WHERE slots.node_id = nodes.id"
    " AND slots.lease_expires_at_ms > (SELECT vcp_now_ms()))"
)
NODE_COLUMNS = ", ".join(STORED_COLUMNS) + ", " + ACTIVE_LEASES

_REPORT = msgspec.json.Decoder(NodeReport)


def telemetry_text(sample: Telemetry | None) -> str | None:
    """JSON text. A number that JSON lacks (NaN, infinity) is written as text, not lost."""
    if sample is None:
        return None
    values = asdict(sample)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            values[name] = str(value)
    return json_text(values)


def telemetry_of(text: str | None) -> Telemetry | None:
    if text is None:
        return None
    values = msgspec.json.decode(text)
    for name in ("nan", "inf", "-inf"):
        if name in values.values():
            values = {
                key: float(value) if value == name and key != "power_source" else value
                for key, value in values.items()
            }
    return Telemetry(**values)


def report_text(report: NodeReport) -> str:
    return json_text(report)


def values_of(node: Node) -> dict[str, object]:
    """Bound parameters of every stored column."""
    past, offer = node.reputation, node.capabilities
    return {
        "id": node.id,
        "owner_id": node.owner_id,
        "region": node.region,
        "node_type": str(node.node_type),
        "bandwidth_mbps": float(offer.bandwidth_mbps),
        "cpu_cores": offer.cpu_cores,
        "memory_gb": float(offer.memory_gb),
        "gpu_available": int(offer.gpu_available),
        "status": str(node.status),
        "registered_at_ms": node.registered_at_ms,
        "last_seen_at_ms": node.last_seen_at_ms,
        "public_key": node.public_key,
        "network_prefix": node.network_prefix,
        "trusted": int(node.trusted),
        "completed": past.completed,
        "failed": past.failed,
        "disputes": past.disputes,
        "consecutive_errors": past.consecutive_errors,
        "compute_time_ms": past.compute_time_ms,
        "last_error_at_ms": node.last_error_at_ms,
        "telemetry": telemetry_text(node.telemetry),
        "telemetry_received_at_ms": node.telemetry_received_at_ms,
        "report": report_text(node.report),
        "observability_port": node.observability_port,
    }


def node_of(row: Row) -> Node:
    return Node(
        id=NodeId(row[0]),
        owner_id=AccountId(row[1]),
        region=row[2],
        node_type=NodeType(row[3]),
        capabilities=Capabilities(
            bandwidth_mbps=row[4],
            cpu_cores=row[5],
            memory_gb=row[6],
            gpu_available=bool(row[7]),
        ),
        status=NodeStatus(row[8]),
        registered_at_ms=row[9],
        last_seen_at_ms=row[10],
        public_key=None if row[11] is None else PublicKey(row[11]),
        network_prefix=row[12],
        trusted=bool(row[13]),
        reputation=Reputation(
            completed=row[14],
            failed=row[15],
            disputes=row[16],
            consecutive_errors=row[17],
            compute_time_ms=row[18],
        ),
        last_error_at_ms=row[19],
        telemetry=telemetry_of(row[20]),
        telemetry_received_at_ms=row[21],
        report=_REPORT.decode(row[22]),
        observability_port=row[23],
        active_leases=row[24],
    )
