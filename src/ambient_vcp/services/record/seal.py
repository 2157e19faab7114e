"""Seal ended tasks: build the receipt from the record, sign it, add it to the log."""

from __future__ import annotations

from collections.abc import Mapping

from ambient_vcp.domain.errors import ConflictError
from ambient_vcp.domain.ids import NodeId, Signature, TaskId
from ambient_vcp.domain.log.checkpoint import log_origin
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.receipts.assemble import NodeIdentity, assemble
from ambient_vcp.domain.receipts.canonical import parse_json
from ambient_vcp.domain.receipts.receipt import (
    ControlPlane,
    LogPosition,
    Receipt,
    body_from_dict,
    receipt_leaf,
    receipt_message,
    signed_text,
)
from ambient_vcp.ports.signer import Signer
from ambient_vcp.ports.store import StoredReceipt, Transaction
from ambient_vcp.services.record import audit, log


def seal(tx: Transaction, *, signer: Signer, control_plane_id: str, at_most: int = 100) -> int:
    """Seal up to ``at_most`` ended tasks; answers how many."""
    task_ids = tx.tasks.unsealed(at_most)
    if not task_ids:
        return 0
    issuer = ControlPlane(id=control_plane_id, public_key=signer.public_key)
    records = tx.tasks.load(task_ids)
    node_ids = {a.node_id for record in records.values() for a in record.attempts}
    identities = _identities(tx.nodes.many(list(node_ids)))
    for task_id in task_ids:
        record = records[task_id]
        body = assemble(record, issuer, identities)
        canonical = body.canonical()
        signature = signer.sign(receipt_message(canonical))
        text = signed_text(canonical, signature)
        tx.receipts.insert(task_id, text, receipt_leaf(canonical, signature))
        audit.task_event(tx, "task.sealed", account_id=record.task.account_id, task_id=task_id)
    tx.tasks.mark_sealed(task_ids)
    return len(task_ids)


def _identities(nodes: Mapping[NodeId, Node]) -> dict[NodeId, NodeIdentity]:
    return {
        node.id: NodeIdentity(
            public_key=node.public_key,
            owner_id=node.owner_id,
            network_prefix=node.network_prefix,
            trusted=node.trusted,
        )
        for node in nodes.values()
        if node.public_key is not None
    }


def receipt(tx: Transaction, *, task_id: TaskId, signer: Signer, control_plane_id: str) -> Receipt:
    """The sealed receipt of an ended task with its place in the log, sealing it now if need be.

    Raises:
        ConflictError: the task has not ended.
    """
    stored = tx.receipts.get(task_id)
    if stored is None or stored.leaf_index is None:
        seal(tx, signer=signer, control_plane_id=control_plane_id)
        log.integrate(tx, signer=signer, origin=log_origin(control_plane_id))
        stored = tx.receipts.get(task_id)
    if stored is None or stored.leaf_index is None:
        raise ConflictError(
            what=f"task {task_id} has no receipt yet",
            advice="Wait until the task has ended; many tasks may be ahead of it.",
        )
    return _placed(tx, stored, stored.leaf_index)


def _placed(tx: Transaction, stored: StoredReceipt, index: int) -> Receipt:
    value = parse_json(stored.text)
    assert isinstance(value, dict)
    head = tx.log.head()
    position = LogPosition(
        index=index,
        tree_size=head.size,
        root=log.head_root(head).hex(),
        path=tuple(step.hex() for step in log.inclusion(tx, index=index, size=head.size)),
        checkpoint=head.checkpoint,
    )
    signature = value["signature"]
    assert isinstance(signature, str)
    return Receipt(body=body_from_dict(value["body"]), signature=Signature(signature), log=position)
