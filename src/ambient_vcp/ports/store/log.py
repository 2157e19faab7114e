"""The transparency log and receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.ids import TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A leaf of the transparency log. ``index`` is None until it is integrated in the tree."""

    sequence: int
    index: int | None
    kind: str
    data: bytes
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """Size of the integrated tree and the newest checkpoint over it (empty before the first)."""

    size: int
    checkpoint: str


class LogStore(Protocol):
    """The transparency log. Leaves are added in the transaction of what they record."""

    def add(self, kind: str, data: bytes) -> None: ...

    def add_many(self, leaves: Sequence[tuple[str, bytes]]) -> None: ...

    def pending(self, at_most: int) -> list[Leaf]:
        """Leaves not yet in the tree, in order of their sequence; locks the head."""
        ...

    def integrate(
        self,
        *,
        first_index: int,
        sequences: Sequence[int],
        nodes: Sequence[tuple[int, int, bytes]],
        checkpoint: str,
    ) -> None:
        """Give leaves their indexes, store complete subtree hashes (level, index), set the head.

        Raises:
            ConflictError: ``first_index`` is not the size of the tree, or a leaf is already in it.
        """
        ...

    def head(self) -> LogHead: ...

    def node(self, level: int, index: int) -> bytes | None: ...

    def nodes(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]: ...

    def leaves(self, first_index: int, at_most: int) -> list[Leaf]: ...

    def checkpoints(self, at_most: int) -> list[str]:
        """Signed checkpoints, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReceipt:
    """``text`` is the canonical JSON of body and signature.

    ``leaf_index`` is None until the leaf is in the tree.
    """

    task_id: TaskId
    text: str
    leaf_index: int | None


class ReceiptStore(Protocol):
    def insert(self, task_id: TaskId, text: str, leaf_data: bytes) -> None:
        """Store a receipt and its leaf (kind ``receipt``)."""
        ...

    def get(self, task_id: TaskId) -> StoredReceipt | None: ...
