"""Why a task waits: told from the real store, for every way of waiting."""

import pytest

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.domain.nodes.node import NodeStatus
from ambient_vcp.domain.tasks.lifecycle import SlotPurpose
from ambient_vcp.domain.tasks.spec import Requirements
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks import finish
from ambient_vcp.services.tasks.explain import explain
from ambient_vcp.services.tasks.place import place
from ambient_vcp.services.tasks.submit import submit_tasks
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import FakeClock
from ambient_vcp.testing.entropy import SeededEntropy

ENTROPY = SeededEntropy(5)


class House:
    """A store with the use cases that these tests need."""

    def __init__(self, *, private_cluster=True):
        self.clock = FakeClock()
        self.settings = WorkSettings(private_cluster=private_cluster)
        self.store = SqlStore.open_sync("sqlite://", clock=self.clock)
        module = builders.module_ref()
        self.run(lambda tx: tx.blobs.add(module.digest, module.size_bytes, builders.ACCOUNT_ID))

    def run(self, use_case):
        return self.store.transact(use_case)

    def add(self, name, **changes):
        self.run(lambda tx: tx.nodes.insert(builders.node(name, **changes)))

    def submit(self, spec):
        return self.run(
            lambda tx: submit_tasks(
                tx,
                account_id=builders.ACCOUNT_ID,
                specs=[spec],
                independence_waived=self.settings.private_cluster,
                entropy=ENTROPY,
            )
        )[0]

    def place(self):
        return self.run(lambda tx: place(tx, settings=self.settings, entropy=ENTROPY))

    def load(self, task_id):
        return self.run(lambda tx: tx.tasks.load([task_id]))[task_id]

    def why(self, task_id):
        return self.run(lambda tx: explain(tx, tx.tasks.load([task_id])[task_id], self.settings))


@pytest.fixture
def house():
    made = House()
    yield made
    made.store.close()


def test_without_nodes_it_says_how_to_start_one(house):
    why = house.why(house.submit(builders.spec()))
    assert "ambient-vcp node join" in why.summary


def test_each_node_is_listed_with_its_reason_and_the_counts_add_up(house):
    house.add("small", capabilities=builders.node("x").capabilities)
    house.add("busy", report=builders.report(concurrency_max=1))
    house.add("warm", telemetry=builders.telemetry(temperature_c=95.0))
    house.add("resting", report=builders.report(refusing=("outside_hours",)))
    task_id = house.submit(builders.spec(requirements=Requirements(min_cpu_cores=64)))
    slot = house.why(task_id).slots[0]
    assert dict(slot.nodes) == dict.fromkeys(["busy", "resting", "small", "warm"], "cpu_cores")
    assert slot.refusals == {"cpu_cores": 4}
    task_id = house.submit(builders.spec())
    house.run(lambda tx: tx.tasks.grant([(task_id, 0, "busy")], lease_ms=house.settings.lease_ms))
    waiting = house.submit(builders.spec())
    why = house.why(waiting)
    assert dict(why.slots[0].nodes) == {
        "busy": "busy",
        "resting": "owner_limits",
        "small": "",
        "warm": "breaker",
    }


def test_a_task_that_may_be_taken_now_blames_nobody(house):
    house.add("free")
    why = house.why(house.submit(builders.spec()))
    assert why.summary == "A node may take it now; it will be placed in a moment."
    assert why.slots[0].refusals == {}


def test_a_task_with_a_node_names_it(house):
    house.add("free")
    task_id = house.submit(builders.spec())
    house.place()
    why = house.why(task_id)
    assert why.summary == "Every slot is with a node: free."
    assert why.slots[0].node_id == "free"


def test_a_task_nobody_can_ever_take_is_held_with_the_counts_and_comes_back(house):
    house.add("free")
    need = Requirements(min_cpu_cores=64)
    task_id = house.submit(builders.spec(requirements=need))
    house.place()
    task = house.load(task_id).task
    assert (task.state, task.hold.code, task.hold.reason) == (
        "held",
        "no_eligible_node",
        "1 cpu_cores",
    )
    big = builders.node("big").capabilities
    house.add(
        "big",
        capabilities=type(big)(bandwidth_mbps=500, cpu_cores=64, memory_gb=64, gpu_available=False),
    )
    assert [g.lease.node_id for g in house.place().grants] == ["big"]
    task = house.load(task_id).task
    assert (task.state, task.hold) == ("assigned", None)


def test_an_ended_task_says_how_it_ended(house):
    task_id = house.submit(builders.spec())
    house.run(lambda tx: finish.cancel(tx, tx.tasks.load([task_id])[task_id], actor="me"))
    assert house.why(task_id).summary == "The task has ended: cancelled: cancelled."


def test_a_retry_says_how_long_it_waits(house):
    house.add("free")
    task_id = house.submit(builders.spec())
    house.place()
    lease = house.run(lambda tx: tx.tasks.node_leases("free", 1))[0].lease

    def fail(tx):
        assert tx.tasks.record_failure(lease, "node_error", "", b"")
        tx.tasks.reopen_slot(task_id, 0, not_before_ms=tx.now_ms() + 700)

    house.run(fail)
    assert house.why(task_id).summary == "A failed attempt is retried in 700 ms."


def test_a_voter_that_went_offline_still_binds_its_owner_and_network():
    house = House(private_cluster=False)
    house.add("first", owner_id="one-owner")
    house.add("second", owner_id="one-owner")
    task_id = house.submit(builders.quorum_spec(2))
    house.run(lambda tx: tx.tasks.grant([(task_id, 0, "first")], lease_ms=30_000))
    house.run(lambda tx: tx.nodes.set_status("first", NodeStatus.OFFLINE))
    slot = house.why(task_id).slots[1]
    assert dict(slot.nodes) == {"first": "offline", "second": "same_owner_as_replica"}
    assert house.place().grants == ()
    assert slot.purpose == SlotPurpose.PRIMARY
    house.store.close()
