"""What was acknowledged is there: after kill -9, on a full disk, when a server goes away."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import psycopg
import pytest

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.domain.errors import UnavailableError
from support.postgres import PostgresServer
from support.stores import (
    TEMPLATE,
    FakeClock,
    new_task,
    postgresql_handle,
    prepare_template,
    spec,
    sqlite_handle,
    task_id,
)

WRITER = """
import asyncio, sys
sys.path[:0] = {paths!r}
from support.stores import new_task
from ambient_vcp.adapters.sql import SqlStore

async def main():
    store = await SqlStore.open({url!r})
    async def submit(first):
        for number in range(first, 10**9, 8):
            await store.transact(
                lambda tx: tx.tasks.insert([new_task({base} + number)], independence_waived=False)
            )
            print({base} + number, flush=True)
    await asyncio.gather(*(submit(n) for n in range(8)))

asyncio.run(main())
"""


def kill_while_it_writes(url: str, base: int, wait_sec: float, victim=None) -> list[int]:
    """Run a writer, kill -9 it (or what ``victim`` names) and answer what it acknowledged."""
    code = WRITER.format(paths=[path for path in sys.path if path], url=url, base=base)
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    numbers: list[int] = []

    def collect():
        numbers.extend(int(line) for line in writer.stdout if line.endswith("\n"))

    reader = threading.Thread(target=collect)
    reader.start()
    deadline = time.monotonic() + 60
    while not numbers and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait_sec)
    if victim is None:
        os.kill(writer.pid, signal.SIGKILL)
    else:
        victim()
        writer.wait(timeout=60)
    writer.wait()
    reader.join()
    writer.stdout.close()
    return numbers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_acknowledged_task_survives_ten_kills_of_the_process(tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    url = f"sqlite:///{tmp_path / 'state.db'}"
    acknowledged: set[int] = set()
    for round_number in range(10):
        numbers = kill_while_it_writes(url, round_number * 1_000_000, chance.uniform(0.0, 0.15))
        assert numbers, "the writer acknowledged nothing"
        acknowledged.update(numbers)
        with SqlStore.open_sync(url) as store:
            wanted = [task_id(number) for number in acknowledged]
            found = store.read(lambda tx, wanted=wanted: tx.tasks.load(wanted))
        assert len(found) == len(acknowledged)
        assert all(len(record.slots) == 1 for record in found.values())
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_every_acknowledged_task_survives_crashes_of_postgresql(postgres_server):
    assert postgres_server is not None  # skips where there is none
    server = PostgresServer()
    try:
        prepare_template(server)
        for round_number in range(2):
            base = round_number * 1_000_000
            numbers = kill_while_it_writes(
                server.dsn(TEMPLATE), base, 0.1, lambda: server.stop(signal.SIGQUIT)
            )
            assert numbers, "the writer acknowledged nothing"
            server.start()
            with SqlStore.open_sync(server.dsn(TEMPLATE), connections=2) as store:
                wanted = [task_id(number) for number in numbers]
                found = store.read(lambda tx, wanted=wanted: tx.tasks.load(wanted))
            assert len(found) == len(numbers)
    finally:
        server.close()


def fill(store, first=0):
    """Insert until the store refuses; answers how many were acknowledged, and the error."""
    what = spec(name="x" * 20_000)
    for number in range(first, first + 100_000):
        task = new_task(number, what=spec(name=f"{number:05d}{what.name}"))
        try:
            store.transact(lambda tx, task=task: tx.tasks.insert([task], independence_waived=False))
        except UnavailableError as error:
            return number, error
    pytest.fail("the store never became full")


def check_whole(store, count):
    wanted = [task_id(number) for number in range(count + 1)]
    found = store.read(lambda tx: tx.tasks.load(wanted))
    assert set(found) == set(wanted[:count])
    assert all(len(record.slots) == 1 for record in found.values())


def test_a_full_database_refuses_and_writes_nothing_by_halves(tmp_path):
    with sqlite_handle("sqlite-file", tmp_path) as handle:
        driver = handle.store._database._driver
        pages = driver.execute("PRAGMA page_count").fetchone()[0]
        driver.execute(f"PRAGMA max_page_count = {pages + 200}")
        count, error = fill(handle.store)
        assert count > 10
        assert "full" in str(error)
        assert error.retryable
        check_whole(handle.store, count)
        driver.execute(f"PRAGMA max_page_count = {pages + 400}")
        more, _ = fill(handle.store, count)
        assert more > count
        check_whole(handle.store, more)


LIMITED = """
import resource, signal, sys
sys.path[:0] = {paths!r}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from support.stores import FakeClock
from contract.test_store_durability import check_whole, fill
from ambient_vcp.adapters.sql import SqlStore
store = SqlStore.open_sync({url!r}, clock=FakeClock())
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
count, error = fill(store)
print("refused", count, error)
check_whole(store, count)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.transact(lambda tx: tx.events.add("works again"))
print("works", count)
"""


def test_a_disk_that_takes_no_more_is_told_and_forgotten_when_it_has_room(tmp_path):
    """The operating system refuses to let the files grow, in the middle of commits."""
    assert resource.RLIM_INFINITY is not None
    url = f"sqlite:///{tmp_path / 'state.db'}"
    code = LIMITED.format(paths=[path for path in sys.path if path], url=url)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert "works" in done.stdout, done.stderr[-3000:]
    count = int(done.stdout.split()[-1])
    assert count > 10
    with SqlStore.open_sync(url, clock=FakeClock()) as store:
        check_whole(store, count)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_file_system_refuses_and_loses_nothing(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(
            f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}"
        )
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", folder], check=True)
        with sqlite_handle("sqlite-file", folder) as handle:
            count, error = fill(handle.store)
            assert "full" in str(error) or "disk" in str(error)
            check_whole(handle.store, count)
        with sqlite_handle("sqlite-file", folder) as handle:
            check_whole(handle.store, count)


@pytest.mark.postgres
def test_a_lost_connection_before_the_commit_is_repaired_by_running_again(postgres_server):
    with postgresql_handle(postgres_server) as handle:
        runs = []

        def use_case(tx):
            runs.append(1)
            tx.tasks.insert([new_task(1)], independence_waived=False)
            if len(runs) == 1:
                cut_off(handle)
                tx.now_ms()

        handle.transact(use_case)
        assert len(runs) == 2
        assert handle.read(lambda tx: tx.tasks.counts()) == {"pending": 1}


@pytest.mark.postgres
def test_a_commit_of_unknown_outcome_is_reported_and_never_repeated(postgres_server):
    with postgresql_handle(postgres_server) as handle:
        runs = []

        def use_case(tx):
            runs.append(1)
            tx.tasks.insert([new_task(1)], independence_waived=False)
            cut_off(handle)

        with pytest.raises(UnavailableError, match="may have been made or not"):
            handle.transact(use_case)
        assert len(runs) == 1
        handle.submit(new_task(2))


def cut_off(handle):
    """Let the server drop every other connection to this database."""
    with psycopg.connect(handle.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    time.sleep(0.2)
