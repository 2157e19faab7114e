"""Integrate new leaves into the transparency log, sign its head, prove things about it."""

from __future__ import annotations

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.log.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ambient_vcp.domain.log.merkle import (
    NodeLookup,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
)
from ambient_vcp.ports.signer import Signer
from ambient_vcp.ports.store import LogHead, Transaction

INTEGRATE_MAX = 5_000


def integrate(
    tx: Transaction, *, signer: Signer, origin: str, at_most: int = INTEGRATE_MAX
) -> LogHead:
    """Append pending leaves in their order and publish a signed checkpoint over all."""
    pending = tx.log.pending(at_most)
    head = tx.log.head()
    if not pending:
        return head
    frontier = frontier_at(head.size, _lookup(tx))
    nodes: list[tuple[int, int, bytes]] = []
    for leaf in pending:
        frontier, completed = frontier.append(leaf_hash(leaf.data))
        nodes += [(node.level, node.index, node.hash) for node in completed]
    checkpoint = sign_checkpoint(
        Checkpoint(origin=origin, size=frontier.size, root=frontier.root()),
        public_key=signer.public_key,
        sign=signer.sign,
    )
    tx.log.integrate(
        first_index=head.size,
        sequences=[leaf.sequence for leaf in pending],
        nodes=nodes,
        checkpoint=checkpoint,
    )
    return LogHead(size=frontier.size, checkpoint=checkpoint)


def inclusion(tx: Transaction, *, index: int, size: int) -> tuple[bytes, ...]:
    """Path of a leaf in the tree of the first ``size`` leaves.

    Raises:
        InvalidInputError: index or size beyond the log.
    """
    _check_size(tx, size)
    return inclusion_proof(index, size, _lookup(tx))


def consistency(tx: Transaction, *, first: int, second: int) -> tuple[bytes, ...]:
    """Proof that the first ``first`` leaves are the beginning of the first ``second``."""
    _check_size(tx, second)
    return consistency_proof(first, second, _lookup(tx))


def head_root(head: LogHead) -> bytes:
    """Root in the newest checkpoint."""
    return parse_checkpoint(head.checkpoint).root


def _check_size(tx: Transaction, size: int) -> None:
    head = tx.log.head()
    if not 0 <= size <= head.size:
        raise InvalidInputError(where="size", rule=f"is 0 to {head.size}", got=str(size))


def _lookup(tx: Transaction) -> NodeLookup:
    def find(level: int, index: int) -> bytes:
        found = tx.log.node(level, index)
        assert found is not None, f"complete node {level}/{index} is missing"
        return found

    return find
