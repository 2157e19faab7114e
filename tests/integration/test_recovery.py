"""A disk that is full, of the control plane or of a node, and what comes back with the space.

A small file system in memory stands for the disk. Mounting it needs root.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ambient_vcp.apps.node.settings import DISK_FREE_BYTES_MIN
from support.processes import Site, add_task, eventually, site, spin_task

MIB = 1024 * 1024
PLANE_DISK_BYTES = 24 * MIB
LEFT_BYTES = 3 * MIB
SETTINGS = ("--heartbeat-ms", "500", "--lease-ms", "4000", "--sweep-ms", "500")
STARTED = frozenset({"running", "verifying", "completed"})
PADDING = "x" * 100


def _mount(*arguments: str) -> str:
    """Empty when it worked, else why not."""
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or "it failed"


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of that size on ``folder``; skips where this machine does not allow it."""
    folder.mkdir()
    problem = _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder))
    if problem:
        pytest.skip(f"a small file system cannot be mounted here, which needs root: {problem}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size_bytes: int) -> None:
    problem = _mount("-o", f"remount,size={size_bytes}", str(folder))
    assert not problem, problem


def fill(folder: Path, leave_bytes: int) -> Path:
    """Take the space of a disk but for a rest; answers what to remove to have it back."""
    ballast = folder / "ballast"
    disk = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave_bytes)
    return ballast


def check_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    error = answer.json()
    assert error["code"] == "service_unavailable"
    assert error["retryable"]
    assert error["hint"]
    assert "Retry-After" in answer.headers


def submit(made: Site, number: int) -> httpx.Response:
    # Each has a module text of its own length in its name, so that the disk fills steadily.
    body = add_task(number, 7, name=f"{number}-{PADDING}")
    return made.api.post("/tasks", json=body, headers={"Idempotency-Key": f"n{number}"})


def until_full(made: Site) -> tuple[dict[int, str], int]:
    """Submit until there is no room for one more: what was taken in, and what was not."""
    known: dict[int, str] = {}
    for number in range(20_000):
        answer = submit(made, number)
        if answer.status_code != 201:
            check_unavailable(answer)
            return known, number
        known[number] = answer.json()["task_id"]
    raise AssertionError("the disk does not become full")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_disk_of_the_control_plane_refuses_openly_and_loses_nothing(
    tmp_path: Path,
) -> None:
    with (
        small_disk(tmp_path / "disk", PLANE_DISK_BYTES) as disk,
        site(tmp_path, *SETTINGS, plane_dir=disk / "plane") as made,
    ):
        ballast = fill(disk, LEFT_BYTES)
        known, refused = until_full(made)
        assert known, "there was no room for a single task"
        blob = os.urandom(512 * 1024)
        digest = hashlib.sha256(blob).hexdigest()
        octets = {"Content-Type": "application/octet-stream"}
        check_unavailable(made.api.put(f"/blobs/{digest}", content=blob, headers=octets))
        check_unavailable(submit(made, refused))
        # Reading goes on, and everything that was acknowledged is there.
        for task_id in known.values():
            assert made.task(task_id)["status"] in {"pending", "held"}
        # A crash with a full disk must not lose anything either.
        made.plane.kill()
        ballast.unlink()
        made.plane.up()
        until_healthy(made)
        assert len(made.api.get("/tasks", params={"limit": 200}).json()["tasks"]) == min(
            200, len(known)
        )
        again = submit(made, refused)
        assert again.status_code == 201, again.text
        stored = made.api.put(f"/blobs/{digest}", content=blob, headers=octets)
        assert stored.status_code in {200, 201}, stored.text
        assert made.api.get(f"/blobs/{digest}").content == blob
        made.agent("node")
        for number, task_id in {**known, refused: again.json()["task_id"]}.items():
            task = made.ended(task_id)
            assert task["result"] == {"values": [{"type": "i32", "value": str(number + 7)}]}
        print(f"{len(known)} tasks taken in before the disk was full, lost 0")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_control_plane_with_a_full_disk_recovers_without_a_restart(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", PLANE_DISK_BYTES) as disk,
        site(tmp_path, *SETTINGS, plane_dir=disk / "plane") as made,
    ):
        agent = made.agent("node", "--chaos", "slow:1")
        answer = made.api.post("/tasks", json=spin_task(1_000_000))
        task_id = str(answer.json()["task_id"])
        made.in_states(task_id, {"running"})
        # Its log is on this disk too: lines that nobody can write must stop no loop.
        ballast = fill(disk, 0)
        # Its result cannot be recorded now. It is not lost: the agent keeps it, or runs it again.
        eventually("refusal", lambda: submit(made, 1).status_code == 503)
        eventually("finished run", lambda: "finished task=" in agent.log)
        assert made.task(task_id)["status"] not in {"completed", "failed"}
        ballast.unlink()
        assert made.ended(task_id)["status"] == "completed"
        until_healthy(made)
        assert submit(made, 1).status_code == 201
        eventually("empty spool", lambda: not agent.spooled())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_node_whose_disk_is_full_says_so_and_its_work_goes_elsewhere(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 2 * DISK_FREE_BYTES_MIN) as disk,
        site(tmp_path, *SETTINGS) as made,
    ):
        full = made.agent("full", data_dir=disk / "node")
        first = made.submit()
        assert made.ended(first)["attempts"][0]["node_id"] == "full"
        resize(disk, DISK_FREE_BYTES_MIN // 2)
        eventually("refusal", lambda: made.node("full")["refusing"] == ["disk_full"])
        waiting = made.submit()
        explained = made.api.get(f"/tasks/{waiting}/explain").json()
        assert explained["slots"][0]["refusals"] == {"owner_limits": 1}, explained
        made.agent("roomy")
        assert made.ended(waiting)["attempts"][-1]["node_id"] == "roomy"
        resize(disk, 2 * DISK_FREE_BYTES_MIN)
        eventually("room again", lambda: made.node("full")["refusing"] == [])
        assert full.is_running


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_disk_that_fills_up_while_a_node_works_costs_that_attempt_alone(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 2 * DISK_FREE_BYTES_MIN) as disk,
        site(tmp_path, *SETTINGS) as made,
    ):
        agent = made.agent("full", "--chaos", "slow:1", data_dir=disk / "node")
        made.agent("roomy", "--chaos", "slow:1")
        tasks = [str(made.api.post("/tasks", json=spin_task(1_000_000)).json()["task_id"])]
        while not any(on_node(made, task_id, "full") for task_id in tasks):
            assert len(tasks) < 30
            tasks.append(str(made.api.post("/tasks", json=spin_task(1_000_000)).json()["task_id"]))
            eventually("start", lambda: made.task(tasks[-1])["status"] in STARTED)
        task_id = next(each for each in tasks if on_node(made, each, "full"))
        resize(disk, used_bytes(disk))
        task = made.ended(task_id)
        assert task["status"] == "completed", task
        # Without a place for its output it says so at once; its lease need not run out.
        for attempt in task["attempts"][:-1]:
            assert (attempt["node_id"], attempt["reason"]) == ("full", "node_error"), task
        assert task["attempts"][-1]["state"] == "completed"
        assert agent.is_running
        resize(disk, 2 * DISK_FREE_BYTES_MIN)
        eventually("room again", lambda: made.node("full")["refusing"] == [])
        made.agents["roomy"].stop()
        assert made.ended(made.submit())["attempts"][0]["node_id"] == "full"


def until_healthy(made: Site) -> None:
    """Loops that failed try again within ten seconds."""
    try:
        eventually("health", made.plane.healthy)
    except AssertionError as error:
        raise AssertionError(f"{error}: {made.api.get('/health').text}") from None


def on_node(made: Site, task_id: str, node_id: str) -> bool:
    return any(
        (attempt["node_id"], attempt["state"]) == (node_id, "in_progress")
        for attempt in made.task(task_id)["attempts"]
    )


def used_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
