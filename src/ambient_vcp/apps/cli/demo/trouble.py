"""Scenarios 4 to 6: a liar, a killed node, and guests that misbehave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ambient_vcp.apps.cli.demo.stage import HONEST_NODES, DemoAborted, Stage
from ambient_vcp.apps.cli.demo.work import fibonacci

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import TaskHandle
    from ambient_vcp.sdk.results import TaskInfo

LIAR = "node-liar"
PATIENCE_S = 30.0
POLL_S = 0.02
PLACING_S = 2.0
"""What placing the freed slot may take on top of lease and sweep: backoff, decision, claim."""

SPIN_TRIAL_ROUNDS = 20_000_000
SPIN_SECONDS = 3.0
SPIN_FUEL_MAX = 500_000_000_000
LOOP_FUEL = 300_000_000
GRAB_BYTES = 64 * 1024 * 1024


def liar(stage: Stage) -> None:
    """One honest node and a liar disagree; a third node decides."""
    with stage.scenario("The same with a liar among the nodes: one changes its results"):
        honest, third, rest = HONEST_NODES
        for node_id in (third, rest):
            stage.client.drain(node_id)
        stage.narrator.step(f"{third} and {rest} are drained; {LIAR} joins and will lie")
        stage.cluster.start_node(stage.client, LIAR, "--chaos", "wrong-result")
        before = _standing(stage, LIAR)
        handle = stage.submit(
            "image filter, liar",
            stage.example("image-filter/image_filter.wasm"),
            input=stage.example("image-filter/astronaut.png"),
            assurance="quorum",
            replicas=2,
        )
        waiting = _until(handle, _both_answered)
        stage.expect(
            "two answers disagree, so there is no result yet",
            ok=waiting is not None and not waiting.is_terminal,
            seen=waiting.status if waiting else "nothing happened",
        )
        why = stage.client.explain(handle.id)
        stage.expect(
            "`explain` says what the task waits for",
            ok=bool(why.get("summary")),
            seen=why.get("summary"),
        )
        stage.client.undrain(third)
        stage.narrator.step(f"{third} takes work again")
        info, _ = stage.finish(handle)
        _expect_liar_named(stage, info, honest, third)
        after = _standing(stage, LIAR)
        stage.current.figures["liar_reputation"] = {"before": before, "after": after}
        stage.expect(
            "the liar's standing has fallen",
            ok=after["score"] < before["score"] and after["disputes"] > before["disputes"],
            seen=f"score {before['score']} to {after['score']}, disputes {after['disputes']}",
        )
        _same_picture(stage, info)
        stage.client.undrain(rest)
        stage.client.drain(LIAR)
        stage.cluster.nodes.pop(LIAR).stop(PATIENCE_S)


def _both_answered(info: TaskInfo) -> bool:
    return info.is_terminal or sum(bool(each.get("output_digest")) for each in info.attempts) >= 2  # noqa: PLR2004 - the honest one and the liar


def _expect_liar_named(stage: Stage, info: TaskInfo, honest: str, third: str) -> None:
    row = stage.current.tasks[-1]
    verdicts = {each["node_id"]: each["verdict"] for each in row["attempts"]}
    stage.expect(
        "the third node decides: two agree, the liar disagrees",
        ok=info.status == "completed"
        and verdicts == {honest: "agreed", third: "agreed", LIAR: "disagreed"},
        seen=", ".join(f"{node} {verdict}" for node, verdict in verdicts.items()),
    )
    receipt = json.loads(stage.receipts[info.id].read_bytes())
    named = [
        each["node_id"] for each in receipt["body"]["attempts"] if each["verdict"] == "disagreed"
    ]
    stage.expect("the receipt names the liar", ok=named == [LIAR], seen=named)


def _same_picture(stage: Stage, info: TaskInfo) -> None:
    honest = [
        (task.get("attempts") or [{}])[0].get("output_digest")
        for scenario in stage.scenarios
        for task in scenario.tasks
        if task["name"] == "image filter"
    ]
    digest = (info.output or {}).get("digest")
    stage.expect("the picture is the same as before", ok=[digest] == honest, seen=digest)


def killed_node(stage: Stage) -> None:
    """SIGKILL to a node while it works; the work finishes elsewhere."""
    with stage.scenario("A node is killed with SIGKILL while it works"):
        rounds = _rounds_for(stage, SPIN_SECONDS)
        stage.narrator.step(f"a task of {rounds:,} rounds, some {SPIN_SECONDS:g} s of work")
        handle = stage.submit(
            "long task",
            stage.example("misbehaving/slow.wasm"),
            invoke="spin",
            args=[rounds],
            assurance="signed",
            limits={"fuel": SPIN_FUEL_MAX, "wall_ms": 60_000},
        )
        working = _until(handle, lambda info: info.is_terminal or _running_on(info) is not None)
        victim = _running_on(working) if working else None
        if victim is None or victim not in stage.cluster.nodes:
            raise DemoAborted(f"the task was never seen at work ({working and working.status})")
        stage.cluster.kill_node(victim)
        killed_at_ms = time.time_ns() // 1_000_000
        stage.narrator.step(f"SIGKILL to {victim} and all its processes")
        info, _ = stage.finish(handle)
        attempts = stage.current.tasks[-1]["attempts"]
        rescue = [each for each in attempts if each["node_id"] != victim and each["granted_at_ms"]]
        stage.expect(
            "the task completes on another node",
            ok=info.status == "completed" and any(e["verdict"] == "agreed" for e in rescue),
            seen=", ".join(f"{each['node_id']} {each['state']}" for each in attempts),
        )
        _expect_recovery(stage, rescue, killed_at_ms)
        key_before = stage.client.node(victim).raw["public_key"]
        stage.cluster.start_node(stage.client, victim)
        node = stage.client.node(victim)
        stage.expect(
            "the killed node comes back with its own key and serves again",
            ok=node.status == "online" and node.raw["public_key"] == key_before,
            seen=f"{victim} is {node.status}, key {node.raw['public_key'][:16]}...",
        )


def _expect_recovery(stage: Stage, rescue: list[dict[str, Any]], killed_at_ms: int) -> None:
    allowed_s = stage.lease_s + stage.sweep_s
    if not rescue:
        raise DemoAborted("nobody else got the work")
    recovery_s = (min(each["granted_at_ms"] for each in rescue) - killed_at_ms) / 1000
    stage.current.figures |= {
        "lease_s": stage.lease_s,
        "sweep_s": stage.sweep_s,
        "placing_s": PLACING_S,
        "recovery_s": recovery_s,
    }
    stage.expect(
        f"another node has it within lease {stage.lease_s:g} s + sweep {stage.sweep_s:g} s"
        f" + placing {PLACING_S:g} s",
        ok=0 < recovery_s <= allowed_s + PLACING_S,
        seen=f"{recovery_s:.2f} s after the kill",
    )


def _rounds_for(stage: Stage, seconds: float) -> int:
    """How many rounds take about so long on this machine, found by a short trial."""
    handle = stage.submit(
        "calibration",
        stage.example("misbehaving/slow.wasm"),
        invoke="spin",
        args=[SPIN_TRIAL_ROUNDS],
        assurance="signed",
    )
    stage.finish(handle)
    took_ms = stage.current.tasks[-1]["wall_ms"] or 1
    per_round = stage.current.tasks[-1]["fuel_used"] / SPIN_TRIAL_ROUNDS
    rounds = int(SPIN_TRIAL_ROUNDS * seconds * 1000 / took_ms)
    return max(SPIN_TRIAL_ROUNDS, min(rounds, int(SPIN_FUEL_MAX / per_round) - 1000))


def _running_on(info: TaskInfo) -> str | None:
    for attempt in info.attempts:
        if attempt.get("state") == "in_progress" and attempt.get("started_at_ms"):
            return str(attempt["node_id"])
    return None


def misbehaving_guests(stage: Stage) -> None:
    """Each ends with its own reason, and an honest task beside them does not notice."""
    with stage.scenario("Guests that loop for ever, grab memory, import something forbidden"):
        errors_before = _errors(stage)
        cases: tuple[tuple[str, str, dict[str, int]], ...] = (
            ("loops_forever", "fuel_exhausted", {"fuel": LOOP_FUEL}),
            ("grabs_memory", "memory_exceeded", {"memory_bytes": GRAB_BYTES}),
            ("imports_forbidden", "forbidden_import", {}),
        )
        handles = [
            (
                name,
                reason,
                stage.submit(
                    name.replace("_", " "),
                    stage.example(f"misbehaving/{name}.wasm"),
                    assurance="signed",
                    limits=limits,
                ),
            )
            for name, reason, limits in cases
        ]
        neighbour = stage.submit(
            "neighbour",
            stage.example("hello/hello.wasm"),
            invoke="fib",
            args=[40],
            assurance="signed",
        )
        info, result = stage.finish(neighbour)
        value = getattr(result, "values", None)
        stage.expect(
            "an honest task beside them completes",
            ok=info.status == "completed" and value == (fibonacci(40),),
            seen=value,
        )
        for name, reason, handle in handles:
            info, _ = stage.finish(handle)
            stage.expect(
                f"{name} fails with {reason}",
                ok=(info.status, info.reason) == ("failed", reason),
                seen=f"{info.status}, {info.reason} {info.detail}".rstrip(),
            )
        nodes = {node.id: node.status for node in stage.client.nodes()}
        honest = {node_id: nodes.get(node_id) for node_id in HONEST_NODES}
        stage.expect(
            "every honest node still serves",
            ok=set(honest.values()) == {"online"},
            seen=", ".join(f"{node_id} {status}" for node_id, status in honest.items()),
        )
        errors = _errors(stage)
        stage.expect(
            "no node is blamed for its guests",
            ok=all(
                now <= before
                for node_id in HONEST_NODES
                for now, before in zip(errors[node_id], errors_before[node_id], strict=True)
            ),
            seen=f"disputes, failures, errors in a row: {errors}, before: {errors_before}",
        )


def _errors(stage: Stage) -> dict[str, tuple[int, ...]]:
    """Each honest node's disputes, failures and errors in a row."""
    counted = ("disputes", "failed", "consecutive_errors")
    return {
        node_id: tuple(int(stage.client.node(node_id).reputation[name]) for name in counted)
        for node_id in HONEST_NODES
    }


def _standing(stage: Stage, node_id: str) -> dict[str, Any]:
    return dict(stage.client.node(node_id).reputation)


def _until(handle: TaskHandle, condition: Callable[[TaskInfo], bool]) -> TaskInfo | None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        info = handle.info()
        if condition(info):
            return info
        time.sleep(POLL_S)
    return None
