"""Results as an honest node would build them, around any output a test wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.execution.scalars import ScalarValue, encode_scalars
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.testing.signers import digest_of, signed_result
from ambient_vcp.wire.attempt_result import encode_result
from ambient_vcp.wire.task_spec import decode_spec


def scalar_output(value: int) -> bytes:
    return encode_scalars([ScalarValue(type="i32", bits=value)])


def signed_entry(
    signer: Ed25519Signer,
    node_id: str,
    assignment: dict[str, Any],
    output: bytes = b"",
    *,
    reason: Reason | None = None,
    inline: bool = True,
    fuel: int = 42,
) -> dict[str, Any]:
    """One entry of ``POST /nodes/{id}/results``."""
    spec = decode_spec(assignment["spec"])
    data = b"" if reason else output
    outcome = Outcome(
        reason=reason,
        output_digest=digest_of(data),
        output_size_bytes=len(data),
        fuel_used=spec.limits.fuel_max if reason else fuel,
        memory_peak_bytes=65_536,
    )
    lease = LeaseRef(
        task_id=TaskId(assignment["task_id"]),
        slot=assignment["slot"],
        epoch=assignment["epoch"],
        node_id=NodeId(node_id),
    )
    result = signed_result(
        spec, lease, outcome, signer, output=data if inline else None, exec_class="test/1"
    )
    return {
        "task_id": lease.task_id,
        "slot": lease.slot,
        "epoch": lease.epoch,
        "node_id": node_id,
        "result": encode_result(replace(result, log=b"a line\n")),
    }
