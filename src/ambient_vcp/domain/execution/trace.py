"""The execution trace: what ran, on what, with what effect, hashed without ambiguity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ambient_vcp.domain.ids import Digest

TRACE_DOMAIN = b"ambient-vcp/trace/v1"


def length_prefixed(*parts: bytes) -> bytes:
    """Concatenate so that no byte can move from one part to another: 8-byte big-endian lengths."""
    return b"".join([len(part).to_bytes(8, "big") + part for part in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One attempt's record. Times are the node's own and are evidence, never truth.

    ``cpu_ms`` is user plus system time of the cell; ``wall_ms`` runs from request to exit.
    """

    module_digest: Digest
    interface: str
    entry: str
    arguments_digest: Digest
    public_input_digest: Digest
    private_input_digest: Digest
    output_digest: Digest
    reason: str
    trap: str
    fuel_used: int
    memory_peak_bytes: int
    engine: str
    exec_class: str
    started_at_ms: int
    finished_at_ms: int
    compile_ms: int
    cpu_ms: int
    wall_ms: int

    def digest(self) -> Digest:
        """SHA-256 over the domain tag and every field in order of declaration, length-prefixed."""
        fields = (
            self.module_digest,
            self.interface,
            self.entry,
            self.arguments_digest,
            self.public_input_digest,
            self.private_input_digest,
            self.output_digest,
            self.reason,
            self.trap,
            str(self.fuel_used),
            str(self.memory_peak_bytes),
            self.engine,
            self.exec_class,
            str(self.started_at_ms),
            str(self.finished_at_ms),
            str(self.compile_ms),
            str(self.cpu_ms),
            str(self.wall_ms),
        )
        encoded = length_prefixed(TRACE_DOMAIN, *(field.encode() for field in fields))
        return Digest(hashlib.sha256(encoded).hexdigest())
