"""What a node says that it is and has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.tasks.spec import NodeType

NODE_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
REGION_LENGTH_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Declared by the node and bounded here; measured telemetry decides the health score."""

    bandwidth_mbps: float
    cpu_cores: int
    memory_gb: float
    gpu_available: bool


def check_node_id(node_id: str) -> str:
    """Return the id.

    Raises:
        InvalidInputError: it is not 1 to 64 of ``[A-Za-z0-9_-]``.
    """
    if not NODE_ID_PATTERN.fullmatch(node_id):
        raise InvalidInputError(
            where="node_id",
            rule="is 1 to 64 characters of A-Z a-z 0-9 - _",
            got=repr(node_id[:80]),
        )
    return node_id


def check_region(region: str) -> str:
    if not 1 <= len(region) <= REGION_LENGTH_MAX or not region.isprintable():
        raise InvalidInputError(
            where="region",
            rule=f"is 1 to {REGION_LENGTH_MAX} printable characters",
            got=repr(region[:40]),
        )
    return region


def check_node_type(node_type: str) -> NodeType:
    try:
        return NodeType(node_type)
    except ValueError:
        raise InvalidInputError(
            where="node_type",
            rule="is one of " + ", ".join(sorted(NodeType)),
            got=repr(node_type[:40]),
        ) from None


def check_capabilities(capabilities: Capabilities) -> Capabilities:
    """Bound each number as the reference does: bandwidth 10-100000, cores 1-256, memory 1-2048.

    NaN fails every comparison and is therefore refused too.
    """
    rules: tuple[tuple[str, float, float, float], ...] = (
        ("capabilities.bandwidth_mbps", capabilities.bandwidth_mbps, 10, 100_000),
        ("capabilities.cpu_cores", capabilities.cpu_cores, 1, 256),
        ("capabilities.memory_gb", capabilities.memory_gb, 1, 2_048),
    )
    for where, value, low, high in rules:
        if not low <= value <= high:
            raise InvalidInputError(where=where, rule=f"is {low} to {high}", got=str(value))
    return capabilities
