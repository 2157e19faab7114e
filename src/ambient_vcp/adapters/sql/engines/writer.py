"""The thread through which every change of a SQLite database goes, many to a commit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ambient_vcp.adapters.sql.engines.sqlite import Outcome, SqliteDatabase
from ambient_vcp.domain.errors import UnavailableError
from ambient_vcp.ports.store import Transaction

BATCH_MAX = 128
QUEUE_MAX = 8_192


@dataclass(frozen=True, slots=True)
class _Job:
    use_case: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True)
class _Turn:
    """What an event loop has not handed over yet; ``is_due`` once it will in its next turn."""

    jobs: list[_Job] = field(default_factory=list)
    is_due: bool = False


class GroupCommitWriter:
    """Takes use cases from event loops; those that gather during one commit share the next.

    What one turn of an event loop brings is handed over together: waking the thread for the first
    of them would make it commit that one alone, while it and the loop take turns at the rest.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._turns: dict[asyncio.AbstractEventLoop, _Turn] = {}
        self._waiting = 0
        self._arrived: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._left: deque[_Job] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(
        self, use_case: Callable[[Transaction], Any], *, within_ms: int = 0
    ) -> asyncio.Future[Any]:
        """Queue a use case; the future resolves after its commit.

        One that may wait ``within_ms`` shares the commit of the next that may not.

        Raises:
            UnavailableError: the queue is full, or the store is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        job = _Job(use_case, future, loop)
        with self._lock:
            if self._closed:
                raise UnavailableError(reason="the store is closed")
            if self._waiting >= QUEUE_MAX:
                raise UnavailableError(reason="too many changes are waiting")
            self._waiting += 1
            turn = self._turns.setdefault(loop, _Turn())
            turn.jobs.append(job)
        if within_ms > 0 and len(turn.jobs) == 1:
            loop.call_later(within_ms / 1000, self._hand_over, loop)
        elif within_ms == 0 and not turn.is_due:
            turn.is_due = True
            loop.call_soon(self._hand_over, loop)
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            turn = self._turns.pop(loop, None)
            if turn is not None:
                self._arrived.put(turn.jobs)

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._lock:
            turns, self._turns = self._turns, {}
            if not self._closed:
                self._closed = True
                for turn in turns.values():
                    self._arrived.put(turn.jobs)
                self._arrived.put(None)
        self._thread.join()

    def _work(self) -> None:
        running = True
        while running:
            jobs, running = self._gather()
            if jobs:
                _resolve(jobs, self._database.run_batch([job.use_case for job in jobs]))

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take those that are there. False: the last ones."""
        running = True
        try:
            arrived = self._arrived.get(block=not self._left)
            while arrived is not None:
                self._left += arrived
                if len(self._left) >= BATCH_MAX:
                    break
                arrived = self._arrived.get_nowait()
            else:
                # Nothing comes after this; what is left may be more than one batch.
                self._arrived.put(None)
                running = len(self._left) > BATCH_MAX
        except queue.Empty:
            pass
        taken = [self._left.popleft() for _ in range(min(BATCH_MAX, len(self._left)))]
        with self._lock:
            self._waiting -= len(taken)
        return [job for job in taken if not job.future.cancelled()], running


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
