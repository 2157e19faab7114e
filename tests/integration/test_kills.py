"""The control plane is killed at random moments while clients submit and agents work.

``AMBIENT_VCP_KILLS`` says how often, ``AMBIENT_VCP_KILL_SEED`` repeats a run's choices.
"""

from __future__ import annotations

import base64
import json
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier
from ambient_vcp.domain.log.checkpoint import log_origin
from ambient_vcp.domain.log.verify import verify_log
from ambient_vcp.domain.receipts.verify import verify_receipt
from support.history import History, check_set
from support.processes import BASE, ENDED, Site, add_task, eventually, site, spin_task

KILLS = int(os.environ.get("AMBIENT_VCP_KILLS", "6"))
SEED = int(os.environ.get("AMBIENT_VCP_KILL_SEED") or random.randrange(2**32))
TASKS_PER_KILL_MAX = 50
CLIENTS = 2
PATIENCE_SEC = 120.0
SETTINGS = (
    *("--lease-ms", "10000", "--sweep-ms", "500", "--heartbeat-ms", "500"),
    *("--stream-comment-ms", "500"),
)
MASK = 2**64 - 1


def spun(rounds: int) -> int:
    """What ``spin`` of the slow guest returns, computed here."""
    x = 88172645463325252
    for _ in range(rounds):
        x ^= (x << 13) & MASK
        x ^= x >> 7
        x ^= (x << 17) & MASK
    return x - 2**64 if x >= 2**63 else x


def job(index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Task number ``index`` and the result that it must have: both classes, two programs."""
    choose = random.Random(f"job {SEED} {index}")
    quorum = {"class": "quorum", "replicas": 2}
    changes: dict[str, Any] = {"name": f"job-{index}"}
    changes |= {"verification": quorum} if index % 2 else {}
    if choose.random() < 0.3:
        rounds = choose.randint(1, 2_000)
        value, kind, body = spun(rounds), "i64", spin_task(rounds, **changes)
    else:
        left, right = (choose.randint(-(2**31), 2**31 - 1) for _ in range(2))
        value, kind = (left + right + 2**31) % 2**32 - 2**31, "i32"
        body = add_task(left, right, **changes)
    return body, {"values": [{"type": kind, "value": str(value)}]}


class Submitter(threading.Thread):
    """Submits jobs until told to stop; asks again, with the same key, until it is answered."""

    def __init__(self, number: int, made: Site, history: History, jobs: Iterator[int]) -> None:
        super().__init__(daemon=True)
        self.problem = ""
        self.stopping = threading.Event()
        self._number = number
        self._history = history
        self._jobs = jobs
        self._random = random.Random(f"client {SEED} {number}")
        self._api = httpx.Client(
            base_url=made.plane.url + BASE, headers=made.api.headers, timeout=20, trust_env=False
        )

    def run(self) -> None:
        try:
            for index in self._jobs:
                self._submit(index)
                if self._random.random() < 0.1:
                    # As after a lost answer: the same request must find the same task.
                    self._submit(index)
                time.sleep(self._random.uniform(0, 0.06))
                if self.stopping.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - told to the test, which fails with it
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self._api.close()

    def _submit(self, index: int) -> None:
        key = f"job-{index}"
        headers = {"Idempotency-Key": f"{SEED}-{key}"}
        body, _ = job(index)
        ends = time.monotonic() + PATIENCE_SEC
        while time.monotonic() < ends:
            self._history.add(self._number, "invoke", key)
            try:
                answer = self._api.post("/tasks", json=body, headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500:
                assert answer.status_code == 201, answer.text
                self._history.add(self._number, "ok", key, str(answer.json()["task_id"]))
                return
            self._history.add(self._number, "unknown", key)
            time.sleep(self._random.uniform(0.02, 0.2))
        raise AssertionError(f"{key} was never answered")


class Jobs(Iterator[int]):
    """Numbers for several threads, up to a bound."""

    def __init__(self, at_most: int) -> None:
        self._left = iter(range(at_most))
        self._lock = threading.Lock()

    def __next__(self) -> int:
        with self._lock:
            return next(self._left)


def all_tasks(made: Site) -> dict[str, dict[str, Any]]:
    """Every task there is, by id, through the pages."""
    found, cursor = {}, ""
    while True:
        query = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = made.api.get("/tasks", params=query).raise_for_status().json()
        found.update({task["task_id"]: task for task in page["tasks"]})
        cursor = page["next_cursor"] or ""
        if not cursor:
            return found


def leaves(made: Site) -> Iterator[bytes]:
    start: int | None = 0
    while start is not None:
        query = {"start": start, "limit": 1000}
        page = made.api.get("/log/leaves", params=query).raise_for_status().json()
        yield from (base64.b64decode(leaf["data_b64"]) for leaf in page["leaves"])
        start = page["next"]


def audit_records(made: Site) -> Iterator[dict[str, Any]]:
    for data in leaves(made):
        size = int.from_bytes(data[:8], "big")
        if data[8 : 8 + size] == b"ambient-vcp/audit-leaf/v1":
            yield json.loads(data[8 + size + 8 :])


def endings(made: Site) -> Counter[str]:
    """How often the event stream says of each task that it ended."""
    count: Counter[str] = Counter()
    timeout = httpx.Timeout(10, read=10)
    with made.api.stream("GET", "/events", params={"after": 0}, timeout=timeout) as stream:
        comments = 0
        for line in stream.iter_lines():
            # The first comment opens the stream, the next one says that nothing more waits.
            comments += line.startswith(":")
            if comments > 1:
                break
            if line.startswith("data: "):
                event = json.loads(line[6:])
                if event["kind"] in {f"task.{state}" for state in ENDED}:
                    count[event["task_id"]] += 1
    return count


def storm(made: Site, history: History) -> tuple[list[str], list[float]]:
    """Submit and kill. Answers the checkpoints seen and the moments of the kills."""
    choose = random.Random(f"nemesis {SEED}")
    jobs = Jobs(KILLS * TASKS_PER_KILL_MAX)
    clients = [Submitter(number, made, history, jobs) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    checkpoints, kills = [], []
    for _ in range(KILLS):
        time.sleep(choose.uniform(0.1, 2.5))
        kills.append(time.monotonic())
        made.plane.kill()
        if choose.random() < 0.3:
            # And once more while it starts.
            made.plane.begin()
            time.sleep(choose.uniform(0.05, made.plane.started_sec[-1]))
            made.plane.kill()
        made.plane.up()
        checkpoints.append(made.api.get("/log/checkpoint").raise_for_status().json()["checkpoint"])
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(PATIENCE_SEC + 10)
        assert not client.is_alive()
        assert not client.problem, client.problem
    return checkpoints, kills


def at_rest(made: Site) -> bool:
    states = Counter(task["status"] for task in all_tasks(made).values())
    spooled = sum(len(agent.spooled()) for agent in made.agents.values())
    return set(states) <= ENDED and not spooled


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_ends_twice_however_often_it_is_killed(
    tmp_path: Path,
) -> None:
    print(f"seed {SEED}, {KILLS} kills; repeat with AMBIENT_VCP_KILL_SEED={SEED}")
    history = History()
    with site(tmp_path, *SETTINGS) as made:
        for number in range(3):
            made.agent(f"node-{number}")
        checkpoints, kills = storm(made, history)
        eventually("rest", lambda: at_rest(made), 180)
        final = all_tasks(made)
        assert not check_set(history, final)
        check_results(made, final)
        check_receipts(made, list(final))
        # The log shows its leaves when they are integrated, a moment after they are written.
        eventually("log of all results", lambda: recorded_once(made, final), 20)
        check_log(made, checkpoints)
        ended = endings(made)
        assert ended == Counter(dict.fromkeys(final, 1))
        for node_id in made.agents:
            assert made.node(node_id)["reputation"]["disputes"] == 0
        report(made, history, kills, final)


def check_results(made: Site, final: dict[str, dict[str, Any]]) -> None:
    for task_id, listed in final.items():
        _, expected = job(int(listed["name"].removeprefix("job-")))
        task = made.task(task_id)
        assert (task["status"], task["result"]) == ("completed", expected), task
        per_slot: Counter[int] = Counter()
        completed: Counter[int] = Counter()
        for attempt in sorted(task["attempts"], key=lambda each: (each["slot"], each["epoch"])):
            per_slot[attempt["slot"]] += 1
            # Epochs rise by one with each grant and are never used again.
            assert attempt["epoch"] == per_slot[attempt["slot"]], task["attempts"]
            completed[attempt["slot"]] += attempt["state"] == "completed"
        assert max(completed.values()) == 1, task["attempts"]


def check_receipts(made: Site, task_ids: list[str]) -> None:
    key = made.api.get("/control-plane").raise_for_status().json()["public_key"]
    verifier = Ed25519Verifier()
    for task_id in task_ids:
        text = made.receipt(task_id)
        found = verify_receipt(text, trusted_keys={key: "this test's"}, verifier=verifier)
        assert found.ok, found.checks
        assert found.receipt is not None
        assert found.receipt.body.task.task_id == task_id


def recorded_once(made: Site, final: dict[str, dict[str, Any]]) -> bool:
    """Whether the log has a result for each task; never two for one slot."""
    results = Counter(
        (record["subject"], record["fields"]["slot"])
        for record in audit_records(made)
        if record["kind"] == "result.recorded"
    )
    assert not results or max(results.values()) == 1, results.most_common(3)
    return {task_id for task_id, _ in results} == set(final)


def check_log(made: Site, checkpoints: list[str]) -> None:
    """The whole log agrees with every checkpoint that was ever seen."""
    plane = made.api.get("/control-plane").raise_for_status().json()
    newest = made.api.get("/log/checkpoint").raise_for_status().json()
    found = list(leaves(made))
    later = made.api.get("/log/checkpoint").raise_for_status().json()
    checked = verify_log(
        found,
        [*checkpoints, newest["checkpoint"]],
        origin=log_origin(plane["control_plane_id"]),
        public_key=plane["public_key"],
        checker=Ed25519Verifier(),
    )
    assert checked.ok, checked.findings
    assert newest["size"] <= len(found) <= later["size"]
    assert checked.attested_size >= newest["size"]


def report(
    made: Site, history: History, kills: list[float], final: dict[str, dict[str, Any]]
) -> None:
    waits = [wait for at in kills if (wait := history.first_ok_after(at)) is not None]
    logs = [agent.log for agent in made.agents.values()]
    print(
        f"{KILLS} kills, {len(final)} tasks, {history.count('ok')} acknowledgements,"
        f" {history.count('unknown')} unknown outcomes retried; lost 0, doubled 0"
        f" (95 % bound per kill {min(1.0, 3 / KILLS):.2f})"
    )
    print(
        f"kill to next acknowledgement: median {statistics.median(waits):.1f} s,"
        f" most {max(waits):.1f} s; start of the program: median"
        f" {statistics.median(made.plane.started_sec):.1f} s"
    )
    for status in ("duplicate", "too_late", "refused"):
        seen = sum(log.count(f"status={status}") for log in logs)
        print(f"results sent again by agents and answered {status}: {seen}")


def test_the_checker_of_histories_finds_what_it_looks_for() -> None:
    history = History()
    for key, task_id in (("a", "1"), ("b", "2"), ("b", "3")):
        history.add(0, "invoke", key)
        history.add(0, "ok", key, task_id)
    history.add(0, "invoke", "c")
    history.add(0, "unknown", "c")
    tasks = {"2": {"name": "b"}, "3": {"name": "b"}, "4": {"name": "c"}, "5": {"name": "d"}}
    assert check_set(history, tasks) == [
        "task 1 of a is lost",
        "key b was answered with 2 tasks",
        "key b made 2 tasks",
        "nobody asked for d",
    ]
    good = History()
    good.add(0, "invoke", "a")
    good.add(0, "ok", "a", "1")
    assert check_set(good, {"1": {"name": "a"}}) == []
    assert check_set(good, {"2": {"name": "a"}}) == [
        "task 1 of a is lost",
        "key a was answered with another task than 2",
    ]
