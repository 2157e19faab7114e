"""Nodes, their history and invitations in the store."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ambient_vcp.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ambient_vcp.domain.ids import AccountId, NodeId, PublicKey
from ambient_vcp.domain.nodes.node import NodeReport, NodeStatus
from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.nodes.telemetry import Telemetry
from support.stores import (
    ALICE,
    BOB,
    LEASE_MS,
    START_MS,
    digest,
    new_task,
    node,
    result,
    task_id,
)


def get(handle, name):
    return handle.read(lambda tx: tx.nodes.get(NodeId(name)))


def test_a_node_is_found_by_id_and_key(handle):
    wanted = replace(
        node("n1"),
        report=NodeReport(refusing=("on_battery",), isolation={"seccomp": "active: 30 rules"}),
        telemetry=Telemetry(measured_at_ms=5, cpu_percent=12.5, power_source="rapl"),
        telemetry_received_at_ms=START_MS,
        reputation=Reputation(completed=3, compute_time_ms=9),
        observability_port=9100,
    )
    handle.transact(lambda tx: tx.nodes.insert(wanted))
    assert get(handle, "n1") == wanted
    assert handle.read(lambda tx: tx.nodes.by_key(wanted.public_key)) == wanted
    assert handle.read(lambda tx: tx.nodes.many([NodeId("n1"), NodeId("n2")])) == {"n1": wanted}
    assert get(handle, "n2") is None


def test_a_node_id_and_a_key_are_taken_once(handle):
    handle.transact(lambda tx: tx.nodes.insert(node("n1")))
    handle.transact(lambda tx: tx.nodes.insert(node("bare", enrolled=False)))
    handle.transact(lambda tx: tx.nodes.insert(node("bare2", enrolled=False)))
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.nodes.insert(replace(node("n1"), public_key=None)))
    stolen = replace(node("n3"), public_key=node("n1").public_key)
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.nodes.insert(stolen))
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.nodes.set_key(NodeId("bare"), node("n1").public_key))
    handle.transact(lambda tx: tx.nodes.set_key(NodeId("bare"), PublicKey(digest("new"))))
    with pytest.raises(ConflictError):
        handle.transact(lambda tx: tx.nodes.set_key(NodeId("bare"), PublicKey(digest("other"))))
    assert get(handle, "bare").public_key == digest("new")


def test_a_heartbeat_stamps_the_database_clock_and_wakes_an_offline_node(handle):
    handle.transact(lambda tx: tx.nodes.insert(node("n1")))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("n1"), NodeStatus.OFFLINE))
    handle.advance(1000)
    sample = Telemetry(measured_at_ms=1, temperature_c=math.nan, latency_ms=math.inf)
    handle.transact(
        lambda tx: tx.nodes.heartbeat(
            NodeId("n1"), telemetry=sample, report=NodeReport(running=2), network_prefix="10.0.0"
        )
    )
    after = get(handle, "n1")
    assert after.last_seen_at_ms == after.telemetry_received_at_ms == START_MS + 1000
    assert after.status is NodeStatus.ONLINE
    assert math.isnan(after.telemetry.temperature_c)
    assert after.telemetry.latency_ms == math.inf
    assert after.report.running == 2
    handle.advance(1000)
    handle.transact(
        lambda tx: tx.nodes.heartbeat(
            NodeId("n1"), telemetry=None, report=None, network_prefix="10.0.1"
        )
    )
    later = get(handle, "n1")
    assert later.report == after.report
    assert later.telemetry_received_at_ms == START_MS + 1000
    assert later.network_prefix == "10.0.1"


def test_a_draining_node_stays_draining_through_heartbeats(handle):
    handle.transact(lambda tx: tx.nodes.insert(node("n1")))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("n1"), NodeStatus.DRAINING))
    handle.transact(
        lambda tx: tx.nodes.heartbeat(NodeId("n1"), telemetry=None, report=None, network_prefix="")
    )
    assert get(handle, "n1").status is NodeStatus.DRAINING


def test_changing_an_unknown_node_is_an_error(handle):
    with pytest.raises(NotFoundError):
        handle.transact(lambda tx: tx.nodes.set_trusted(NodeId("ghost"), trusted=True))
    with pytest.raises(NotFoundError):
        handle.transact(lambda tx: tx.accounts.set_role(AccountId("ghost"), "admin"))


def test_a_registration_and_a_reputation_are_saved(handle):
    handle.transact(lambda tx: tx.nodes.insert(node("n1")))
    moved = replace(node("n1"), region="there", network_prefix="10.9.9", status=NodeStatus.ONLINE)
    handle.transact(lambda tx: tx.nodes.save_registration(moved))
    handle.advance(5)
    past = Reputation(completed=1, failed=2, disputes=3, consecutive_errors=4, compute_time_ms=5)
    handle.transact(lambda tx: tx.nodes.save_reputation(NodeId("n1"), past, error=True))
    handle.transact(lambda tx: tx.nodes.set_trusted(NodeId("n1"), trusted=True))
    saved = get(handle, "n1")
    assert (saved.region, saved.reputation, saved.trusted) == ("there", past, True)
    assert saved.last_error_at_ms == START_MS + 5
    handle.advance(5)
    handle.transact(lambda tx: tx.nodes.save_reputation(NodeId("n1"), past, error=False))
    assert get(handle, "n1").last_error_at_ms == START_MS + 5


def test_active_leases_are_counted_live(handle):
    handle.transact(lambda tx: tx.nodes.insert(node("n1")))
    handle.submit(new_task(1), new_task(2), new_task(3))
    leases = [handle.grant(number) for number in (1, 2, 3)]
    assert get(handle, "n1").active_leases == 3
    handle.transact(lambda tx: tx.tasks.record_result(leases[0], result()))
    assert get(handle, "n1").active_leases == 2
    handle.advance(LEASE_MS)
    assert get(handle, "n1").active_leases == 0


def test_only_enrolled_online_nodes_are_placeable(handle):
    for name in ("b", "a", "off"):
        handle.transact(lambda tx, name=name: tx.nodes.insert(node(name)))
    handle.transact(lambda tx: tx.nodes.insert(node("bare", enrolled=False)))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("off"), NodeStatus.OFFLINE))
    assert [item.id for item in handle.read(lambda tx: tx.nodes.placeable(10))] == ["a", "b"]
    assert [item.id for item in handle.read(lambda tx: tx.nodes.placeable(1))] == ["a"]


def test_node_pages_are_complete_and_hide_the_deleted(handle):
    for number in range(12):
        item = replace(node(f"n{number}", at_ms=START_MS + number // 3), owner_id=BOB)
        handle.transact(lambda tx, item=item: tx.nodes.insert(item))
    handle.transact(lambda tx: tx.nodes.insert(node("alices")))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("n5"), NodeStatus.DELETED))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("n6"), NodeStatus.REJECTED))
    seen, cursor = [], None
    while True:
        nodes, cursor = handle.read(
            lambda tx, at=cursor: tx.nodes.page(owner_id=BOB, cursor=at, at_most=4)
        )
        seen += [(item.registered_at_ms, item.id) for item in nodes]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert {name for _, name in seen} == {f"n{n}" for n in range(12)} - {"n5", "n6"}
    everyone, _ = handle.read(lambda tx: tx.nodes.page(owner_id=None, cursor=None, at_most=99))
    assert len(everyone) == 11
    with pytest.raises(InvalidInputError):
        handle.read(lambda tx: tx.nodes.page(owner_id=None, cursor="?", at_most=4))


def test_silent_nodes_are_found_by_the_database_clock(handle):
    for name in ("old", "new", "gone"):
        handle.transact(lambda tx, name=name: tx.nodes.insert(node(name)))
    handle.transact(lambda tx: tx.nodes.set_status(NodeId("gone"), NodeStatus.OFFLINE))
    handle.advance(60_000)
    handle.transact(
        lambda tx: tx.nodes.heartbeat(NodeId("new"), telemetry=None, report=None, network_prefix="")
    )
    silent = handle.read(lambda tx: tx.nodes.silent(older_than_ms=30_000, at_most=10))
    assert silent == ["old"]


def test_node_events_are_newest_first_and_pruned_to_a_number_per_node(handle):
    def add(tx):
        for number in range(10):
            tx.nodes.add_event(
                NodeId("n1"), kind=f"k{number}", health_percent=number, fields={"a": "\x00é"}
            )
        tx.nodes.add_event(NodeId("n2"), kind="only", task_id=task_id(1), active_tasks=2)

    handle.transact(add)
    kinds = lambda name: [  # noqa: E731
        item.kind for item in handle.read(lambda tx: tx.nodes.events(NodeId(name), 5))
    ]
    assert kinds("n1") == ["k9", "k8", "k7", "k6", "k5"]
    assert handle.read(lambda tx: tx.nodes.events(NodeId("n1"), 1))[0].fields == {"a": "\x00é"}
    assert handle.transact(lambda tx: tx.nodes.prune_events(keep_per_node=3, at_most=5)) == 5
    assert handle.transact(lambda tx: tx.nodes.prune_events(keep_per_node=3, at_most=5)) == 2
    assert kinds("n1") == ["k9", "k8", "k7"]
    assert kinds("n2") == ["only"]


def test_an_invitation_is_spent_once_and_expires(handle):
    expires = handle.transact(lambda tx: tx.nodes.add_invite(digest("c"), ALICE, ttl_ms=1000))
    assert expires == START_MS + 1000
    use = lambda tx: tx.nodes.use_invite(digest("c"), NodeId("n1"))  # noqa: E731
    assert handle.transact(use) == ALICE
    assert handle.transact(use) is None
    handle.transact(lambda tx: tx.nodes.add_invite(digest("d"), ALICE, ttl_ms=1000))
    handle.advance(1000)
    assert handle.transact(lambda tx: tx.nodes.use_invite(digest("d"), NodeId("n1"))) is None
    assert handle.transact(lambda tx: tx.nodes.use_invite(digest("e"), NodeId("n1"))) is None
