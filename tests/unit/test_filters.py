"""Who may take a slot: each reason by itself, its rank among others, and which of them last."""

from dataclasses import replace

import pytest

from ambient_vcp.domain.nodes.reputation import SCORE_MIN_FOR_WORK
from ambient_vcp.domain.scheduling.filters import LASTING, Refusal, refusal
from ambient_vcp.domain.tasks.spec import NodeType, Requirements
from ambient_vcp.testing import builders

NEED = Requirements(min_cpu_cores=4, min_memory_gb=8.0, min_bandwidth_mbps=100.0, gpu=True)
FIT = builders.view("fit", gpu=True)
DEMAND = builders.demand(
    requirements=NEED,
    replicated=True,
    taken=frozenset({"other"}),
    taken_owners=frozenset({"owner-of-other"}),
    taken_prefixes=frozenset({"net-of-other"}),
    exec_class=FIT.exec_class,
)

FAULTS = [
    ({"enrolled": False}, Refusal.NOT_ENROLLED),
    ({"node_type": NodeType.STORAGE}, Refusal.NODE_TYPE),
    ({"cpu_cores": 3}, Refusal.CPU_CORES),
    ({"memory_gb": 7.9}, Refusal.MEMORY),
    ({"bandwidth_mbps": 99.9}, Refusal.BANDWIDTH),
    ({"gpu": False}, Refusal.GPU),
    ({"online": False}, Refusal.OFFLINE),
    ({"draining": True}, Refusal.DRAINING),
    ({"breaker_reasons": ("temperature",)}, Refusal.BREAKER),
    ({"refusing": ("on_battery",)}, Refusal.OWNER_LIMITS),
    ({"reputation": SCORE_MIN_FOR_WORK - 1e-9}, Refusal.LOW_STANDING),
    ({"id": "other"}, Refusal.ALREADY_TAKEN),
    ({"owner_id": "owner-of-other"}, Refusal.SAME_OWNER),
    ({"network_prefix": "net-of-other"}, Refusal.SAME_NETWORK),
    ({"exec_class": "other engine"}, Refusal.EXEC_CLASS),
    ({"leases": 4}, Refusal.BUSY),
]


def test_a_node_without_fault_is_not_refused():
    assert refusal(FIT, DEMAND) is None


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_each_fault_has_its_own_reason(fault, reason):
    assert refusal(replace(FIT, **fault), DEMAND) is reason


def test_every_reason_has_a_fault_here():
    assert {reason for _, reason in FAULTS} == set(Refusal)


@pytest.mark.parametrize("first", range(len(FAULTS) - 1))
def test_of_several_faults_the_hardest_is_named(first):
    worse, better = FAULTS[first], FAULTS[first + 1]
    assert refusal(replace(FIT, **{**better[0], **worse[0]}), DEMAND) is worse[1]


@pytest.mark.parametrize(
    "value", [{"cpu_cores": 4}, {"memory_gb": 8.0}, {"bandwidth_mbps": 100.0}, {"leases": 3}]
)
def test_exactly_enough_is_enough(value):
    assert refusal(replace(FIT, **value), DEMAND) is None


def test_standing_exactly_at_the_floor_is_enough():
    assert refusal(replace(FIT, reputation=SCORE_MIN_FOR_WORK), DEMAND) is None


def test_a_node_of_any_type_serves_every_type():
    assert refusal(replace(FIT, node_type=NodeType.ANY), DEMAND) is None


def test_waived_independence_lifts_owner_and_network_but_never_the_node():
    waived = replace(DEMAND, independence_waived=True)
    assert refusal(replace(FIT, owner_id="owner-of-other"), waived) is None
    assert refusal(replace(FIT, network_prefix="net-of-other"), waived) is None
    assert refusal(replace(FIT, id="other"), waived) is Refusal.ALREADY_TAKEN


def test_a_lasting_reason_is_one_that_waiting_does_not_cure():
    passing = {
        Refusal.OFFLINE,
        Refusal.DRAINING,
        Refusal.BREAKER,
        Refusal.OWNER_LIMITS,
        Refusal.LOW_STANDING,
        Refusal.BUSY,
    }
    assert set(Refusal) - passing == LASTING
