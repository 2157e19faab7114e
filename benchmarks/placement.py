"""In-memory placement decisions over 10,000 nodes, in one batch, by strategy."""

from __future__ import annotations

import random
import time

from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.scheduling.placement import place
from ambient_vcp.domain.scheduling.view import NodeView, SlotDemand, Strategy
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.spec import NodeType, Requirements
from benchmarks.figure import Figure

NODES = 10_000
SLOTS = 20_000
TARGET_US = 2.75


def nodes(seed: int) -> list[NodeView]:
    source = random.Random(seed)
    return [
        NodeView(
            id=NodeId(f"node-{index:05}"),
            owner_id=AccountId(f"owner-{index % 500}"),
            network_prefix=f"10.{index % 250}.{index % 7}.0/24",
            node_type=NodeType.COMPUTE,
            region="eu",
            cpu_cores=source.choice((2, 4, 8, 16)),
            memory_gb=source.choice((4.0, 8.0, 16.0)),
            bandwidth_mbps=source.uniform(50, 1000),
            gpu=False,
            enrolled=True,
            online=source.random() < 0.97,
            draining=False,
            breaker_reasons=(),
            refusing=(),
            health=source.random(),
            reputation=source.uniform(0.3, 1.0),
            latency_ms=source.uniform(1, 90),
            cpu_percent=source.uniform(0, 100),
            exec_class="x",
            trusted=False,
            capacity=8,
            leases=source.randrange(3),
            registered_at_ms=index,
        )
        for index in range(NODES)
    ]


def demands(replicas: int) -> list[SlotDemand]:
    need = Requirements(min_cpu_cores=2, min_memory_gb=4.0)
    return [
        SlotDemand(
            task_id=TaskId(f"task-{index // replicas}"),
            slot=index % replicas,
            purpose=SlotPurpose.PRIMARY,
            requirements=need,
            account_id=AccountId("a"),
            taken=frozenset(),
            failed=frozenset(),
            taken_owners=frozenset(),
            taken_prefixes=frozenset(),
            exec_class="",
            independence_waived=False,
            replicated=replicas > 1,
        )
        for index in range(SLOTS)
    ]


def best_us(replicas: int) -> float:
    fleet, wanted = nodes(1), demands(replicas)
    times = []
    for seed in range(5):
        unit = random.Random(seed).random
        began = time.perf_counter()
        plan = place(wanted, fleet, strategy=Strategy.WEIGHTED, random_unit=unit)
        times.append(time.perf_counter() - began)
        assert len(plan.choices) == SLOTS
    return min(times) / SLOTS * 1e6


def run() -> list[Figure]:
    return [
        Figure(
            figure=f"placement per decision, {NODES} nodes, {SLOTS} slots, {name}",
            unit="µs",
            ours=best_us(replicas),
            target=TARGET_US,
            higher_is_better=False,
            note="filter pass included",
        )
        for name, replicas in (("single", 1), ("quorum of 3, distinct owners", 3))
    ]
