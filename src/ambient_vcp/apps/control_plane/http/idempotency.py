"""The same request twice has one effect and one answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from ambient_vcp.apps.control_plane.http.endpoint import Call
from ambient_vcp.domain.errors import IdempotencyMismatchError, InvalidInputError
from ambient_vcp.domain.ids import Digest
from ambient_vcp.ports.store import Transaction

KEY_CHARS_MAX = 128
NAME = "Idempotency-Key"
HEADER = {NAME: "1 to 128 printable characters; the same key and body give the same answer"}


async def once(call: Call[Any], status: int, work: Callable[[Transaction], bytes]) -> bytes:
    """Run ``work`` in a transaction, or give the answer stored under the request's key.

    Raises:
        IdempotencyMismatchError: the key was used with another body.
        InvalidInputError: the key is not printable or too long.
    """
    key = call.request.headers.get(NAME)
    if key is None:
        return await call.plane.store.transact(work)
    if not 1 <= len(key) <= KEY_CHARS_MAX or not (key.isascii() and key.isprintable()):
        raise InvalidInputError(
            where=NAME, rule=f"is 1 to {KEY_CHARS_MAX} printable ASCII characters"
        )
    named = f"{call.request.method} {call.request.url.path}\n".encode()
    request_hash = Digest(hashlib.sha256(named + call.raw_body).hexdigest())

    def guarded(tx: Transaction) -> bytes:
        stored = tx.idempotency.begin(call.account_id, key, request_hash)
        if stored is None:
            body = work(tx)
            tx.idempotency.finish(call.account_id, key, status=status, body=body)
            return body
        if stored.request_hash != request_hash:
            raise IdempotencyMismatchError(key=key)
        return stored.body

    return await call.plane.store.transact(guarded)
