"""What goes wrong in a simulated cluster, drawn from its seed, and a whole run from a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from ambient_vcp.domain.execution.invocation import CellLimits
from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.records import TaskRecord
from ambient_vcp.domain.tasks.spec import (
    AssuranceClass,
    TaskSpec,
    Timeouts,
    VerificationRequest,
)
from ambient_vcp.testing import builders, final_checks
from ambient_vcp.testing.cluster import Cluster, Submission
from ambient_vcp.testing.network import Weather
from ambient_vcp.testing.signers import EXEC_CLASS
from ambient_vcp.testing.simulated_node import Character, SimulatedNode

CHAOS_MS = 150_000
QUIET_MS_MAX = 400_000
OTHER_CLASS = "wasmtime-50.0.1/aarch64/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one seed did. ``digest`` covers every event in order."""

    seed: int
    digest: str
    counts: Counter[str]
    recoveries_ms: tuple[int, ...]
    finals: final_checks.Finals
    virtual_ms: int


def draw_characters(draw: random.Random) -> list[Character]:
    """3 to 12 machines; in half of the clusters up to 40 % of them lie."""
    size = draw.randint(3, 12)
    liars = draw.randint(0, int(size * 0.4)) if draw.random() < 0.5 else 0
    collude = draw.random() < 0.5
    lie_share = draw.choice([1.0, 1.0, 0.3])
    owners = draw.choice([size, size, max(2, size // 2)])
    two_classes = draw.random() < 0.2
    characters = [
        Character(
            lie_share=lie_share if number < liars else 0.0,
            collusion="them" if collude else "",
            slowness=draw.choice([0.3, 1.0, 1.0, 4.0]),
            flaky_share=draw.choice([0.0, 0.0, 0.05]),
            stubborn=draw.random() < 0.4,
            concurrency=draw.randint(1, 4),
            exec_class=OTHER_CLASS if two_classes and draw.random() < 0.4 else EXEC_CLASS,
            owner=f"owner-{number % owners}",
            prefix=f"net-{number % owners}",
        )
        for number in range(size)
    ]
    draw.shuffle(characters)
    return characters


def draw_spec(draw: random.Random) -> TaskSpec:
    program = draw.choices([b"v", b"t", b"c", b"w"], weights=[85, 6, 5, 4])[0]
    replicas = draw.choice([1, 1, 2, 2, 3])
    chosen = AssuranceClass.SIGNED if replicas == 1 else AssuranceClass.QUORUM
    wall_ms = draw.choice([5_000, 20_000, 30_000])
    return builders.spec(
        public_input=builders.input_ref(program + draw.randbytes(8)),
        limits=replace(CellLimits(), wall_ms_max=wall_ms),
        verification=VerificationRequest(
            assurance_class=chosen,
            replicas=replicas,
            audit_rate_ppm=draw.choice([50_000, 300_000, 1_000_000]),
        ),
        timeouts=Timeouts(
            queue_ms=draw.choice([30_000, 90_000, 120_000]),
            execution_ms=wall_ms + draw.choice([0, 10_000]),
            total_ms=draw.choice([60_000, 240_000, 3_600_000]),
        ),
        attempts_max=draw.choice([1, 3, 5, 5]),
    )


class Nemesis:
    """Harms a cluster during its chaos and puts everything right at the end of it."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._draw = random.Random(f"nemesis {seed}")
        self.harms: Counter[str] = Counter()

    def start(self) -> None:
        draw = self._draw
        self._cluster.network.weather = Weather(
            drop=draw.choice([0.0, 0.02, 0.1, 0.2]),
            duplicate=draw.choice([0.0, 0.05, 0.2]),
            slow=draw.choice([0.0, 0.05, 0.2]),
        )
        harms = [
            self._crash_node,
            self._crash_node,
            self._pause_node,
            self._pause_node,
            self._swizzle,
            self._restart_plane,
            self._jump_clock,
            self._drain,
        ]
        for _ in range(draw.randint(2, 14)):
            harm = draw.choice(harms)
            self._cluster.timeline.after(draw.randint(0, CHAOS_MS - 10_000), harm)

    def _victim(self) -> SimulatedNode:
        return self._draw.choice(list(self._cluster.nodes.values()))

    def _note(self, harm: str, who: str = "") -> None:
        self.harms[harm] += 1
        self._cluster.journal.note("nemesis", f"{harm} {who}")

    def _crash_node(self) -> None:
        node = self._victim()
        if not node.up:
            return
        self._note("node crash", node.name)
        node.crash()
        away_ms = self._draw.choice([500, 5_000, 20_000, 60_000])
        self._cluster.timeline.after(away_ms, node.wake)

    def _pause_node(self) -> None:
        """Longer than the lease half of the time: the node wakes up to work that is not its own."""
        node = self._victim()
        self._note("node pause", node.name)
        pause_ms = self._draw.choice([3_000, 20_000, 36_000, 50_000])
        node.paused_until_ms = self._cluster.clock.monotonic_ms() + pause_ms

    def _swizzle(self) -> None:
        """Block a subset of links one by one, then release them in random order."""
        draw, cluster = self._draw, self._cluster
        peers = [*cluster.nodes, "client"]
        chosen = draw.sample(peers, draw.randint(1, len(peers)))
        self._note("partition", ",".join(chosen))
        ways = draw.choice(
            [[cluster.network.inward], [cluster.network.outward]]
            + [[cluster.network.inward, cluster.network.outward]] * 2
        )
        for peer in chosen:
            begin_ms = draw.randint(0, 8_000)
            end_ms = begin_ms + draw.choice([5_000, 40_000])
            for way in ways:
                cluster.timeline.after(begin_ms, lambda way=way, peer=peer: way.add(peer))  # type: ignore[misc]  # mypy cannot infer defaulted lambdas
                cluster.timeline.after(end_ms, lambda way=way, peer=peer: way.discard(peer))  # type: ignore[misc]  # as above

    def _restart_plane(self) -> None:
        plane, draw = self._cluster.plane, self._draw
        if not plane.up:
            return
        self._note("plane crash")
        if draw.random() < 0.5:
            plane.doomed = True
            self._cluster.timeline.after(200, plane.crash)
        else:
            plane.crash()
        self._cluster.timeline.after(200 + draw.choice([300, 3_000, 12_000]), plane.wake)

    def _jump_clock(self) -> None:
        node = self._victim()
        self._note("clock jump", node.name)
        node.wall_offset_ms += self._draw.choice([-86_400_000, -3_600_000, 1, 86_400_000])

    def _drain(self) -> None:
        node, plane = self._victim(), self._cluster.plane
        self._note("drain", node.name)
        if plane.drain(node.id, draining=True) is None:
            return
        node.give_up_work()
        back_ms = self._draw.choice([5_000, 60_000])
        self._cluster.timeline.after(back_ms, lambda: self._undrain(node))

    def _undrain(self, node: SimulatedNode) -> None:
        self._cluster.plane.drain(node.id, draining=False)

    def heal(self) -> None:
        """Everything up, connected, honest and fast."""
        cluster = self._cluster
        cluster.network.heal()
        cluster.plane.wake()
        cluster.plane.doomed = False
        for node in cluster.nodes.values():
            node.paused_until_ms = 0
            node.become_honest()
            node.wake()
            self._undrain(node)
        cluster.journal.note("nemesis", "heals")


def run_seed(seed: int) -> RunReport:
    """One whole life of a cluster: chaos, healing, rest, every check.

    Raises:
        InvariantViolationError: with the seed and the last events.
    """
    draw = random.Random(f"cluster {seed}")
    characters = draw_characters(draw)
    cluster = Cluster(
        seed,
        characters,
        strategy=draw.choice(list(Strategy)),
        private_cluster=draw.random() < 0.5,
    )
    with cluster.explained():
        honest = [n for n in cluster.nodes.values() if not n.character.lie_share]
        if draw.random() < 0.3:
            cluster.trust(draw.choice(honest).id)
        for number in range(draw.randint(5, 15)):
            cluster.submit(
                Submission(
                    key=f"key-{number}",
                    at_ms=draw.randint(0, CHAOS_MS - 20_000),
                    specs=tuple(draw_spec(draw) for _ in range(draw.choice([1, 1, 2, 4]))),
                    cancel_after_ms=draw.randint(0, 20_000) if draw.random() < 0.1 else None,
                )
            )
        nemesis = Nemesis(cluster, seed)
        nemesis.start()
        cluster.run_for(CHAOS_MS)
        nemesis.heal()
        cluster.run_for(1_000)
        cluster.run_until_quiet(QUIET_MS_MAX)
        records = _check_rest(cluster)
        share = sum(bool(each.lie_share) for each in characters) / len(characters)
        return RunReport(
            seed=seed,
            digest=cluster.journal.digest(),
            counts=_counts(cluster, nemesis, records),
            recoveries_ms=tuple(cluster.witness.recoveries_ms),
            finals=final_checks.count_finals(records, share),
            virtual_ms=cluster.clock.monotonic_ms(),
        )


def _check_rest(cluster: Cluster) -> list[TaskRecord]:
    records = cluster.records()
    witness, plane = cluster.witness, cluster.plane
    witness.look(records)
    final_checks.check_ends(records, witness)
    final_checks.check_receipts(plane, records)
    final_checks.check_log(plane)
    records = cluster.records()
    nodes = cluster.store.read(lambda tx: tx.nodes.many(list(cluster.nodes)))
    final_checks.check_truth(records, witness)
    final_checks.check_disputes(records, witness)
    final_checks.check_standing(records, nodes)
    final_checks.check_independence(records, nodes)
    return records


def _counts(cluster: Cluster, nemesis: Nemesis, records: list[TaskRecord]) -> Counter[str]:
    counts = Counter(cluster.witness.counts)
    counts["tasks"] = len(records)
    counts["events"] = cluster.journal.lines
    counts["messages"] = cluster.network.sent
    counts["messages lost"] = cluster.network.lost
    for record in records:
        counts[f"task {record.task.state}: {record.task.reason or 'ok'}"] += 1
        counts["disputes"] += sum(a.verdict == "disagreed" for a in record.attempts)
        counts["audits"] += sum(a.purpose == "audit" for a in record.attempts)
        counts[f"assurance {record.task.assurance or 'none'}"] += 1
    for harm, times in nemesis.harms.items():
        counts[f"harm {harm}"] = times
    return counts
