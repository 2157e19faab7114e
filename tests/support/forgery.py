"""Results that lie, each in its own way, from a simulated node with a real key and a live lease."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import attempt_statement
from ambient_vcp.wire.attempt_result import decode_result, encode_result
from ambient_vcp.wire.task_spec import decode_spec
from support.control_plane import Machine, Person, join, submitted
from support.signed_results import scalar_output, signed_entry

FIVE, SIX = scalar_output(5), scalar_output(6)
FOREVER = ("--lease-ms", "3600000", "--offline-after-ms", "3600000")
"""Settings under which no lease ends while a test lasts."""

Json = dict[str, Any]


class Bench:
    """A machine with one live lease, and what an accepted result would change."""

    def __init__(self, owner: Person, machine: Machine | None = None, task_id: str = "") -> None:
        self.owner = owner
        self.machine = machine or join(owner)
        self.task_id = task_id or submitted(owner)["task_id"]
        self.assignment = self.machine.claim_one(self.task_id)

    def good(self, output: bytes = FIVE, **how: Any) -> Json:
        return copy.deepcopy(
            signed_entry(self.machine.signer, self.machine.node_id, self.assignment, output, **how)
        )

    def sign(self, entry: Json, /, **changes: Any) -> Json:
        """The entry with its trace's digest and a true signature over what it says now."""
        spec = decode_spec(self.assignment["spec"])
        lease = LeaseRef(
            task_id=TaskId(entry["task_id"]),
            slot=entry["slot"],
            epoch=entry["epoch"],
            node_id=NodeId(entry["node_id"]),
        )
        result = decode_result(entry["result"])
        result = replace(result, trace_digest=result.trace.digest())
        statement = replace(attempt_statement(spec, lease, result), **changes)
        signature = self.machine.signer.sign(statement.encode())
        return entry | {"result": encode_result(replace(result, signature=signature))}

    def state(self) -> tuple[Any, ...]:
        """What must not move."""
        task = self.owner.api.get(f"/tasks/{self.task_id}").raise_for_status().json()
        node = self.owner.api.get(f"/nodes/{self.machine.node_id}").raise_for_status().json()
        return task, node["reputation"], node["breaker_reasons"]


def fold(entry: Json, path: str, value: Any) -> Json:
    """The entry with one field changed; ``path`` is dotted."""
    *parents, last = path.split(".")
    at = entry
    for name in parents:
        at = at[name]
    at[last] = value
    return entry


def output_of(entry: Json, data: bytes, *, honest_digest: bool = True) -> Json:
    """The entry with another output, and all that names its digest and size."""
    digest = hashlib.sha256(data).hexdigest()
    fold(entry, "result.output", base64.b64encode(data).decode())
    fold(entry, "result.outcome.output_size_bytes", len(data))
    if honest_digest:
        fold(entry, "result.outcome.output_digest", digest)
        fold(entry, "result.trace.output_digest", digest)
    return entry


def swapped(entry: Json, first: str, second: str) -> Json:
    """Two neighbours of the signed statement with their values exchanged."""
    trace = entry["result"]["trace"]
    trace[first], trace[second] = trace[second], trace[first]
    return entry


def shifted(bench: Bench) -> Json:
    """One character moved from one text field to its neighbour: the joined bytes stay."""
    entry = bench.good()
    trace = entry["result"]["trace"]
    trace["engine"], trace["exec_class"] = trace["engine"] + "t", trace["exec_class"][1:]
    fold(entry, "result.exec_class", trace["exec_class"])
    return entry


def by_another_key(bench: Bench) -> Json:
    stranger = Ed25519Signer.from_seed(os.urandom(32))
    return signed_entry(stranger, bench.machine.node_id, bench.assignment, FIVE)


def flipped_signature(bench: Bench) -> Json:
    entry = bench.good()
    signature = entry["result"]["signature"]
    return fold(entry, "result.signature", f"{int(signature[:2], 16) ^ 1:02x}{signature[2:]}")


def over_limit(name: str) -> Callable[[Bench], Json]:
    def lie(bench: Bench) -> Json:
        entry = bench.good()
        limits = bench.assignment["spec"]["limits"]
        maximum = {
            "fuel_used": limits["fuel_max"],
            "memory_peak_bytes": limits["memory_bytes_max"],
        }[name]
        fold(entry, f"result.outcome.{name}", maximum + 1)
        return bench.sign(fold(entry, f"result.trace.{name}", maximum + 1))

    return lie


def output_over_limit(bench: Bench) -> Json:
    # Never sent whole: the size alone is too much, wherever the bytes are.
    entry = bench.good()
    size = bench.assignment["spec"]["limits"]["output_bytes_max"] + 1
    fold(entry, "result.output", None)
    return bench.sign(fold(entry, "result.outcome.output_size_bytes", size))


LIES: dict[str, Callable[[Bench], Json]] = {
    "a signature with one bit changed": flipped_signature,
    "a signature of zeros": lambda b: fold(b.good(), "result.signature", "0" * 128),
    "a stranger's key and signature": by_another_key,
    "a stranger's signature under the node's key": lambda b: fold(
        by_another_key(b), "result.node_public_key", b.machine.signer.public_key
    ),
    "signed for another task": lambda b: b.sign(b.good(), task_id=TaskId("another")),
    "signed for another slot": lambda b: b.sign(b.good(), slot=1),
    "signed for another epoch": lambda b: b.sign(b.good(), epoch=2),
    "signed for another node": lambda b: b.sign(b.good(), node_id=NodeId("another")),
    "signed for another module": lambda b: b.sign(b.good(), module_digest="0" * 64),
    "signed for another entry": lambda b: b.sign(b.good(), entry="sub"),
    "signed for other arguments": lambda b: b.sign(b.good(), arguments_digest="0" * 64),
    "sent for the next epoch": lambda b: b.sign(b.good() | {"epoch": 2}),
    "sent for the epoch before": lambda b: b.sign(b.good() | {"epoch": 0}),
    "sent for a slot that is not there": lambda b: b.sign(b.good() | {"slot": 1}),
    "an output that is not the signed one": lambda b: output_of(b.good(), SIX),
    "an output of another digest": lambda b: b.sign(output_of(b.good(), SIX, honest_digest=False)),
    "an output of another size": lambda b: b.sign(
        fold(b.good(), "result.outcome.output_size_bytes", len(FIVE) + 1)
    ),
    "an output that was never uploaded": lambda b: b.sign(fold(b.good(), "result.output", None)),
    "an output larger than the limit": output_over_limit,
    "more fuel than the limit": over_limit("fuel_used"),
    "more memory than the limit": over_limit("memory_peak_bytes"),
    "fuel that the trace does not know": lambda b: b.sign(
        fold(b.good(), "result.outcome.fuel_used", 41)
    ),
    "a trace of another module": lambda b: b.sign(
        fold(b.good(), "result.trace.module_digest", "0" * 64)
    ),
    "a trace of another entry": lambda b: b.sign(fold(b.good(), "result.trace.entry", "sub")),
    "a trace of another input": lambda b: b.sign(
        fold(b.good(), "result.trace.public_input_digest", "0" * 64)
    ),
    "a trace with other times": lambda b: fold(b.good(), "result.trace.finished_at_ms", 3),
    "a trace digest of something else": lambda b: fold(b.good(), "result.trace_digest", "0" * 64),
    "digests exchanged in the trace": lambda b: b.sign(
        swapped(b.good(), "module_digest", "arguments_digest")
    ),
    "a character moved to the next field": shifted,
    "a failure that is none of the guest's": lambda b: b.sign(
        fold(
            fold(output_of(b.good(), b""), "result.outcome.reason", "node_error"),
            "result.trace.reason",
            "node_error",
        )
    ),
    "a failure with an output": lambda b: b.sign(
        fold(fold(b.good(), "result.outcome.reason", "trap"), "result.trace.reason", "trap")
    ),
    "neither result nor failure": lambda b: {
        key: value for key, value in b.good().items() if key != "result"
    },
    "both result and failure": lambda b: b.good() | {"failure": {"reason": "node_error"}},
    "another version": lambda b: fold(b.good(), "result.version", 2),
    "an unknown field": lambda b: fold(b.good(), "result.trusted", value=True),
    "energy whose label contradicts it": lambda b: fold(b.good(), "result.energy.millijoules", 5),
}
