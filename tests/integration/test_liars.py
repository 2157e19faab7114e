"""A node that lies among nodes that do not: real agents, real cells, ``--chaos wrong-result``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ambient_vcp.domain.nodes.reputation import SCORE_MIN_FOR_WORK
from support.processes import Site, add_task, eventually, site

TASKS = 40
SETTINGS = ("--heartbeat-ms", "500", "--lease-ms", "10000", "--sweep-ms", "500")
LIAR = "liar"
HONEST = ("honest-0", "honest-1", "honest-2")
OPEN = frozenset({"assigned", "in_progress"})


def submit(made: Site, numbers: range, **changes: Any) -> dict[str, str]:
    """One task for each number; answers the value that each must have, by id."""
    tasks = [add_task(number, 1000, **changes) for number in numbers]
    answer = made.api.post("/tasks/bulk", json={"tasks": tasks})
    assert answer.status_code == 201, answer.text
    return dict(zip(answer.json()["task_ids"], (str(n + 1000) for n in numbers), strict=True))


def value(task: dict[str, Any]) -> str:
    return str(task["result"]["values"][0]["value"])


def quorum(replicas: int) -> dict[str, Any]:
    return {"verification": {"class": "quorum", "replicas": replicas}}


def signed(audit_rate: float) -> dict[str, Any]:
    return {"verification": {"class": "signed", "audit_rate": audit_rate}}


def reputations(made: Site) -> dict[str, dict[str, Any]]:
    return {name: made.node(name)["reputation"] for name in made.agents}


def check_standing(made: Site) -> None:
    """The liar stands below every honest node and below what is needed for work."""
    found = reputations(made)
    liar = found.pop(LIAR)
    assert liar["disputes"] >= 1
    assert liar["score"] < SCORE_MIN_FOR_WORK
    for honest in found.values():
        assert honest["disputes"] == 0
        assert honest["score"] > max(liar["score"], SCORE_MIN_FOR_WORK)


def settled(made: Site, task_id: str) -> dict[str, Any] | None:
    """The task when nothing of it is open any more, audits included."""
    task = made.task(task_id)
    done = task["assurance"] in {"final", "audited", "refuted"}
    busy = any(attempt["state"] in OPEN for attempt in task["attempts"])
    return task if done and not busy else None


@pytest.mark.slow
def test_no_lie_becomes_the_final_result_of_a_quorum_and_the_liar_falls(tmp_path: Path) -> None:
    with site(tmp_path, *SETTINGS) as made:
        made.agent(LIAR, "--chaos", "wrong-result")
        for name in HONEST:
            made.agent(name)
        expected = submit(made, range(TASKS), **quorum(2))
        lied = 0
        for task_id, right in expected.items():
            task = made.ended(task_id)
            assert (task["status"], value(task)) == ("completed", right), task
            assert task["assurance"] == "final"
            voted = {a["node_id"]: a["verdict"] for a in task["attempts"] if a["verdict"]}
            lied += LIAR in voted
            assert voted.pop(LIAR, "disagreed") == "disagreed"
            assert set(voted.values()) == {"agreed"}
            assert len(voted) >= 2
        assert lied >= 1, "chance never asked the liar"
        check_standing(made)
        # And from now on it is not asked any more.
        later = submit(made, range(TASKS, TASKS + 10), **quorum(2))
        for task_id, right in later.items():
            task = made.ended(task_id)
            assert (value(task), task["decision"]) == (right, "unanimous")
            assert LIAR not in {a["node_id"] for a in task["attempts"]}
        print(f"{TASKS} quorum tasks, {lied} with a lie, wrong finals 0; {reputations(made)}")


@pytest.mark.slow
def test_what_only_a_liar_signed_is_refuted_by_audits_and_its_older_word_re_opened(
    tmp_path: Path,
) -> None:
    with site(tmp_path, *SETTINGS) as made:
        made.agent(LIAR, "--chaos", "wrong-result")
        # Nobody else is there: what it says stands, provisionally, as class `signed` says it does.
        older = submit(made, range(10), **signed(0.05))
        for task_id, right in older.items():
            task = made.ended(task_id)
            assert value(task) != right
            assert task["assurance"] == "provisional"
            assert task["error_bound_ppb"] > 0
        audited = submit(made, range(10, 20), **signed(1.0))
        for task_id in audited:
            made.ended(task_id)
        for name in HONEST:
            made.agent(name)
        for task_id, right in {**older, **audited}.items():
            task = eventually("audit", lambda t=task_id: settled(made, t), 60)
            assert task["assurance"] == "refuted", task
            # What was delivered is not rewritten; its standing is.
            assert value(task) != right
            verdicts = {a["node_id"]: a["verdict"] for a in task["attempts"] if a["verdict"]}
            assert verdicts.pop(LIAR) == "disagreed"
            assert len(verdicts) >= 2
            assert set(verdicts.values()) == {"agreed"}
        check_standing(made)
        honest = submit(made, range(20, 30), **signed(1.0))
        for task_id, right in honest.items():
            task = eventually("audit", lambda t=task_id: settled(made, t), 60)
            assert (value(task), task["assurance"]) == (right, "audited")
        assert all(made.node(name)["reputation"]["disputes"] == 0 for name in HONEST)
        print(f"20 lies of class signed, all refuted; {reputations(made)}")
