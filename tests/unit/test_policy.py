"""The rows of the type policies."""

import pytest

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.tasks.policy import GIB, LOCAL, MIB, PROFILES, PUBLIC, policy_for
from ambient_vcp.domain.tasks.spec import NodeType, TaskType


def test_the_public_profile_is_the_reference_table():
    wasm, computation = PUBLIC[TaskType.WASM_EXECUTION], PUBLIC[TaskType.COMPUTATION]
    assert (wasm.node_type, wasm.min_bandwidth_mbps, wasm.min_cpu_cores, wasm.min_memory_gb) == (
        NodeType.COMPUTE,
        100,
        4,
        8,
    )
    assert (wasm.execution_sec_max, wasm.payload_bytes_max, wasm.gpu) == (900, GIB, False)
    assert (computation.min_bandwidth_mbps, computation.execution_sec_max) == (50, 1800)
    assert computation.payload_bytes_max == 20 * MIB


def test_the_local_profile_is_what_a_laptop_meets():
    for row in LOCAL.values():
        assert (row.min_bandwidth_mbps, row.min_cpu_cores, row.gpu) == (0, 1, False)
        assert row.min_memory_gb <= 1


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_has_a_row_for_every_type_and_only_wasm_sends_modules(name):
    assert set(PROFILES[name]) == set(TaskType)
    assert [t for t, row in PROFILES[name].items() if row.module_allowed] == [
        TaskType.WASM_EXECUTION
    ]


@pytest.mark.parametrize("task_type", ["", "zk_proof", "WASM_EXECUTION", "x" * 10_000])
def test_an_unknown_type_is_refused_with_the_known_ones(task_type):
    with pytest.raises(InvalidInputError) as caught:
        policy_for(LOCAL, task_type)
    assert caught.value.where == "task_type"
    assert "computation, wasm_execution" in caught.value.hint
    assert len(caught.value.got) < 100
