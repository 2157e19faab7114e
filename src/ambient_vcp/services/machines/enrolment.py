"""How a machine becomes a node: an invitation or an account, and a key it has shown to hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from ambient_vcp.domain.errors import ConflictError, ForbiddenError, UnauthorizedError
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, PublicKey
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.tasks.spec import NodeType
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit

GONE = frozenset({NodeStatus.DELETED, NodeStatus.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A machine as it presents itself, checked at the border. ``public_key`` is shown to be its."""

    node_id: NodeId
    public_key: PublicKey | None
    region: str
    node_type: NodeType
    capabilities: Capabilities
    report: NodeReport
    network_prefix: str
    observability_port: int | None = None


def hash_code(code: str) -> Digest:
    """What the store keeps of an invitation: the code itself is shown once and never stored."""
    return Digest(hashlib.sha256(code.encode("utf-8", "replace")).hexdigest())


def invite(tx: Transaction, *, code: str, owner_id: AccountId, ttl_ms: int) -> int:
    """Store an invitation; answers when it expires."""
    audit.record(tx, "node.invited", actor=owner_id, subject=owner_id)
    return tx.nodes.add_invite(hash_code(code), owner_id, ttl_ms=ttl_ms)


def register(tx: Transaction, *, applicant: Applicant, owner_id: AccountId) -> Node:
    """Register a node without a key: it is listed, and gets work once a key is enrolled for it.

    Raises:
        ConflictError: the id is taken.
    """
    return _insert(tx, applicant, owner_id)


def enrol(
    tx: Transaction, *, applicant: Applicant, code: str | None, account_id: AccountId | None
) -> tuple[Node, bool]:
    """Enrol a machine whose key was checked; answers the node and whether it is new.

    The same key is the same node and needs no invitation. A deleted node comes back only with an
    invitation or account of its owner; a rejected one does not come back.

    Raises:
        ForbiddenError: no valid invitation or account; or the node was rejected or deleted.
        ConflictError: the id or the key belongs to another node.
    """
    assert applicant.public_key is not None
    known = tx.nodes.by_key(applicant.public_key)
    if known is None:
        owner_id = _sponsor(tx, applicant.node_id, code, account_id)
        return _claim_id(tx, applicant, owner_id), True
    if known.id != applicant.node_id:
        raise ConflictError(
            what=f"this key belongs to node {known.id}",
            advice="Use that node id, or make a new key.",
        )
    if known.status is NodeStatus.REJECTED:
        raise ForbiddenError(reason=f"node {known.id} was rejected by its owner")
    if known.status is NodeStatus.DELETED:
        owner_id = _sponsor(tx, applicant.node_id, code, account_id)
        if owner_id != known.owner_id:
            raise ConflictError(
                what=f"node {known.id} belongs to another account",
                advice="Make a new key for the new owner.",
            )
    node = replace(
        _as_node(tx, applicant, known.owner_id),
        status=NodeStatus.DRAINING if known.status is NodeStatus.DRAINING else NodeStatus.ONLINE,
    )
    tx.nodes.save_registration(node)
    audit.record(tx, "node.returned", actor=known.id, subject=known.id)
    return _stored(tx, known.id), False


def node_for_token(tx: Transaction, *, node_id: NodeId, public_key: PublicKey) -> Node:
    """The node that may have a token for this key.

    Raises:
        UnauthorizedError: there is no such node with this key.
        ForbiddenError: it was deleted or rejected.
    """
    node = tx.nodes.get(node_id)
    if node is None or node.public_key != public_key:
        raise UnauthorizedError(reason="no node has this id and this key")
    if node.status in GONE:
        raise ForbiddenError(reason=f"node {node.id} was {node.status}")
    return node


def _sponsor(
    tx: Transaction, node_id: NodeId, code: str | None, account_id: AccountId | None
) -> AccountId:
    if code is not None:
        owner_id = tx.nodes.use_invite(hash_code(code), node_id)
        if owner_id is None:
            raise ForbiddenError(reason="the join code is unknown, used or expired")
        return owner_id
    if account_id is None:
        raise ForbiddenError(reason="a new node needs a join code or an account token")
    return account_id


def _claim_id(tx: Transaction, applicant: Applicant, owner_id: AccountId) -> Node:
    """A new node, or the key for one that its owner registered before."""
    reserved = tx.nodes.get(applicant.node_id)
    if reserved is None:
        return _insert(tx, applicant, owner_id)
    if (
        reserved.public_key is not None
        or reserved.owner_id != owner_id
        or reserved.status in GONE
        or applicant.public_key is None
    ):
        raise ConflictError(
            what=f"the node id {applicant.node_id} is taken", advice="Choose another node id."
        )
    tx.nodes.set_key(reserved.id, applicant.public_key)
    tx.nodes.save_registration(_as_node(tx, applicant, owner_id))
    audit.record(tx, "node.enrolled", actor=owner_id, subject=reserved.id)
    return _stored(tx, reserved.id)


def _insert(tx: Transaction, applicant: Applicant, owner_id: AccountId) -> Node:
    if tx.nodes.get(applicant.node_id) is not None:
        raise ConflictError(
            what=f"the node id {applicant.node_id} is taken", advice="Choose another node id."
        )
    tx.nodes.insert(_as_node(tx, applicant, owner_id))
    kind = "node.enrolled" if applicant.public_key else "node.registered"
    audit.record(tx, kind, actor=owner_id, subject=applicant.node_id)
    return _stored(tx, applicant.node_id)


def _as_node(tx: Transaction, applicant: Applicant, owner_id: AccountId) -> Node:
    now_ms = tx.now_ms()
    # Without a key nobody ever heard from the machine: it is not online.
    status = NodeStatus.ONLINE if applicant.public_key else NodeStatus.OFFLINE
    return Node(
        id=applicant.node_id,
        owner_id=owner_id,
        region=applicant.region,
        node_type=applicant.node_type,
        capabilities=applicant.capabilities,
        status=status,
        registered_at_ms=now_ms,
        last_seen_at_ms=now_ms,
        public_key=applicant.public_key,
        network_prefix=applicant.network_prefix,
        report=applicant.report,
        observability_port=applicant.observability_port,
    )


def _stored(tx: Transaction, node_id: NodeId) -> Node:
    node = tx.nodes.get(node_id)
    assert node is not None
    return node
