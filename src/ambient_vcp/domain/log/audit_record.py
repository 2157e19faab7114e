"""Audit records: who did what to what, as leaves of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.receipts.canonical import Json, canonical_json

AUDIT_LEAF_DOMAIN = b"ambient-vcp/audit-leaf/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One thing that happened.

    ``kind`` is a stable name like ``task.submitted``, ``actor`` and ``subject`` are ids. ``fields``
    holds whatever canonical JSON can express; never a secret.
    """

    kind: str
    at_ms: int
    actor: str
    subject: str
    fields: Mapping[str, Json]

    def leaf_data(self) -> bytes:
        """The leaf's bytes: the domain tag and the canonical JSON of the record, length-prefixed.

        Raises:
            InvalidInputError: ``fields`` holds what canonical JSON cannot express.
        """
        record: dict[str, Json] = {
            "kind": self.kind,
            "at_ms": self.at_ms,
            "actor": self.actor,
            "subject": self.subject,
            "fields": dict(self.fields),
        }
        return length_prefixed(AUDIT_LEAF_DOMAIN, canonical_json(record))
