"""Write what happened into the transparency log and to the listeners, in the same transaction."""

from __future__ import annotations

from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.log.audit_record import AuditRecord
from ambient_vcp.ports.store import Transaction


def record(
    tx: Transaction, kind: str, *, actor: str, subject: str, fields: dict[str, str] | None = None
) -> None:
    """Add one audit record as a leaf. Fields hold ids, digests and reasons, never contents."""
    leaf = AuditRecord(
        kind=kind, at_ms=tx.now_ms(), actor=actor, subject=subject, fields=fields or {}
    )
    tx.log.add("audit", leaf.leaf_data())


def task_event(
    tx: Transaction,
    kind: str,
    *,
    account_id: AccountId,
    task_id: TaskId,
    node_id: NodeId | None = None,
    fields: dict[str, str] | None = None,
) -> None:
    """Tell the submitter's listeners."""
    tx.events.add(kind, account_id=account_id, task_id=task_id, node_id=node_id, fields=fields)
