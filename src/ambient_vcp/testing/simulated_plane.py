"""The control plane of the simulation: the real use cases over a real store, and crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ambient_vcp.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from ambient_vcp.adapters.sql import SyncSqlStore
from ambient_vcp.domain.ids import AccountId, NodeId, PublicKey, TaskId
from ambient_vcp.domain.log.checkpoint import log_origin
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.ports.entropy import Entropy
from ambient_vcp.ports.store import NodeLease, Transaction
from ambient_vcp.services.machines import heartbeats, nodes
from ambient_vcp.services.record import log, seal
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.services.tasks import finish, leases, results
from ambient_vcp.services.tasks.place import place
from ambient_vcp.services.tasks.submit import submit_tasks
from ambient_vcp.services.tasks.sweep import sweep
from ambient_vcp.testing.invariants import Witness
from ambient_vcp.testing.network import Journal
from ambient_vcp.testing.signers import digest_of

T = TypeVar("T")
PLACE_MS = 500
SEAL_MS = 2_000
SWEEPS_MAX = 20


class CachedVerifier(Ed25519Verifier):
    """The real verifier; a key that was found good is not examined again."""

    def __init__(self) -> None:
        self._good: set[str] = set()

    def check_public_key(self, public_key: str) -> PublicKey:
        if public_key not in self._good:
            super().check_public_key(public_key)
            self._good.add(public_key)
        return PublicKey(public_key)


VERIFIER = CachedVerifier()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushes:
    """How the plane reaches nodes: by an event that may get lost."""

    granted: Callable[[NodeId], None]
    cancelled: Callable[[LeaseRef], None]


class SimulatedPlane:
    """Answers requests while it is up. ``doomed`` makes the next commit its last act."""

    def __init__(
        self,
        *,
        store: SyncSqlStore,
        signer: Ed25519Signer,
        settings: WorkSettings,
        entropy: Entropy,
        witness: Witness,
        journal: Journal,
        pushes: Pushes,
    ) -> None:
        self.store, self.signer, self.settings = store, signer, settings
        self.id = "simulated-plane"
        self.up = True
        self.doomed = False
        self.starts = 1
        self._entropy, self._witness, self._journal = entropy, witness, journal
        self._pushes = pushes
        self._cursor = ""

    def crash(self) -> None:
        """Stop answering. What was committed stays; a second crash is none."""
        if not self.up:
            return
        self.up = False
        self._witness.plane_down()
        self._journal.note("plane", "crashes")

    def wake(self) -> None:
        """Start again if it is down."""
        if self.up:
            return
        self.up, self.doomed, self._cursor = True, False, ""
        self.starts += 1
        self._witness.plane_up()
        self._journal.note("plane", "starts")

    def _commit(self, use_case: Callable[[Transaction], T]) -> T | None:
        """Run and commit; None when the caller hears nothing of it."""
        if not self.up:
            return None
        return self.store.transact(use_case)

    def _alive_after(self) -> bool:
        if self.doomed:
            self.crash()
        return self.up

    # What clients and nodes ask for.

    def submit(
        self, account_id: AccountId, key: str, specs: Sequence[TaskSpec], *, waived: bool
    ) -> list[TaskId] | None:
        """Submit under an idempotency key, in one transaction with it."""
        request_hash = digest_of(key.encode())

        def use_case(tx: Transaction) -> list[TaskId]:
            stored = tx.idempotency.begin(account_id, key, request_hash)
            if stored is not None:
                return [TaskId(text) for text in stored.body.decode().split(",")]
            ids = submit_tasks(
                tx,
                account_id=account_id,
                specs=specs,
                independence_waived=waived,
                entropy=self._entropy,
            )
            body = ",".join(ids).encode()
            tx.idempotency.finish(account_id, key, status=201, body=body)
            return ids

        ids = self._commit(use_case)
        if ids is not None:
            self._witness.committed(key, ids)
        return ids if ids is not None and self._alive_after() else None

    def cancel(self, account_id: AccountId, task_id: TaskId) -> bool | None:
        def use_case(tx: Transaction) -> finish.Ending:
            record = tx.tasks.load([task_id], lock=True)[task_id]
            return finish.cancel(tx, record, actor=account_id)

        ending = self._commit(use_case)
        if ending is None:
            return None
        self._cut(ending.cut)
        return True if self._alive_after() else None

    def beat(
        self, node_id: NodeId, telemetry: Telemetry, report: NodeReport, prefix: str
    ) -> heartbeats.Beat | None:
        found = self._commit(
            lambda tx: heartbeats.beat(
                tx, node_id=node_id, telemetry=telemetry, report=report, network_prefix=prefix
            )
        )
        return found if found is not None and self._alive_after() else None

    def claim(
        self, node_id: NodeId, at_most: int, named: Sequence[LeaseRef] | None
    ) -> tuple[int, list[NodeLease]] | None:
        """The plane's time and the confirmed leases."""
        found = self._commit(
            lambda tx: (
                tx.now_ms(),
                leases.claim(tx, node_id=node_id, at_most=at_most, leases=named),
            )
        )
        if found is not None:
            self._witness.claimed(found[1])
        return found if found is not None and self._alive_after() else None

    def renew(self, node_id: NodeId, held: Sequence[LeaseRef]) -> leases.Renewal | None:
        found = self._commit(
            lambda tx: leases.renew(
                tx, node_id=node_id, leases=held, lease_ms=self.settings.lease_ms
            )
        )
        if found is not None:
            self._witness.renewed(node_id, held, found)
        return found if found is not None and self._alive_after() else None

    def hand_in(
        self, node_id: NodeId, submissions: Sequence[results.Submission]
    ) -> list[results.Answer] | None:
        def use_case(tx: Transaction) -> list[results.Answer]:
            node = nodes.the_node(tx, node_id)
            return results.hand_in(
                tx, node=node, submissions=submissions, verifier=VERIFIER, entropy=self._entropy
            )

        answers = self._commit(use_case)
        if answers is None:
            return None
        self._witness.answered(submissions, answers)
        for answer in answers:
            self._journal.note("plane", f"{answer.status} {_name(answer.lease)} {answer.code}")
            self._cut(answer.cancelled)
        return answers if self._alive_after() else None

    def drain(self, node_id: NodeId, *, draining: bool) -> bool | None:
        done = self._commit(
            lambda tx: nodes.drain(tx, node_id=node_id, actor="operator", draining=draining)
        )
        return True if done is not None and self._alive_after() else None

    # What it does on its own.

    def place(self) -> None:
        report = self._commit(
            partial(place, settings=self.settings, entropy=self._entropy, cursor=self._cursor)
        )
        if report is None:
            return
        self._cursor = report.cursor
        self._witness.granted(report.grants)
        for grant in report.grants:
            self._journal.note("plane", f"grants {_name(grant.lease)}")
        for node_id in sorted({grant.lease.node_id for grant in report.grants}):
            self._pushes.granted(node_id)

    def sweep(self) -> None:
        for _ in range(SWEEPS_MAX):
            report = self._commit(partial(sweep, settings=self.settings, entropy=self._entropy))
            if report is None:
                return
            self._witness.swept()
            self._cut(report.cancelled)
            if report.expired or report.timed_out or report.offline:
                self._journal.note(
                    "plane",
                    f"sweeps {report.expired} expired, {report.timed_out} late, "
                    f"{report.offline} offline",
                )
            if not report.more:
                return
        raise AssertionError(f"{SWEEPS_MAX} sweeps in a row left work behind")

    def seal(self) -> None:
        def use_case(tx: Transaction) -> int:
            sealed = seal.seal(tx, signer=self.signer, control_plane_id=self.id)
            log.integrate(tx, signer=self.signer, origin=log_origin(self.id))
            return sealed

        self._commit(use_case)

    def _cut(self, cut: Sequence[LeaseRef]) -> None:
        self._witness.cut(cut)
        for lease in cut:
            self._pushes.cancelled(lease)


def _name(lease: LeaseRef) -> str:
    return f"{lease.task_id[:8]}/{lease.slot}/{lease.epoch}@{lease.node_id}"


__all__ = ["VERIFIER", "Pushes", "SimulatedPlane"]
