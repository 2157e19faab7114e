"""The thread through which every change of a SQLite database goes, many to a commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ambient_vcp.adapters.sql.sqlite import Outcome, SqliteDatabase
from ambient_vcp.domain.errors import UnavailableError
from ambient_vcp.ports.store import Transaction

BATCH_MAX = 128
QUEUE_MAX = 8_192


@dataclass(frozen=True, slots=True)
class _Job:
    use_case: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class GroupCommitWriter:
    """Takes use cases from event loops; those that gather during one commit share the next."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=QUEUE_MAX)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, use_case: Callable[[Transaction], Any]) -> asyncio.Future[Any]:
        """Queue a use case; the future resolves after its commit.

        Raises:
            UnavailableError: the queue is full, or the store is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            raise UnavailableError(reason="the store is closed")
        try:
            self._jobs.put_nowait(_Job(use_case, future, loop))
        except queue.Full:
            raise UnavailableError(reason="too many changes are waiting") from None
        return future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        running = True
        while running:
            jobs, running = self._gather()
            if jobs:
                _resolve(jobs, self._database.run_batch([job.use_case for job in jobs]))

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take those that are there. False: the last ones."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if not job.future.cancelled():
                jobs.append(job)
            if len(jobs) >= BATCH_MAX:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False


def _resolve(jobs: Sequence[_Job], outcomes: Sequence[Outcome[Any]]) -> None:
    """Tell each event loop once about all of its jobs."""
    by_loop: defaultdict[
        asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome[Any]]]
    ] = defaultdict(list)
    for job, outcome in zip(jobs, outcomes, strict=True):
        by_loop[job.loop].append((job.future, outcome))
    for loop, settled in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[asyncio.Future[Any], Outcome[Any]]]) -> None:
    for future, outcome in settled:
        if future.cancelled():
            continue
        if outcome.error is not None:
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome.value)
