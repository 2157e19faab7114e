"""The whole system on a real PostgreSQL: the same programs with another URL."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier
from ambient_vcp.domain.receipts.verify import verify_receipt
from support.postgres import PostgresMissingError, PostgresServer
from support.processes import Site, add_task, eventually, site, spin_task

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        made = PostgresServer()
    except PostgresMissingError as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server.run("postgres", "CREATE DATABASE vcp")
    options = ("--database", server.dsn("vcp"), "--lease-ms", "4000", "--sweep-ms", "500")
    with site(tmp_path_factory.mktemp("postgresql"), *options) as made:
        for name in ("one", "two", "three"):
            made.agent(name)
        yield made


def test_a_quorum_agrees_and_its_receipt_verifies(cluster: Site) -> None:
    task_id = cluster.submit(verification={"class": "quorum", "replicas": 3})
    ended = cluster.ended(task_id)
    key = cluster.api.get("/control-plane").json()["public_key"]
    answer = verify_receipt(
        cluster.receipt(task_id), trusted_keys={key: "test"}, verifier=Ed25519Verifier()
    )
    assert ended["status"] == "completed", ended
    assert ended["result"] == {"values": [{"type": "i32", "value": "5"}]}
    assert all(check.ok for check in answer.checks), answer


def test_many_tasks_at_once_all_end_with_their_own_result(cluster: Site) -> None:
    tasks = [add_task(number, 1000) for number in range(120)]
    answer = cluster.api.post("/tasks/bulk", json={"tasks": tasks}).raise_for_status().json()
    for number, task_id in enumerate(answer["task_ids"]):
        ended = cluster.ended(task_id)
        assert ended["result"] == {"values": [{"type": "i32", "value": str(number + 1000)}]}


def test_a_killed_node_is_replaced(cluster: Site) -> None:
    task_id = cluster.submit(**spin_task(300_000_000))
    node_id = eventually(
        "a node that works",
        lambda: next(
            (a["node_id"] for a in cluster.task(task_id)["attempts"] if a["started_at_ms"]), ""
        ),
    )
    cluster.agents[node_id].kill()
    ended = cluster.ended(task_id)
    cluster.agents[node_id].up()
    assert ended["status"] == "completed", ended
    assert {a["state"] for a in ended["attempts"]} == {"expired", "completed"}


def test_an_immediate_stop_of_the_database_loses_nothing_acknowledged(
    cluster: Site, server: PostgresServer
) -> None:
    task_ids = [cluster.submit() for _ in range(20)]
    server.stop(signal.SIGQUIT)
    refused = cluster.api.post("/tasks", json=add_task(1, 1))
    server.start()
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "service_unavailable"
    for task_id in task_ids:
        eventually("the API again", cluster.plane.healthy)
        assert cluster.ended(task_id)["status"] == "completed"
