"""What cannot be placed never hides what can."""

from __future__ import annotations

from dataclasses import replace

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks import submit
from ambient_vcp.services.tasks.place import place
from ambient_vcp.testing import builders
from ambient_vcp.testing.entropy import SeededEntropy

SETTINGS = WorkSettings(slots_per_plan_max=400, leases_per_node_max=1_000)


def _add(store, node):
    def work(tx):
        tx.nodes.insert(node)
        tx.nodes.heartbeat(
            node.id, telemetry=node.telemetry, report=node.report, network_prefix="net"
        )

    store.transact(work)


def _house():
    store, entropy = SqlStore.open_sync("sqlite://"), SeededEntropy(1)
    _add(store, builders.node("only"))
    return store, entropy


def _submit(store, entropy, spec, count):
    def work(tx):
        return submit.submit_tasks(
            tx,
            account_id=builders.ACCOUNT_ID,
            specs=[spec] * count,
            independence_waived=True,
            entropy=entropy,
        )

    return store.transact(work)


def _placed(store, entropy):
    report = store.transact(lambda tx: place(tx, settings=SETTINGS, entropy=entropy))
    return {grant.lease.task_id for grant in report.grants}


def test_a_thousand_tasks_that_no_node_can_serve_do_not_starve_one_that_a_node_can():
    store, entropy = _house()
    spec = replace(builders.spec(), module=builders.input_ref(b"module"))
    impossible = replace(spec, requirements=replace(spec.requirements, gpu=True))
    _submit(store, entropy, impossible, 1_000)
    for _ in range(3):
        assert _placed(store, entropy) == set()
    (task_id,) = _submit(store, entropy, spec, 1)
    seen = set().union(*(_placed(store, entropy) for _ in range(3)))
    assert task_id in seen
    store.close()


def test_every_held_task_is_looked_at_again_in_turn():
    store, entropy = _house()
    spec = replace(builders.spec(), module=builders.input_ref(b"module"))
    impossible = replace(spec, requirements=replace(spec.requirements, gpu=True))
    _submit(store, entropy, impossible, 600)
    for _ in range(5):
        _placed(store, entropy)
    strong = builders.node("strong")
    strong = replace(
        strong,
        capabilities=replace(strong.capabilities, gpu_available=True),
        report=replace(strong.report, concurrency_max=1_000),
    )
    _add(store, strong)
    placed = set().union(*(_placed(store, entropy) for _ in range(12)))
    assert len(placed) == 600
    store.close()
