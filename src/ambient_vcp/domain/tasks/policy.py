"""What each task type demands and allows. One row a type; a profile is a set of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.tasks.spec import NodeType, TaskType

MIB = 1024 * 1024
GIB = 1024 * MIB
MODULE_BYTES_MAX = 10 * MIB
INPUT_BYTES_MAX = GIB
REPLICAS_MAX = 15
NODES_PER_TASK_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TypePolicy:
    """Minimum capability of a node, longest run, largest payload, and whether a module is sent."""

    node_type: NodeType
    min_bandwidth_mbps: float
    min_cpu_cores: int
    min_memory_gb: float
    gpu: bool
    execution_sec_max: int
    payload_bytes_max: int
    module_allowed: bool
    fuel_max: int = 1_000_000_000_000
    memory_bytes_max: int = 2 * GIB
    output_bytes_max: int = GIB


Profile = Mapping[TaskType, TypePolicy]

PUBLIC: Profile = MappingProxyType(
    {
        TaskType.WASM_EXECUTION: TypePolicy(
            node_type=NodeType.COMPUTE,
            min_bandwidth_mbps=100,
            min_cpu_cores=4,
            min_memory_gb=8,
            gpu=False,
            execution_sec_max=900,
            payload_bytes_max=INPUT_BYTES_MAX,
            module_allowed=True,
        ),
        TaskType.COMPUTATION: TypePolicy(
            node_type=NodeType.COMPUTE,
            min_bandwidth_mbps=50,
            min_cpu_cores=4,
            min_memory_gb=8,
            gpu=False,
            execution_sec_max=1800,
            payload_bytes_max=20 * MIB,
            module_allowed=False,
        ),
    }
)
"""The reference's table. Its 10 MB are the module's bound; inputs may have 1 GiB."""

LOCAL: Profile = MappingProxyType(
    {
        TaskType.WASM_EXECUTION: TypePolicy(
            node_type=NodeType.COMPUTE,
            min_bandwidth_mbps=0,
            min_cpu_cores=1,
            min_memory_gb=0.5,
            gpu=False,
            execution_sec_max=900,
            payload_bytes_max=INPUT_BYTES_MAX,
            module_allowed=True,
        ),
        TaskType.COMPUTATION: TypePolicy(
            node_type=NodeType.COMPUTE,
            min_bandwidth_mbps=0,
            min_cpu_cores=1,
            min_memory_gb=0.5,
            gpu=False,
            execution_sec_max=1800,
            payload_bytes_max=20 * MIB,
            module_allowed=False,
        ),
    }
)
"""What a laptop meets."""

PROFILES: Mapping[str, Profile] = MappingProxyType({"public": PUBLIC, "local": LOCAL})


def policy_for(profile: Profile, task_type: str) -> TypePolicy:
    """Find the row of a type.

    Raises:
        InvalidInputError: the type does not exist, or this control plane does not offer it.
    """
    try:
        return profile[TaskType(task_type)]
    except (KeyError, ValueError):
        known = ", ".join(sorted(profile))
        raise InvalidInputError(
            where="task_type",
            rule="is not a task type of this control plane",
            got=repr(task_type[:64]),
            advice=f"Use one of: {known}.",
        ) from None
