"""One attempt from assignment to spooled result: fetch, run, sign, keep."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ambient_vcp.adapters.control_plane_http.messages import Assignment
from ambient_vcp.apps.node.disk.spool import Entry, Spool, entry_name
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.work.chaos import Chaos
from ambient_vcp.apps.node.work.evidence import (
    Finished,
    failure_message,
    result_message,
    with_output,
)
from ambient_vcp.apps.node.work.fetcher import Fetcher, FetchError
from ambient_vcp.apps.node.work.memory_budget import MemoryBudget
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.execution.seed import GUEST_CLOCK_START_MS, random_seed
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.sandbox import CellReport, GuestRun, Sandbox
from ambient_vcp.ports.signer import Signer
from ambient_vcp.ports.telemetry import MachineSensors

OUTPUT_INLINE_BYTES_MAX = 256 * 1024
OWN_REASONS = frozenset({Reason.NODE_ERROR, Reason.INPUT_UNAVAILABLE})
_MS_PER_S = 1000


class Stop(StrEnum):
    """Why a running attempt is stopped. Only a drain is told to the control plane."""

    LOST = "the lease was lost"
    EXPIRED = "the lease ran out without renewal"
    CANCELLED = "the task was cancelled"
    DRAINED = "the node is draining"


@dataclass(eq=False)
class AttemptFailedError(Exception):
    """This node could not run it: ends the attempt with a reason and no result."""

    reason: Reason
    detail: str
    log: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every attempt needs from outside."""

    sandbox: Sandbox
    signer: Signer
    fetcher: Fetcher
    sensors: MachineSensors
    clock: Clock
    spool: Spool
    log: EventLog
    work: Path
    chaos: Chaos


class Executor:
    """Runs attempts side by side, each as a task of ``group``."""

    def __init__(self, tools: Tools, state: AgentState, group: asyncio.TaskGroup) -> None:
        self._tools = tools
        self._state = state
        self._group = group
        self._memory = MemoryBudget(state.limits.memory_bytes_max)
        self._tasks: dict[LeaseRef, asyncio.Task[None]] = {}
        self._stoppable: set[LeaseRef] = set()
        self._stops: dict[LeaseRef, Stop] = {}

    def start(self, assignment: Assignment, sent_at_ms: int) -> None:
        """Take an assignment whose claim was sent at that moment of the monotonic clock."""
        ref = assignment.ref
        self._state.held.add(ref, assignment.expires_in_ms, sent_at_ms)
        self._state.wakes.leases.set()
        self._tools.log.info("claimed", task=ref.task_id, slot=ref.slot, epoch=ref.epoch)
        self._tools.chaos.after_claim()
        name = f"attempt {ref.task_id}/{ref.slot}/{ref.epoch}"
        self._stoppable.add(ref)
        self._tasks[ref] = self._group.create_task(self._attempt(assignment), name=name)

    def stop(self, ref: LeaseRef, why: Stop) -> None:
        """Kill the attempt's cell. Nothing happens when its outcome is already being kept."""
        if ref in self._stoppable:
            self._stoppable.discard(ref)
            self._stops[ref] = why
            self._tasks[ref].cancel()

    def stop_all(self, why: Stop) -> None:
        for ref in tuple(self._stoppable):
            self.stop(ref, why)

    async def idle(self) -> None:
        """Return when nothing runs and every outcome is kept."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def _attempt(self, assignment: Assignment) -> None:
        ref = assignment.ref
        folder = self._tools.work / entry_name(ref)
        entry: Entry | None
        try:
            entry = await self._outcome(assignment, folder)
        except asyncio.CancelledError:
            why = self._stops.get(ref)
            if why is None:
                raise
            self._tools.log.info("stopped", task=ref.task_id, slot=ref.slot, why=why)
            entry = self._drained(ref) if why is Stop.DRAINED else None
        finally:
            self._stoppable.discard(ref)
            self._stops.pop(ref, None)
            self._state.held.finished(ref)
        if entry is not None:
            await self._keep(entry)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        del self._tasks[ref]
        if self._state.claim_wanted:
            self._state.wakes.claim.set()

    async def _outcome(self, assignment: Assignment, folder: Path) -> Entry:
        ref = assignment.ref
        try:
            entry = await self._run(ref, _spec_of(assignment), assignment.execution_ms, folder)
        except AttemptFailedError as failure:
            entry = self._failed(ref, failure)
        except FetchError as error:
            entry = self._failed(ref, AttemptFailedError(Reason.INPUT_UNAVAILABLE, str(error)))
        except Exception as error:  # noqa: BLE001 - one attempt's trouble must not end the agent
            detail = f"{type(error).__name__}: {error}"
            entry = self._failed(ref, AttemptFailedError(Reason.NODE_ERROR, detail))
        else:
            self._state.record_success()
        # From here on the outcome stands: a stop must not lose it.
        self._stoppable.discard(ref)
        return entry

    async def _run(self, ref: LeaseRef, spec: TaskSpec, execution_ms: int, folder: Path) -> Entry:
        needed = spec.limits.memory_bytes_max
        if needed > self._memory.total:
            raise AttemptFailedError(
                Reason.NODE_ERROR,
                f"the task may use {needed} bytes of memory, the owner lends {self._memory.total}",
            )
        await asyncio.to_thread(folder.mkdir, mode=0o700)
        module, public, private = await self._fetch(spec, folder)
        guest_run = GuestRun(
            module_path=module,
            call=spec.call,
            public_input_path=public,
            private_input_path=private,
            output_path=folder / "output",
            limits=spec.limits,
            random_seed=random_seed(ref.task_id),
            clock_start_ms=GUEST_CLOCK_START_MS,
        )
        async with self._memory.lent(needed):
            await self._tools.chaos.delay()
            mark = self._tools.sensors.mark()
            started_at_ms = self._tools.clock.now_ms()
            report = await self._in_cell(guest_run, execution_ms)
            finished_at_ms = self._tools.clock.now_ms()
        energy = self._tools.sensors.energy_since(mark, report.cpu_ms)
        report, output = await self._collect(ref, report, guest_run.output_path)
        finished = Finished(
            ref=ref,
            spec=spec,
            report=report,
            output=output,
            energy=energy,
            engine=self._tools.sandbox.engine,
            exec_class=self._tools.sandbox.exec_class,
            started_at_ms=started_at_ms,
            finished_at_ms=finished_at_ms,
        )
        self._log_finished(ref, report)
        outcome = report.outcome
        return Entry(
            task_id=ref.task_id,
            slot=ref.slot,
            epoch=ref.epoch,
            node_id=ref.node_id,
            message=result_message(finished, self._tools.signer),
            output_digest="" if output is not None else outcome.output_digest,
            output_size_bytes=0 if output is not None else outcome.output_size_bytes,
            finished_at_ms=finished_at_ms,
        )

    async def _fetch(self, spec: TaskSpec, folder: Path) -> tuple[Path, Path | None, Path | None]:
        module = folder / "module"
        await self._tools.fetcher.module(spec.module, module)
        paths: list[Path | None] = []
        for name, wanted in (("public", spec.public_input), ("private", spec.private_input)):
            path = folder / name if wanted else None
            if wanted and path:
                await self._tools.fetcher.input(wanted, path)
            paths.append(path)
        return module, paths[0], paths[1]

    async def _in_cell(self, guest_run: GuestRun, execution_ms: int) -> CellReport:
        try:
            async with asyncio.timeout(execution_ms / _MS_PER_S):
                report = await self._tools.sandbox.run(guest_run)
        except TimeoutError:
            raise AttemptFailedError(
                Reason.WALL_CLOCK_EXCEEDED, f"the execution timeout of {execution_ms} ms is over"
            ) from None
        outcome = report.outcome
        if outcome.reason is not None and not outcome.is_deterministic:
            raise AttemptFailedError(outcome.reason, outcome.detail, report.log)
        return report

    async def _collect(
        self, ref: LeaseRef, report: CellReport, path: Path
    ) -> tuple[CellReport, bytes | None]:
        """The report and the output's bytes; None when the output was set aside as a blob."""
        outcome = report.outcome
        if not outcome.ok:
            return report, b""
        if outcome.output_size_bytes <= OUTPUT_INLINE_BYTES_MAX:
            output = await asyncio.to_thread(path.read_bytes)
            if self._tools.chaos.wrong_result:
                output = self._tools.chaos.lie(output)
                report = replace(report, outcome=with_output(outcome, output))
            return report, output
        if self._tools.chaos.wrong_result:
            lie = self._tools.chaos.lie(await asyncio.to_thread(path.read_bytes))
            await asyncio.to_thread(path.write_bytes, lie)
            report = replace(report, outcome=with_output(outcome, lie))
        await asyncio.to_thread(self._tools.spool.keep_output, ref, path)
        return report, None

    async def _keep(self, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self._tools.spool.add, entry)
        except OSError as error:
            self._tools.log.warning(
                "the result is kept in memory only: a crash now would lose it", why=error.strerror
            )
        self._state.wakes.delivery.set()

    def _failed(self, ref: LeaseRef, failure: AttemptFailedError) -> Entry:
        if failure.reason in OWN_REASONS:
            self._state.record_own_error(self._tools.clock.monotonic_ms())
        self._tools.log.warning(
            "could not run", task=ref.task_id, reason=failure.reason, why=failure.detail
        )
        return self._entry(ref, failure_message(ref, failure.reason, failure.detail, failure.log))

    def _drained(self, ref: LeaseRef) -> Entry:
        return self._entry(ref, failure_message(ref, Reason.NODE_DRAINED, Stop.DRAINED.value))

    def _entry(self, ref: LeaseRef, message: dict[str, object]) -> Entry:
        return Entry(
            task_id=ref.task_id,
            slot=ref.slot,
            epoch=ref.epoch,
            node_id=ref.node_id,
            message=message,
            finished_at_ms=self._tools.clock.now_ms(),
        )

    def _log_finished(self, ref: LeaseRef, report: CellReport) -> None:
        outcome = report.outcome
        self._tools.log.info(
            "finished",
            task=ref.task_id,
            outcome=outcome.reason or "ok",
            fuel=outcome.fuel_used,
            wall_ms=round(report.wall_ms),
            output_bytes=outcome.output_size_bytes,
        )


def _spec_of(assignment: Assignment) -> TaskSpec:
    if assignment.spec is None:
        raise AttemptFailedError(Reason.NODE_ERROR, assignment.problem)
    return assignment.spec
