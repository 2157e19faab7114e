"""A whole cluster in one thread on virtual time, decided by one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.lifecycle import LIVE_STATES
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import LeaseRef, NodeType, TaskSpec
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.machines import enrolment, nodes
from ambient_vcp.services.settings import WorkSettings
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import FakeClock
from ambient_vcp.testing.entropy import SeededEntropy
from ambient_vcp.testing.invariants import InvariantViolationError, Witness
from ambient_vcp.testing.network import Journal, Network, Timeline
from ambient_vcp.testing.signers import signer_named
from ambient_vcp.testing.simulated_node import HEARTBEAT_MS, TICK_MS, Character, SimulatedNode
from ambient_vcp.testing.simulated_plane import PLACE_MS, SEAL_MS, Pushes, SimulatedPlane

LOOK_MS = 5_000
RESEND_MS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What the client submits under one key, and when it changes its mind, if it does."""

    key: str
    at_ms: int
    specs: tuple[TaskSpec, ...]
    cancel_after_ms: int | None = None


@dataclass(slots=True)
class Client:
    """Repeats each request until it is answered."""

    cluster: Cluster
    account_id: AccountId = builders.ACCOUNT_ID
    ids: dict[str, list[TaskId]] = field(default_factory=dict)

    def submit(self, wanted: Submission) -> None:
        cluster = self.cluster
        if wanted.key in self.ids:
            return
        cluster.network.call(
            "client",
            lambda: cluster.plane.submit(
                self.account_id,
                wanted.key,
                wanted.specs,
                waived=cluster.settings.private_cluster,
            ),
            lambda ids: self._submitted(wanted, ids),
        )
        cluster.timeline.after(RESEND_MS, lambda: self.submit(wanted))

    def _submitted(self, wanted: Submission, ids: list[TaskId]) -> None:
        self.cluster.witness.told(wanted.key, ids)
        if wanted.key in self.ids:
            return
        self.ids[wanted.key] = ids
        if wanted.cancel_after_ms is not None:
            self.cluster.timeline.after(wanted.cancel_after_ms, lambda: self._cancel(ids[0], 3))

    def _cancel(self, task_id: TaskId, tries: int) -> None:
        cluster = self.cluster
        cluster.network.call(
            "client", lambda: cluster.plane.cancel(self.account_id, task_id), lambda _: None
        )
        if tries > 1:
            cluster.timeline.after(RESEND_MS, lambda: self._cancel(task_id, tries - 1))


class Cluster:
    """A control plane, its nodes, a client and the network between them.

    Equal seeds and equal calls give equal histories, event by event.
    """

    def __init__(
        self,
        seed: int,
        characters: list[Character],
        *,
        strategy: Strategy = Strategy.WEIGHTED,
        private_cluster: bool = True,
    ) -> None:
        self.seed = seed
        self.clock = FakeClock()
        self.timeline = Timeline(self.clock)
        self.journal = Journal(self.clock)
        self.network = Network(self.timeline, random.Random(f"network {seed}"))
        self.settings = WorkSettings(strategy=strategy, private_cluster=private_cluster)
        self.witness = Witness(self.clock, self.settings)
        self.store = SqlStore.open_sync("sqlite://", clock=self.clock)
        self.plane = SimulatedPlane(
            store=self.store,
            signer=signer_named("simulated-plane"),
            settings=self.settings,
            entropy=SeededEntropy(f"plane {seed}"),
            witness=self.witness,
            journal=self.journal,
            pushes=Pushes(granted=self._push_grant, cancelled=self._push_cancel),
        )
        self.client = Client(self)
        self.nodes = {
            node.id: node
            for node in (self._node(number, each) for number, each in enumerate(characters))
        }
        self._enrol()
        self._start_loops()

    def _node(self, number: int, character: Character) -> SimulatedNode:
        name = f"n{number:02}"
        self.witness.capacity[NodeId(name)] = character.concurrency
        return SimulatedNode(
            name=name,
            plane=self.plane,
            network=self.network,
            clock=self.clock,
            random=random.Random(f"{name} {self.seed}"),
            witness=self.witness,
            character=character,
        )

    def _enrol(self) -> None:
        module = builders.spec().module

        def use_case(tx: Transaction) -> None:
            tx.blobs.add(module.digest, module.size_bytes, self.client.account_id)
            for node in self.nodes.values():
                applicant = enrolment.Applicant(
                    node_id=node.id,
                    public_key=signer_named(node.name).public_key,
                    region="eu-west",
                    node_type=NodeType.COMPUTE,
                    capabilities=Capabilities(
                        bandwidth_mbps=100, cpu_cores=4, memory_gb=8, gpu_available=False
                    ),
                    report=NodeReport(
                        exec_class=node.character.exec_class,
                        concurrency_max=node.character.concurrency,
                    ),
                    network_prefix=node.prefix,
                )
                owner = AccountId(node.character.owner or f"owner-{node.name}")
                enrolment.enrol(tx, applicant=applicant, code=None, account_id=owner)

        self.store.transact(use_case)

    def _start_loops(self) -> None:
        for number, node in enumerate(self.nodes.values()):
            node.heartbeat_at_ms = number * HEARTBEAT_MS // max(1, len(self.nodes)) // 4
            self.timeline.every(TICK_MS, node.tick, first_ms=17 * number)
        self.timeline.every(PLACE_MS, self.plane.place, first_ms=100)
        self.timeline.every(self.settings.sweep_ms, self._sweep, first_ms=2_000)
        self.timeline.every(SEAL_MS, self.plane.seal, first_ms=1_000)
        self.timeline.every(LOOK_MS, self._look, first_ms=3_000)

    def _sweep(self) -> None:
        self.plane.sweep()
        self.plane.place()

    def _push_grant(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        self.network.push(node.name, node.hear_of_grant)

    def _push_cancel(self, lease: LeaseRef) -> None:
        node = self.nodes[lease.node_id]
        self.network.push(node.name, lambda: node.hear_of_cancel(lease))

    def trust(self, node_id: NodeId) -> None:
        self.store.transact(
            lambda tx: nodes.trust(tx, node_id=node_id, actor="operator", trusted=True)
        )

    def submit(self, wanted: Submission) -> None:
        self.timeline.after(wanted.at_ms, lambda: self.client.submit(wanted))

    def records(self) -> list[TaskRecord]:
        """Every task that was ever committed, in order."""
        ids = [task_id for ids in self.witness.commits.values() for task_id in ids]
        found = self.store.read(lambda tx: tx.tasks.load(ids))
        return [found[task_id] for task_id in ids]

    def _look(self) -> None:
        if not self.plane.up:
            return
        up_for_ms = self.clock.now_ms() - self.witness.last_start_ms
        if self.plane.starts > 1 and up_for_ms < 2 * self.settings.sweep_ms:
            return
        ids = [
            task_id
            for ids in self.witness.commits.values()
            for task_id in ids
            if task_id not in self.witness.ended
        ]
        records = self.store.read(lambda tx: tx.tasks.load(ids))
        self.witness.look(list(records.values()))

    def run_for(self, duration_ms: int) -> None:
        self.timeline.run_until(self.clock.monotonic_ms() + duration_ms)

    def run_until_quiet(self, limit_ms: int) -> None:
        """Run until every task has ended, its audits included, or the limit has passed."""
        until_ms = self.clock.monotonic_ms() + limit_ms
        while self.clock.monotonic_ms() < until_ms and not self.quiet():
            self.run_for(LOOK_MS)

    def quiet(self) -> bool:
        return all(record.task.state not in LIVE_STATES for record in self.records())

    def close(self) -> None:
        self.store.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Name the seed and show the last events with whatever goes wrong inside."""
        try:
            yield
        except Exception as error:
            raise InvariantViolationError(
                f"seed {self.seed} at {self.clock.monotonic_ms()} ms: "
                f"{type(error).__name__}: {error}\n{self.journal.tail()}"
            ) from error
        finally:
            self.close()
