"""The Merkle tree of RFC 9162 section 2: hashes, frontier, proofs and their verification.

A node of the tree is named ``(level, index)``: it covers the leaves ``index * 2^level`` up to
``(index + 1) * 2^level``. Only complete nodes have a name and are ever stored; they never change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ambient_vcp.domain.errors import InvalidInputError

HASH_BYTES = 32
SIZE_MAX = 2**53 - 1
"""So that sizes and indexes are exact integers in JSON."""

EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeLookup: TypeAlias = Callable[[int, int], bytes]
"""``lookup(level, index)`` returns the hash of a complete node."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children's hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What is needed to append: the complete subtrees of a tree of ``size`` leaves, largest first.

    ``hashes`` has one entry per set bit of ``size``.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.size <= SIZE_MAX
        assert len(self.hashes) == self.size.bit_count()

    def append(self, new_leaf_hash: bytes) -> tuple[Frontier, tuple[TreeNode, ...]]:
        """Add one leaf. Returns the new frontier and the nodes it completed, the leaf first."""
        hashes = list(self.hashes)
        node = TreeNode(level=0, index=self.size, hash=new_leaf_hash)
        completed = [node]
        while node.index & 1:
            parent = node_hash(hashes.pop(), node.hash)
            node = TreeNode(level=node.level + 1, index=node.index >> 1, hash=parent)
            completed.append(node)
        hashes.append(node.hash)
        return Frontier(size=self.size + 1, hashes=tuple(hashes)), tuple(completed)

    def root(self) -> bytes:
        """The root hash; of the empty tree it is the SHA-256 of nothing."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def frontier_at(size: int, lookup: NodeLookup) -> Frontier:
    """The frontier of the first ``size`` leaves, read from stored nodes."""
    hashes, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            hashes.append(lookup(level, start >> level))
            start += 1 << level
    return Frontier(size=size, hashes=tuple(hashes))


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over ``leaf_hashes``."""
    frontier = Frontier()
    for each in leaf_hashes:
        frontier, _ = frontier.append(each)
    return frontier.root()


def inclusion_proof(index: int, size: int, lookup: NodeLookup) -> tuple[bytes, ...]:
    """The audit path of leaf ``index`` in the tree of the first ``size`` leaves, lowest first.

    Needs O(log size) lookups.

    Raises:
        InvalidInputError: ``index`` is not below ``size``.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise InvalidInputError(
            where="index", rule="at least 0 and below the tree size", got=f"{index} of {size}"
        )
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            path.append(_range_root(split, end, lookup))
            end = split
        else:
            path.append(_range_root(start, split, lookup))
            start = split
    return tuple(reversed(path))


def consistency_proof(old_size: int, new_size: int, lookup: NodeLookup) -> tuple[bytes, ...]:
    """Proof that the tree of ``old_size`` leaves is the beginning of that of ``new_size``.

    Empty when ``old_size`` is 0 or equals ``new_size``.

    Raises:
        InvalidInputError: ``old_size`` exceeds ``new_size``.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise InvalidInputError(
            where="old_size", rule="0 to the new size", got=f"{old_size} of {new_size}"
        )
    if old_size in {0, new_size}:
        return ()
    path: list[bytes] = []
    start, end, is_left_edge = 0, new_size, True
    while end != old_size:
        split = start + _largest_power_below(end - start)
        if old_size <= split:
            path.append(_range_root(split, end, lookup))
            end = split
        else:
            path.append(_range_root(start, split, lookup))
            start, is_left_edge = split, False
    if not is_left_edge:
        path.append(_range_root(start, end, lookup))
    return tuple(reversed(path))


def root_from_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes]
) -> bytes | None:
    """The root that ``path`` leads to from leaf hash ``leaf``, or None if the path is malformed.

    RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size <= SIZE_MAX or not _are_hashes([leaf, *path]):
        return None
    position, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    return root if last == 0 else None


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Say whether ``leaf`` (a leaf hash) stands at ``index`` in the tree with ``root``."""
    return root_from_inclusion(leaf, index=index, size=size, path=path) == root


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Say whether the old tree is the beginning of the new one. RFC 9162 section 2.1.4.2."""
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        return False
    if not _are_hashes([old_root, new_root, *path]):
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    if old_size == 0:
        return not path and old_root == EMPTY_ROOT
    if not path:
        return False
    nodes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    return _walk_consistency(nodes, old_size - 1, new_size - 1) == (old_root, new_root)


def _walk_consistency(nodes: list[bytes], position: int, last: int) -> tuple[bytes, bytes] | None:
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return (old, new) if last == 0 else None


def _range_root(start: int, end: int, lookup: NodeLookup) -> bytes:
    """Root of the leaves ``[start, end)``; ``start`` is a multiple of the power of two above it."""
    root: bytes | None = None
    remaining = end - start
    while remaining:
        # The smallest complete subtree stands last, so the root is folded from the right.
        size = remaining & -remaining
        level = size.bit_length() - 1
        remaining -= size
        part = lookup(level, (start + remaining) >> level)
        root = part if root is None else node_hash(part, root)
    assert root is not None
    return root


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _are_hashes(hashes: Sequence[bytes]) -> bool:
    return all(len(each) == HASH_BYTES for each in hashes)
