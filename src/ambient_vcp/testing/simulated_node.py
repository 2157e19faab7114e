"""A node of the simulation: heartbeats, claims, runs, renews, hands in until acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.agent import HeldLeases, reconnect_delay_ms
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.ports.store import NodeLease
from ambient_vcp.services.machines import heartbeats
from ambient_vcp.services.tasks import leases, results
from ambient_vcp.testing.clock import FakeClock
from ambient_vcp.testing.invariants import Witness
from ambient_vcp.testing.network import Network
from ambient_vcp.testing.signers import (
    EXEC_CLASS,
    FUEL_PER_RUN,
    digest_of,
    signed_result,
    signer_named,
    success,
)
from ambient_vcp.testing.signers import answer as guest_failure
from ambient_vcp.testing.simulated_plane import SimulatedPlane

TICK_MS = 400
RENEW_PAUSE_MS = 1_000
HEARTBEAT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """What kind of machine this is. Shares are probabilities, ``slowness`` multiplies run times.

    A liar with ``collusion`` tells what all of its kind tell; without, a lie of its own. A stubborn
    node hands in what it has finished even when its lease is long over.
    """

    lie_share: float = 0.0
    collusion: str = ""
    slowness: float = 1.0
    flaky_share: float = 0.0
    stubborn: bool = False
    concurrency: int = 2
    exec_class: str = EXEC_CLASS
    owner: str = ""
    prefix: str = ""


HONEST = Character()


def truth(spec: TaskSpec, exec_class: str) -> tuple[Outcome, bytes]:
    """What every honest node of an execution class gets. The input's first byte is the program."""
    assert spec.public_input is not None
    data = spec.public_input.inline or b""
    fuel = FUEL_PER_RUN + (0 if exec_class == EXEC_CLASS else 1_000)
    match data[:1]:
        case b"t":
            return guest_failure(Reason.TRAP, trap="unreachable", fuel_used=fuel), b""
        case b"c":
            return guest_failure(Reason.CELL_CRASHED), b""
        case b"w":
            return guest_failure(Reason.WALL_CLOCK_EXCEEDED), b""
    output = bytes.fromhex(digest_of(b"truth" + data))
    return success(output, fuel_used=fuel), output


@dataclass(slots=True)
class _Work:
    spec: TaskSpec
    done_at_ms: int


@dataclass(slots=True)
class _Spooled:
    submission: results.Submission
    send_at_ms: int
    failures: int = 0


@dataclass(slots=True)
class SimulatedNode:
    """The state of one machine. ``spool`` survives a crash, ``held`` and ``work`` do not."""

    name: str
    plane: SimulatedPlane
    network: Network
    clock: FakeClock
    random: random.Random
    witness: Witness
    character: Character = HONEST
    up: bool = True
    paused_until_ms: int = 0
    wall_offset_ms: int = 0
    boots: int = 1
    draining: bool = False
    spool: dict[LeaseRef, _Spooled] = field(default_factory=dict)
    work: dict[LeaseRef, _Work] = field(default_factory=dict)
    done: set[LeaseRef] = field(default_factory=set)
    held: HeldLeases = field(init=False)
    heartbeat_at_ms: int = 0
    renew_again_ms: int = 0

    def __post_init__(self) -> None:
        self.held = HeldLeases(self.character.concurrency)

    @property
    def id(self) -> NodeId:
        return NodeId(self.name)

    @property
    def responsive(self) -> bool:
        return self.up and self.clock.monotonic_ms() >= self.paused_until_ms

    def crash(self) -> None:
        """Lose the memory, keep the disk."""
        self.witness.node_crashed(self.id)
        self.up = False
        self.work.clear()
        self.done.clear()
        self.held = HeldLeases(self.character.concurrency)

    def wake(self) -> None:
        """Start again if it is down."""
        if self.up:
            return
        self.up = True
        self.boots += 1
        self.heartbeat_at_ms = self.clock.monotonic_ms()

    def tick(self) -> None:
        """Everything that is due now."""
        if not self.responsive:
            return
        now_ms = self.clock.monotonic_ms()
        if not self.character.stubborn:
            self._drop_expired(now_ms)
        for ref, work in list(self.work.items()):
            if work.done_at_ms <= now_ms:
                self._finish(ref, work.spec)
        self._drop_expired(now_ms)
        if now_ms >= self.heartbeat_at_ms:
            self._beat(now_ms)
        self._renew(now_ms)
        due = [entry for entry in self.spool.values() if entry.send_at_ms <= now_ms]
        if due:
            self._hand_in(due, now_ms)

    def hear_of_grant(self) -> None:
        if self.responsive:
            self._claim(None)

    def hear_of_cancel(self, lease: LeaseRef) -> None:
        if self.responsive:
            self._forget(lease)

    def give_up_work(self) -> None:
        """Drain: hand back what is not finished."""
        for ref in list(self.work):
            self._fail(ref, Reason.NODE_DRAINED)

    # Talking to the control plane.

    def _heard(self, take: Callable[[], None], boots: int) -> None:
        """An answer counts only for the process that asked, and only while it runs."""
        if self.responsive and boots == self.boots:
            take()

    def _beat(self, now_ms: int) -> None:
        self.heartbeat_at_ms = now_ms + HEARTBEAT_MS
        telemetry = Telemetry(
            measured_at_ms=self.clock.now_ms() + self.wall_offset_ms,
            upload_mbps=100.0,
            download_mbps=200.0,
            latency_ms=5.0 + 10.0 * self.random.random(),
            cpu_percent=10.0,
            memory_percent=20.0,
        )
        boots = self.boots
        self.network.call(
            self.name,
            lambda: self.plane.beat(self.id, telemetry, self._report(), self.prefix),
            lambda beat: self._heard(lambda: self._beaten(beat), boots),
        )

    @property
    def prefix(self) -> str:
        return self.character.prefix or f"net-{self.name}"

    def _report(self) -> NodeReport:
        return NodeReport(
            boot_id=f"boot-{self.boots}",
            version="0.1.0",
            engine="wasmtime 50.0.1",
            exec_class=self.character.exec_class,
            concurrency_max=self.character.concurrency,
            running=len(self.work),
            refusing=("draining",) if self.draining else (),
        )

    def _beaten(self, beat: heartbeats.Beat) -> None:
        unknown = self.held.unknown_of(entry.lease for entry in beat.leases)
        wanted = [ref for ref in unknown if ref not in self.spool and ref not in self.done]
        if wanted:
            self._claim(wanted)

    def _claim(self, named: Sequence[LeaseRef] | None) -> None:
        if self.held.room == 0:
            return
        boots, sent_at_ms, room = self.boots, self.clock.monotonic_ms(), self.held.room
        wanted = None if named is None else list(named)[:room]
        self.network.call(
            self.name,
            lambda: self.plane.claim(self.id, room, wanted),
            lambda got: self._heard(lambda: self._claimed(got, sent_at_ms), boots),
        )

    def _claimed(self, got: tuple[int, list[NodeLease]], sent_at_ms: int) -> None:
        plane_now_ms, confirmed = got
        for entry in confirmed:
            ref = entry.lease
            if ref in self.held or ref in self.spool or ref in self.done:
                continue
            self.held.add(ref, entry.expires_at_ms - plane_now_ms, sent_at_ms)
            self.work[ref] = _Work(entry.spec, self.clock.monotonic_ms() + self._run_ms(entry.spec))

    def _renew(self, now_ms: int) -> None:
        due = self.held.due(now_ms)
        if not due or now_ms < self.renew_again_ms:
            return
        self.renew_again_ms = now_ms + RENEW_PAUSE_MS
        boots = self.boots
        self.network.call(
            self.name,
            lambda: self.plane.renew(self.id, due),
            lambda renewal: self._heard(lambda: self._renewed(due, renewal, now_ms), boots),
        )

    def _renewed(self, asked: Sequence[LeaseRef], renewal: leases.Renewal, sent_at_ms: int) -> None:
        for ref in asked:
            expires_at_ms = renewal.renewed.get((ref.task_id, ref.slot))
            if expires_at_ms is not None:
                self.held.renewed(ref, expires_at_ms - renewal.now_ms, sent_at_ms)
        for ref in renewal.lost:
            if not self.character.stubborn:
                self._forget(ref)

    def _hand_in(self, entries: Sequence[_Spooled], now_ms: int) -> None:
        for entry in entries:
            entry.failures += 1
            delay_ms = reconnect_delay_ms(entry.failures, self.random.random())
            entry.send_at_ms = now_ms + 1_000 + delay_ms
        submissions = [entry.submission for entry in entries]
        self.network.call(
            self.name,
            lambda: self.plane.hand_in(self.id, submissions),
            self._acknowledged,
        )

    def _acknowledged(self, answers: Sequence[results.Answer]) -> None:
        if not self.responsive:
            return
        for answer in answers:
            self.spool.pop(answer.lease, None)
            self.held.end(answer.lease)

    # Working.

    def _run_ms(self, spec: TaskSpec) -> int:
        usual_ms = 200 + int(12_000 * self.random.random() ** 2)
        return min(int(usual_ms * self.character.slowness), spec.limits.wall_ms_max + 1)

    def _finish(self, ref: LeaseRef, spec: TaskSpec) -> None:
        outcome, output = truth(spec, self.character.exec_class)
        work = self.work[ref]
        if not outcome.is_deterministic and outcome.reason is not None:
            self._fail(ref, outcome.reason)
            return
        if self.random.random() < self.character.flaky_share:
            self._fail(ref, Reason.NODE_ERROR)
            return
        lie = self._lie(spec)
        if lie is not None:
            outcome, output = lie
        del self.work[ref]
        self.done.add(ref)
        self.held.finished(ref)
        result = signed_result(
            spec,
            ref,
            outcome,
            signer_named(self.name),
            output=output,
            exec_class=self.character.exec_class,
            started_at_ms=work.done_at_ms + self.clock.now_ms() + self.wall_offset_ms,
        )
        self.witness.executed(ref, result, lied=lie is not None)
        self.spool[ref] = _Spooled(results.Submission(lease=ref, result=result), 0)

    def _lie(self, spec: TaskSpec) -> tuple[Outcome, bytes] | None:
        """A lie of the group depends on the task alone, so that colluders tell it together."""
        assert spec.public_input is not None
        liar, data = self.character, spec.public_input.inline or b""
        if not liar.lie_share:
            return None
        seed = f"{liar.collusion or self.name}:{data.hex()}"
        mood = random.Random(seed)
        if mood.random() >= liar.lie_share:
            return None
        fuel = truth(spec, liar.exec_class)[0].fuel_used
        if mood.random() < 0.2:
            return guest_failure(Reason.TRAP, trap="lie", fuel_used=fuel), b""
        output = bytes.fromhex(digest_of(seed.encode()))
        return success(output, fuel_used=fuel), output

    def _fail(self, ref: LeaseRef, reason: Reason) -> None:
        self.work.pop(ref, None)
        self.done.add(ref)
        self.held.finished(ref)
        failure = results.NodeFailure(reason=reason, detail="simulated")
        self.spool[ref] = _Spooled(results.Submission(lease=ref, result=failure), 0)

    def _drop_expired(self, now_ms: int) -> None:
        for ref in self.held.expired(now_ms):
            if not self.character.stubborn:
                self.work.pop(ref, None)
            self.held.end(ref)

    def _forget(self, ref: LeaseRef) -> None:
        self.work.pop(ref, None)
        self.held.end(ref)

    def become_honest(self) -> None:
        self.character = replace(self.character, lie_share=0.0, flaky_share=0.0, slowness=1.0)
