"""Placement: what every plan keeps, and how each strategy chooses."""

from collections import Counter
from dataclasses import replace
from itertools import cycle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.scheduling.filters import Refusal, refusal
from ambient_vcp.domain.scheduling.placement import explain_demand, place
from ambient_vcp.domain.scheduling.scores import WEIGHT_FLOOR, weight
from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.spec import NodeType, Requirements
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import START_MS

CHI_SQUARE_999 = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47}
"""The 99.9 % quantiles by degrees of freedom (any table of the chi-square distribution)."""


def plan(demands, nodes, strategy=Strategy.WEIGHTED, seed=1, cursor=""):
    return place(demands, nodes, strategy=strategy, random_unit=Random(seed).random, cursor=cursor)


@st.composite
def views(draw):
    count = draw(st.integers(0, 8))
    return [
        builders.view(
            f"n{number}",
            owner_id=f"o{draw(st.integers(0, 4))}",
            network_prefix=f"p{draw(st.integers(0, 4))}",
            node_type=draw(st.sampled_from([NodeType.COMPUTE, NodeType.ANY, NodeType.STORAGE])),
            cpu_cores=draw(st.integers(1, 8)),
            exec_class=draw(st.sampled_from(["x86", "arm"])),
            online=draw(st.booleans()) or draw(st.booleans()),
            health=draw(st.floats(0, 1)),
            reputation=draw(st.floats(0, 1)),
            latency_ms=draw(st.none() | st.floats(0, 100)),
            trusted=draw(st.booleans()),
            capacity=draw(st.integers(1, 3)),
            leases=draw(st.integers(0, 3)),
        )
        for number in range(count)
    ]


@st.composite
def demand_lists(draw):
    demands = []
    for task in range(draw(st.integers(0, 6))):
        need = Requirements(min_cpu_cores=draw(st.sampled_from([1, 1, 4])))
        waived = draw(st.booleans())
        count = draw(st.integers(1, 4))
        taken = draw(st.frozensets(st.sampled_from(["n0", "n1"]), max_size=1))
        demands += [
            builders.demand(
                f"task-{task}",
                slot,
                requirements=need,
                replicated=count > 1,
                independence_waived=waived,
                purpose=draw(st.sampled_from(SlotPurpose)),
                taken=taken,
                failed=draw(st.frozensets(st.sampled_from(["n2", "n3"]), max_size=2)) - taken,
            )
            for slot in range(count)
        ]
    return demands


STRATEGIES = st.sampled_from(Strategy)


@given(demands=demand_lists(), nodes=views(), strategy=STRATEGIES, seed=st.integers(0, 99))
def test_a_plan_never_exceeds_capacity_and_serves_each_slot_at_most_once(
    demands, nodes, strategy, seed
):
    made = plan(demands, nodes, strategy, seed)
    given_to = Counter(choice.node_id for choice in made.choices)
    for node in nodes:
        assert given_to[node.id] <= max(0, node.capacity - node.leases)
    served = [(c.task_id, c.slot) for c in made.choices]
    missed = [(u.task_id, u.slot) for u in made.unplaced]
    assert sorted(served + missed) == sorted((d.task_id, d.slot) for d in demands)


@given(demands=demand_lists(), nodes=views(), strategy=STRATEGIES, seed=st.integers(0, 99))
def test_every_choice_is_allowed_and_replicas_are_apart(demands, nodes, strategy, seed):
    made = plan(demands, nodes, strategy, seed)
    by_id, wanted = {n.id: n for n in nodes}, {(d.task_id, d.slot): d for d in demands}
    company = {}
    for choice in made.choices:
        demand, node = wanted[choice.task_id, choice.slot], by_id[choice.node_id]
        assert refusal(node, demand) is None
        if demand.replicated:
            company.setdefault(choice.task_id, []).append((node, demand))
    for members in company.values():
        nodes_of = [node for node, _ in members]
        assert len({n.id for n in nodes_of}) == len(nodes_of)
        assert len({n.exec_class for n in nodes_of}) == 1
        if not members[0][1].independence_waived:
            assert len({n.owner_id for n in nodes_of}) == len(nodes_of)
            assert len({n.network_prefix for n in nodes_of}) == len(nodes_of)


@given(demands=demand_lists(), nodes=views(), strategy=STRATEGIES, seed=st.integers(0, 99))
def test_the_same_numbers_give_the_same_plan(demands, nodes, strategy, seed):
    assert plan(demands, nodes, strategy, seed) == plan(demands, nodes, strategy, seed)


@given(demands=demand_lists(), nodes=views(), strategy=STRATEGIES, seed=st.integers(0, 99))
def test_a_slot_without_a_node_counts_every_node_under_one_reason(demands, nodes, strategy, seed):
    for entry in plan(demands, nodes, strategy, seed).unplaced:
        assert sum(entry.refusals.values()) == len(nodes)
        assert set(entry.refusals) <= set(Refusal)


@given(demands=demand_lists(), nodes=views(), seed=st.integers(0, 99))
def test_a_hopeless_slot_has_no_node_even_when_all_are_idle_and_well(demands, nodes, seed):
    well = [
        replace(n, online=True, reputation=0.9, leases=0, breaker_reasons=(), refusing=())
        for n in nodes
    ]
    wanted = {(d.task_id, d.slot): d for d in demands}
    for entry in plan(demands, nodes, seed=seed).unplaced:
        alone = wanted[entry.task_id, entry.slot]
        if entry.hopeless:
            assert not any(refusal(node, alone) is None for node in well)


@given(demands=demand_lists(), nodes=views(), strategy=STRATEGIES, seed=st.integers(0, 99))
def test_a_slot_is_left_alone_only_if_no_node_with_room_may_take_it(demands, nodes, strategy, seed):
    made = plan(demands, nodes, strategy, seed)
    room = Counter({n.id: n.capacity - n.leases for n in nodes})
    room.subtract(c.node_id for c in made.choices)
    busy = {entry.task_id for entry in made.unplaced}
    wanted = {(d.task_id, d.slot): d for d in demands}
    for entry in made.unplaced:
        demand = wanted[entry.task_id, entry.slot]
        if demand.replicated:
            continue
        assert demand.task_id in busy
        assert not any(refusal(n, demand) is None and room[n.id] > 0 for n in nodes)


def test_a_weighted_choice_is_proportional_to_the_weights():
    nodes = [
        builders.view("a", health=1.0, reputation=0.9, capacity=10**6),
        builders.view("b", health=0.5, reputation=0.9, capacity=10**6),
        builders.view("c", health=1.0, reputation=0.5, capacity=10**6),
        builders.view("d", health=0.2, reputation=0.2, capacity=10**6),
    ]
    draws, seed = 20_000, 42
    demands = [builders.demand(f"task-{n}") for n in range(draws)]
    counts = Counter(c.node_id for c in plan(demands, nodes, seed=seed).choices)
    total = sum(map(weight, nodes))
    expected = {n.id: draws * weight(n) / total for n in nodes}
    chi_square = sum((counts[i] - e) ** 2 / e for i, e in expected.items())
    print(f"seed {seed}, n {draws}: {dict(counts)}, chi-square {chi_square:.2f}")
    assert chi_square < CHI_SQUARE_999[3]


def test_nobody_who_may_work_starves_not_even_with_no_health_at_all():
    nodes = [builders.view(f"n{i}", capacity=10**6, health=1.0, reputation=1.0) for i in range(9)]
    weakest = builders.view("weak", capacity=10**6, health=0.0, reputation=0.2)
    demands = [builders.demand(f"task-{n}") for n in range(20_000)]
    counts = Counter(c.node_id for c in plan(demands, [*nodes, weakest]).choices)
    share = WEIGHT_FLOOR / (9 + WEIGHT_FLOOR)
    assert 0 < counts["weak"] < 20_000 * share * 4


def test_claiming_perfect_health_draws_no_more_than_half_again_of_an_honest_equal():
    honest = builders.view("honest", health=0.67, capacity=10**6)
    boaster = builders.view("boaster", health=1.0, capacity=10**6)
    demands = [builders.demand(f"task-{n}") for n in range(5_000)]
    counts = Counter(c.node_id for c in plan(demands, [honest, boaster]).choices)
    assert counts["boaster"] < 1.7 * counts["honest"]


def test_round_robin_gives_everybody_the_same_across_plans():
    nodes = [builders.view(name, capacity=10**6) for name in "ebdca"]
    cursor, counts, order = "", Counter(), []
    for size in (1, 3, 2, 7, 12):
        made = plan(
            [builders.demand(f"t{size}-{n}") for n in range(size)],
            nodes,
            Strategy.ROUND_ROBIN,
            cursor=cursor,
        )
        cursor = made.cursor
        order += [c.node_id for c in made.choices]
        counts.update(c.node_id for c in made.choices)
    assert set(counts.values()) == {5}
    assert order == [name for name, _ in zip(cycle("abcde"), range(25), strict=False)]


def test_least_loaded_prefers_the_free_node_then_the_idle_processor():
    busy = builders.view("busy", leases=3)
    warm = builders.view("warm", leases=1, cpu_percent=70.0)
    idle = builders.view("idle", leases=1, cpu_percent=10.0)
    unknown = builders.view("unknown", leases=1, cpu_percent=None)
    chosen = plan([builders.demand()], [busy, warm, unknown, idle], Strategy.LEAST_LOADED)
    assert chosen.choices[0].node_id == "idle"


def test_least_loaded_spreads_the_slots_of_one_plan():
    nodes = [builders.view(f"n{i}", capacity=4) for i in range(4)]
    demands = [builders.demand(f"task-{n}") for n in range(8)]
    counts = Counter(c.node_id for c in plan(demands, nodes, Strategy.LEAST_LOADED).choices)
    assert set(counts.values()) == {2}


def test_latency_aware_prefers_the_region_then_the_latency():
    near = builders.view("near", region="us-east", latency_ms=60.0)
    fast = builders.view("fast", region="eu-west", latency_ms=5.0)
    slow = builders.view("slow", region="eu-west", latency_ms=90.0)
    unknown = builders.view("unknown", region="eu-west", latency_ms=None)
    nodes = [slow, near, unknown, fast]
    anywhere = builders.demand()
    local = builders.demand(requirements=Requirements(region="us-east"))
    assert plan([anywhere], nodes, Strategy.LATENCY_AWARE).choices[0].node_id == "fast"
    assert plan([local], nodes, Strategy.LATENCY_AWARE).choices[0].node_id == "near"
    worst = plan([anywhere], [slow, unknown], Strategy.LATENCY_AWARE)
    assert worst.choices[0].node_id == "unknown", "not measured is taken for 50 ms"


def test_the_reference_contract_a_fast_node_draws_more_than_a_slow_one():
    # Health of 1000 Mbit/s at 5 ms and of 10 Mbit/s at 90 ms, all else equal and standing 0.5.
    fast = builders.view("fast", health=0.4 + 0.3 * 0.95 + 0.2 * 0.5 + 0.05, capacity=10**6)
    slow = builders.view("slow", health=0.004 + 0.3 * 0.1 + 0.2 * 0.5 + 0.05, capacity=10**6)
    demands = [builders.demand(f"task-{n}") for n in range(2_000)]
    counts = Counter(c.node_id for c in plan(demands, [slow, fast]).choices)
    assert counts["fast"] > 3 * counts["slow"] > 0


def test_the_reference_contract_strict_requirements_find_nobody():
    strict = builders.demand(requirements=Requirements(min_bandwidth_mbps=100_000.0))
    made = plan([strict], [builders.view("a"), builders.view("b")])
    assert made.choices == ()
    assert made.unplaced[0].refusals == {"bandwidth": 2}
    assert made.unplaced[0].hopeless


def test_the_reference_contract_no_nodes_is_no_choice_and_hopeless():
    made = plan([builders.demand()], [])
    assert made.choices == ()
    assert made.unplaced[0].refusals == {}
    assert made.unplaced[0].hopeless


@pytest.mark.parametrize("strategy", Strategy)
def test_a_node_that_failed_at_it_gets_it_only_when_nobody_else_can(strategy):
    nodes = [builders.view("failed", health=1.0, reputation=1.0), builders.view("other")]
    again = builders.demand(failed=frozenset({"failed"}))
    for seed in range(50):
        assert plan([again], nodes, strategy, seed).choices[0].node_id == "other"
    assert plan([again], nodes[:1], strategy).choices[0].node_id == "failed"


@pytest.mark.parametrize("purpose", [SlotPurpose.DECIDER, SlotPurpose.AUDIT])
def test_a_dispute_goes_to_a_trusted_node_when_one_is_free(purpose):
    nodes = [builders.view(f"n{i}") for i in range(20)]
    nodes.append(builders.view("judge", trusted=True, health=0.01, reputation=0.2))
    wanted = builders.demand(purpose=purpose, replicated=True)
    for seed in range(50):
        assert plan([wanted], nodes, seed=seed).choices[0].node_id == "judge"
    nodes[-1] = replace(nodes[-1], leases=4)
    assert plan([wanted], nodes).choices[0].node_id != "judge"


def test_older_demands_are_served_first_when_room_is_short():
    node = builders.view("only", capacity=2)
    demands = [builders.demand(f"task-{n}") for n in range(5)]
    made = plan(demands, [node])
    assert [c.task_id for c in made.choices] == ["task-0", "task-1"]
    assert [u.refusals for u in made.unplaced] == [{"busy": 1}] * 3
    assert not any(u.hopeless for u in made.unplaced)


def test_replicas_that_cannot_be_apart_are_explained_without_losing_hope_wrongly():
    nodes = [builders.view("a", owner_id="o"), builders.view("b", owner_id="o")]
    made = plan(builders.replicas("t", 2), nodes)
    assert len(made.choices) == 1
    assert sum(made.unplaced[0].refusals.values()) == 2


def test_explaining_a_demand_counts_each_node_once():
    nodes = [
        builders.view("old", online=False, registered_at_ms=START_MS),
        builders.view("small", cpu_cores=1, online=False),
        builders.view("busy", leases=4),
    ]
    need = builders.demand(requirements=Requirements(min_cpu_cores=2))
    found = explain_demand(need, nodes)
    assert found.refusals == {"offline": 1, "cpu_cores": 1, "busy": 1}
    assert not found.hopeless
