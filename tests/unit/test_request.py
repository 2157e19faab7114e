"""Intake: every rule of a submission, each with the field that it names."""

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import ClassUnavailableError, InvalidInputError, LimitExceededError
from ambient_vcp.domain.execution.invocation import BytesCall, CellLimits, ScalarCall, WasiCall
from ambient_vcp.domain.tasks.policy import GIB, LOCAL, MIB, PUBLIC
from ambient_vcp.domain.tasks.request import LimitsRequest, build_spec
from ambient_vcp.domain.tasks.spec import AssuranceClass, InputRef, NodeType, TaskType, Timeouts
from ambient_vcp.testing import builders
from ambient_vcp.testing.signers import digest_of

BIG = digest_of(b"big")


def sized(size_bytes):
    return InputRef(digest=BIG, size_bytes=size_bytes)


def limits(**changes):
    return {"limits": LimitsRequest(**changes)}


BAD = [
    ({"task_type": "zk_proof"}, "task_type"),
    ({"module": None}, "wasm_module"),
    ({"module": sized(0)}, "wasm_module"),
    ({"task_type": "computation"}, "wasm_module"),
    ({"call": ScalarCall(name="")}, "inputs.entry"),
    ({"call": ScalarCall(name="f", args=("a\0b",))}, "inputs.args"),
    ({"call": ScalarCall(name="f", args=("é" * 2_049,))}, "inputs.args"),
    ({"call": ScalarCall(name="f\0")}, "inputs.args"),
    ({"call": WasiCall(args=("x" * 4_097,))}, "inputs.args"),
    ({"call": WasiCall(env=(("", "1"),))}, "inputs.env"),
    ({"call": WasiCall(env=(("A=B", "1"),))}, "inputs.env"),
    ({"call": WasiCall(env=(("A", "\0"),))}, "inputs.args"),
    ({"private_input": sized(1)}, "inputs.private_input"),
    ({"call": WasiCall(), "private_input": sized(1)}, "inputs.private_input"),
    ({"attempts_max": 0}, "max_attempts"),
    ({"attempts_max": -1}, "max_attempts"),
    ({"name": "x" * 129}, "name"),
    ({"name": "two\nlines"}, "name"),
    ({"name": "\x1b[31mred"}, "name"),
    ({"min_nodes": 0}, "requirements.min_nodes"),
    ({"execution_sec": 0}, "requirements.max_execution_time_sec"),
    ({"execution_sec": -5}, "requirements.max_execution_time_sec"),
    ({"min_cpu_cores": 0}, "requirements.min_cpu_cores"),
    ({"min_memory_gb": nan}, "requirements.min_memory_gb"),
    ({"min_memory_gb": inf}, "requirements.min_memory_gb"),
    ({"min_memory_gb": -1.0}, "requirements.min_memory_gb"),
    ({"min_bandwidth_mbps": nan}, "requirements.min_bandwidth_mbps"),
    ({"min_bandwidth_mbps": 100_000.5}, "requirements.min_bandwidth_mbps"),
    ({"assurance_class": "certain"}, "verification.class"),
    ({"assurance_class": ""}, "verification.class"),
    ({"assurance_class": "quorum", "replicas": 1}, "verification.replicas"),
    ({"assurance_class": "quorum", "replicas": 0}, "verification.replicas"),
    ({"assurance_class": "signed", "replicas": 3}, "verification.replicas"),
    ({"replicas": 3}, "verification.replicas"),
    ({"replicas": -1}, "verification.replicas"),
    ({"audit_rate_ppm": 49_999}, "verification.audit_rate (ppm)"),
    ({"audit_rate_ppm": -1}, "verification.audit_rate (ppm)"),
    ({"queue_sec": 0}, "timeouts.queue_sec"),
    ({"total_sec": 0}, "timeouts.total_sec"),
    (limits(fuel=0), "limits.fuel"),
    (limits(fuel=-1), "limits.fuel"),
    (limits(memory_bytes=0), "limits.memory_bytes"),
    (limits(wall_ms=0), "limits.wall_ms"),
    (limits(output_bytes=-1), "limits.output_bytes"),
    (limits(stack_bytes=0), "limits.stack_bytes"),
]

TOO_MUCH = [
    ({"module": sized(10 * MIB + 1)}, "wasm_module bytes", 10 * MIB),
    ({"public_input": sized(GIB + 1)}, "inputs bytes", GIB),
    (
        {"call": BytesCall(), "public_input": sized(GIB), "private_input": sized(1)},
        "inputs bytes",
        GIB,
    ),
    (
        {"task_type": "computation", "program": "sort", "public_input": sized(20 * MIB + 1)},
        "inputs bytes",
        20 * MIB,
    ),
    ({"call": ScalarCall(name="f", args=("1",) * 256)}, "inputs.args", 256),
    ({"call": WasiCall(env=tuple((f"K{n}", "v") for n in range(65)))}, "inputs.env", 64),
    ({"attempts_max": 21}, "max_attempts", 20),
    ({"min_nodes": 1_001}, "requirements.min_nodes", 1_000),
    ({"execution_sec": 901}, "requirements.max_execution_time_sec", 900),
    ({"min_cpu_cores": 257}, "requirements.min_cpu_cores", 256),
    ({"assurance_class": "quorum", "replicas": 16}, "verification.replicas", 15),
    ({"min_nodes": 16}, "verification.replicas", 15),
    ({"audit_rate_ppm": 1_000_001}, "verification.audit_rate (ppm)", 1_000_000),
    ({"queue_sec": 86_401}, "timeouts.queue_sec", 86_400),
    ({"total_sec": 604_801}, "timeouts.total_sec", 604_800),
    (limits(fuel=10**12 + 1), "limits.fuel", 10**12),
    (limits(memory_bytes=2 * GIB + 1), "limits.memory_bytes", 2 * GIB),
    (limits(wall_ms=900_001), "limits.wall_ms", 900_000),
    (limits(output_bytes=GIB + 1), "limits.output_bytes", GIB),
    (limits(stack_bytes=4 * MIB + 1), "limits.stack_bytes", 4 * MIB),
]


def label(value):
    return str(value)[:60] if isinstance(value, dict) else None


@pytest.mark.parametrize(("changes", "where"), BAD, ids=label)
def test_a_bad_submission_is_refused_and_the_field_is_named(changes, where):
    with pytest.raises(InvalidInputError) as caught:
        build_spec(builders.request(**changes), LOCAL)
    assert caught.value.where == where
    assert caught.value.rule


@pytest.mark.parametrize(("changes", "limit", "maximum"), TOO_MUCH, ids=label)
def test_a_value_above_its_maximum_is_refused_and_the_maximum_is_told(changes, limit, maximum):
    with pytest.raises(LimitExceededError) as caught:
        build_spec(builders.request(**changes), LOCAL)
    assert (caught.value.limit, caught.value.maximum) == (limit, maximum)
    assert caught.value.got > maximum


AT_THE_EDGE = [
    {"module": sized(10 * MIB)},
    {"module": sized(1)},
    {"public_input": sized(GIB)},
    {"public_input": sized(0)},
    {"call": BytesCall(), "private_input": sized(1), "private_commitment": "c"},
    {"call": ScalarCall(name="f", args=("1",) * 255)},
    {"call": ScalarCall(name="f", args=("x" * 4_096,))},
    {"call": WasiCall(env=tuple((f"K{n}", "v") for n in range(64)))},
    {"attempts_max": 1},
    {"attempts_max": 20},
    {"name": "x" * 128},
    {"min_nodes": 15},
    {"execution_sec": 900},
    {"min_cpu_cores": 256},
    {"min_memory_gb": 2_048.0},
    {"audit_rate_ppm": 1_000_000},
    {"queue_sec": 86_400},
    {"total_sec": 604_800},
    {"assurance_class": "quorum", "replicas": 15},
    {"assurance_class": "signed", "replicas": 1},
    {"task_type": "computation", "program": "sort"},
    limits(fuel=1, memory_bytes=1, wall_ms=1, output_bytes=1, stack_bytes=1),
]


@pytest.mark.parametrize("changes", AT_THE_EDGE, ids=label)
def test_a_value_exactly_at_its_bound_is_taken(changes):
    assert build_spec(builders.request(**changes), LOCAL).task_type in TaskType


def test_defaults_are_the_published_ones():
    spec = build_spec(builders.request(), LOCAL)
    assert spec.limits == CellLimits()
    assert spec.timeouts == Timeouts()
    assert spec.verification.assurance_class is AssuranceClass.SIGNED
    assert (spec.verification.replicas, spec.verification.audit_rate_ppm) == (1, 50_000)
    assert spec.requirements.node_types == {NodeType.COMPUTE, NodeType.ANY}
    assert spec.attempts_max == 5


@pytest.mark.parametrize(
    ("changes", "chosen", "replicas"),
    [
        ({}, AssuranceClass.SIGNED, 1),
        ({"min_nodes": 3}, AssuranceClass.QUORUM, 3),
        ({"assurance_class": "quorum"}, AssuranceClass.QUORUM, 2),
        ({"assurance_class": "quorum", "min_nodes": 4}, AssuranceClass.QUORUM, 4),
        ({"assurance_class": "quorum", "min_nodes": 4, "replicas": 3}, AssuranceClass.QUORUM, 3),
        ({"assurance_class": "signed", "min_nodes": 3}, AssuranceClass.SIGNED, 1),
    ],
)
def test_the_class_and_the_replicas_follow_from_what_was_asked(changes, chosen, replicas):
    verification = build_spec(builders.request(**changes), LOCAL).verification
    assert (verification.assurance_class, verification.replicas) == (chosen, replicas)


@pytest.mark.parametrize(
    "changes",
    [
        {"require_proof": True},
        {"assurance_class": "proved"},
        {"assurance_class": "reexecuted"},
        {"require_proof": True, "assurance_class": "signed"},
    ],
)
def test_a_class_that_is_not_offered_is_refused_and_never_weakened(changes):
    with pytest.raises(ClassUnavailableError):
        build_spec(builders.request(**changes), LOCAL)


def test_the_policy_of_the_type_is_a_floor_under_what_was_asked():
    asked = builders.request(min_cpu_cores=1, min_memory_gb=0.25, min_bandwidth_mbps=0.0)
    need = build_spec(asked, PUBLIC).requirements
    assert (need.min_cpu_cores, need.min_memory_gb, need.min_bandwidth_mbps) == (4, 8, 100)
    more = builders.request(min_cpu_cores=16, min_memory_gb=64.0, min_bandwidth_mbps=900.0)
    need = build_spec(more, PUBLIC).requirements
    assert (need.min_cpu_cores, need.min_memory_gb, need.min_bandwidth_mbps) == (16, 64, 900)


@given(
    execution_sec=st.none() | st.integers(1, 900),
    wall_ms=st.none() | st.integers(1, 900_000),
    queue_sec=st.none() | st.integers(1, 86_400),
    total_sec=st.none() | st.integers(1, 604_800),
)
def test_the_wall_clock_never_outlasts_the_execution_nor_the_queue_the_whole(
    execution_sec, wall_ms, queue_sec, total_sec
):
    asked = builders.request(
        execution_sec=execution_sec,
        limits=LimitsRequest(wall_ms=wall_ms),
        queue_sec=queue_sec,
        total_sec=total_sec,
    )
    spec = build_spec(asked, LOCAL)
    assert spec.limits.wall_ms_max <= spec.timeouts.execution_ms
    assert spec.timeouts.queue_ms <= spec.timeouts.total_ms
    if wall_ms is not None:
        assert spec.limits.wall_ms_max <= wall_ms
    if execution_sec is not None:
        assert spec.timeouts.execution_ms == execution_sec * 1000


NUMBERS = st.none() | st.integers(-(2**70), 2**70)
FLOATS = st.none() | st.floats()


@given(
    fuel=NUMBERS,
    memory=NUMBERS,
    replicas=NUMBERS,
    execution_sec=NUMBERS,
    memory_gb=FLOATS,
    bandwidth=FLOATS,
    chosen=st.none() | st.sampled_from([*AssuranceClass, "", "x"]),
)
def test_any_numbers_give_a_bounded_spec_or_a_clear_refusal(
    fuel, memory, replicas, execution_sec, memory_gb, bandwidth, chosen
):
    asked = replace(
        builders.request(),
        limits=LimitsRequest(fuel=fuel, memory_bytes=memory),
        replicas=replicas,
        execution_sec=execution_sec,
        min_memory_gb=memory_gb,
        min_bandwidth_mbps=bandwidth,
        assurance_class=chosen,
    )
    try:
        spec = build_spec(asked, LOCAL)
    except (InvalidInputError, LimitExceededError, ClassUnavailableError):
        return
    assert 1 <= spec.limits.fuel_max <= 10**12
    assert 1 <= spec.limits.memory_bytes_max <= 2 * GIB
    assert 1 <= spec.verification.replicas <= 15
    assert 1_000 <= spec.timeouts.execution_ms <= 900_000
    assert 0 <= spec.requirements.min_memory_gb <= 2_048
    assert 0 <= spec.requirements.min_bandwidth_mbps <= 100_000
