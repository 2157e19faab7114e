"""The sizes of blobs that accounts name in their tasks, remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ambient_vcp.domain.ids import AccountId
from ambient_vcp.ports.store import Store
from ambient_vcp.services import blobs

REMEMBERED_MAX = 20_000


class BlobSizes:
    """Asks the store once for each account and blob.

    A digest has one size for ever, so what is remembered never becomes wrong; whether the account
    may use the blob is checked again in the transaction that stores the task.
    """

    def __init__(self, store: Store, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._store = store
        self._known: OrderedDict[tuple[AccountId, str], int] = OrderedDict()
        self._remembered_max = remembered_max

    async def of(self, account_id: AccountId, digests: Iterable[str]) -> dict[str, int]:
        """Sizes of those that the account may read; others are left out."""
        wanted = set(digests)
        found: dict[str, int] = {}
        for digest in wanted:
            size_bytes = self._known.get((account_id, digest))
            if size_bytes is not None:
                found[digest] = size_bytes
        missing = wanted - found.keys()
        if missing:
            fresh = await self._store.read(lambda tx: blobs.known_sizes(tx, account_id, missing))
            found |= fresh
            for digest, size_bytes in fresh.items():
                self._known[account_id, digest] = size_bytes
            while len(self._known) > self._remembered_max:
                self._known.popitem(last=False)
        return found
