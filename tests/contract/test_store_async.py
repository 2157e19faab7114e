"""The store as the control plane uses it: many coroutines, few commits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.adapters.sql.engines.writer import QUEUE_MAX
from ambient_vcp.domain.errors import UnavailableError
from support.stores import ALICE, FakeClock, new_task, postgresql_handle, task_id


@pytest.fixture(params=["file", "memory", pytest.param("pg", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "file":
        yield f"sqlite:///{tmp_path / 'state.db'}"
    elif request.param == "memory":
        yield "sqlite://"
    else:
        with postgresql_handle(request.getfixturevalue("postgres_server")) as handle:
            handle.store.close()
            yield handle.url


def run(url, scenario):
    async def main():
        store = await SqlStore.open(url, clock=FakeClock())
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(main())


def insert(number):
    return lambda tx: tx.tasks.insert([new_task(number)], independence_waived=False)


def test_a_use_case_that_fails_leaves_its_neighbours_in_the_batch_alone(url):
    async def scenario(store):
        def use_case(number):
            def act(tx):
                insert(number)(tx)
                if number % 3 == 0:
                    raise LookupError(str(number))
                return number

            return act

        answers = await asyncio.gather(
            *(store.transact(use_case(number)) for number in range(60)), return_exceptions=True
        )
        found = await store.read(lambda tx: tx.tasks.load([task_id(n) for n in range(60)]))
        return answers, found

    answers, found = run(url, scenario)
    for number, answer in enumerate(answers):
        if number % 3 == 0:
            assert isinstance(answer, LookupError)
            assert str(answer) == str(number)
            assert task_id(number) not in found
        else:
            assert answer == number
            assert task_id(number) in found


def test_what_is_acknowledged_can_be_read_at_once(url):
    async def scenario(store):
        async def one(number):
            await store.transact(insert(number))
            return await store.read(lambda tx: tx.tasks.load([task_id(number)]))

        return await asyncio.gather(*(one(number) for number in range(40)))

    assert all(len(found) == 1 for found in run(url, scenario))


def test_a_full_queue_is_refused_and_a_closed_store_too(tmp_path):
    async def main():
        store = await SqlStore.open(f"sqlite:///{tmp_path / 'state.db'}", clock=FakeClock())
        gate = threading.Event()
        blocker = asyncio.ensure_future(store.transact(lambda tx: gate.wait()))
        await asyncio.sleep(0.2)
        waiting = [asyncio.ensure_future(store.transact(lambda tx: None)) for _ in range(QUEUE_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="too many"):
            await store.transact(lambda tx: None)
        gate.set()
        await asyncio.gather(blocker, *waiting)
        await store.transact(insert(1))
        await store.close()
        with pytest.raises(UnavailableError, match="closed"):
            await store.transact(lambda tx: None)
        with pytest.raises(UnavailableError, match="closed"):
            await store.read(lambda tx: None)

    asyncio.run(main())


def test_a_caller_who_gives_up_does_not_disturb_the_others(url):
    async def scenario(store):
        calls = [asyncio.ensure_future(store.transact(insert(n))) for n in range(50)]
        for call in calls[::5]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        kept = [n for n, answer in enumerate(answers) if answer is None]
        return kept, await store.read(lambda tx: tx.tasks.load([task_id(n) for n in kept]))

    kept, found = run(url, scenario)
    assert len(kept) == 40
    assert len(found) == 40


def test_many_commits_become_few(tmp_path):
    """A hundred callers at once cost far fewer commits than use cases."""

    async def main():
        store = await SqlStore.open(f"sqlite:///{tmp_path / 'state.db'}", clock=FakeClock())
        commits = []
        database = store._runner._database
        run_batch = database.run_batch

        def counted(use_cases):
            commits.append(len(use_cases))
            return run_batch(use_cases)

        database.run_batch = counted
        await asyncio.gather(
            *(store.transact(lambda tx: tx.events.add("e", account_id=ALICE)) for _ in range(1000))
        )
        await store.close()
        return commits

    commits = asyncio.run(main())
    assert sum(commits) == 1000
    assert len(commits) < 200
