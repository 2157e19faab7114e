"""The control plane's machine gets another time of day while leases are alive.

libfaketime moves the clock of the control plane's process alone; without the library (Debian's
package ``libfaketime``) these tests are skipped. The store's clock is also tested without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from support.debian import install, may_install
from support.processes import ACCOUNT, SHORT_LEASES, Site, eventually


def _libraries() -> list[Path]:
    return sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


if not _libraries() and may_install():
    install("libfaketime")
LIBRARIES = _libraries()
LEASE_SEC, SWEEP_SEC, SLACK_SEC = 4.0, 1.0, 2.0
HOUR_SEC, DAY_SEC = 3_600, 86_400
LONG = {"min_nodes": 1, "max_execution_time_sec": 600}
PATIENT = ("--chaos", "slow:120")
"""Holds its lease, by renewing, for longer than a test lasts."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARIES, reason="not installed: apt-get install libfaketime"),
]


@contextmanager
def movable(root: Path) -> Iterator[tuple[Site, Callable[[int], None]]]:
    """A site, and how to set its control plane's clock to so many seconds from the true time."""
    offset = root / "offset"
    offset.write_text("+0")
    variables = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    made = Site(root, *SHORT_LEASES)

    def move(seconds: int) -> None:
        offset.write_text(f"{seconds:+d}")
        eventually("moved clock", lambda: abs(skew_sec(made) - seconds) < 5, 10)
        # A token from another time may be none now; a person logs in again, and so do nodes.
        login = made.api.post("/auth/login", json=ACCOUNT).raise_for_status().json()
        made.api.headers["Authorization"] = f"Bearer {login['access_token']}"

    try:
        made.up(variables)
        yield made, move
        assert not made.plane.bugs, made.plane.bugs[:3]
    finally:
        made.close()


def skew_sec(made: Site) -> float:
    """How far the control plane's time of day is from ours."""
    stamp = str(made.api.get("/health").json()["timestamp"])
    return datetime.fromisoformat(stamp).timestamp() - time.time()


@pytest.mark.parametrize("seconds", [HOUR_SEC, -DAY_SEC])
def test_a_moved_clock_ends_no_lease_early(tmp_path: Path, seconds: int) -> None:
    with movable(tmp_path) as (made, move):
        made.agent("node", *PATIENT)
        task_id = made.submit(requirements=LONG)
        made.in_states(task_id, {"running"})
        move(seconds)
        ends = time.monotonic() + 1.5 * LEASE_SEC
        while time.monotonic() < ends:
            task = made.task(task_id)
            assert [a["epoch"] for a in task["attempts"]] == [1], task
            time.sleep(0.2)
        assert made.task(task_id)["status"] == "running"
        assert made.api.post(f"/tasks/{task_id}/cancel").status_code == 200


@pytest.mark.parametrize("seconds", [-HOUR_SEC])
def test_a_moved_clock_keeps_no_lease_of_a_dead_node_alive(tmp_path: Path, seconds: int) -> None:
    with movable(tmp_path) as (made, move):
        victim = made.agent("victim", *PATIENT)
        task_id = made.submit(requirements=LONG)
        made.in_states(task_id, {"running"})
        made.agent("other")
        victim.kill()
        killed_at = time.monotonic()
        move(seconds)
        eventually("other node", lambda: len(made.task(task_id)["attempts"]) > 1, 60)
        waited_sec = time.monotonic() - killed_at
        assert made.task(task_id)["attempts"][0]["state"] == "expired"
        print(f"clock moved {seconds:+d} s: work moved on {waited_sec:.1f} s after the kill")
        assert waited_sec <= LEASE_SEC + SWEEP_SEC + SLACK_SEC
