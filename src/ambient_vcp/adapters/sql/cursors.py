"""Cursors of pages: the position after which the next page begins, opaque to those who hold them."""

from __future__ import annotations

import base64
import binascii

from ambient_vcp.domain.errors import InvalidInputError

FIRST_PAGE = (2**62, "")
"""A position before every row."""

_PREFIX = "v1"
_LENGTH_MAX = 400


def encode_cursor(at_ms: int, last_id: str) -> str:
    return base64.urlsafe_b64encode(f"{_PREFIX} {at_ms} {last_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, str]:
    """The position in a cursor.

    Raises:
        InvalidInputError: it was not made by :func:`encode_cursor`.
    """
    try:
        if len(cursor) > _LENGTH_MAX:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        prefix, at_ms, last_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(" ")
        position = int(at_ms), last_id
        if prefix != _PREFIX or encode_cursor(*position) != cursor or "\0" in last_id:
            raise ValueError
        if not 0 <= position[0] <= FIRST_PAGE[0]:
            raise ValueError
    except (ValueError, binascii.Error):
        raise InvalidInputError(
            where="cursor",
            rule="is the next_cursor of an earlier page",
            got=repr(cursor[:40]),
            advice="Leave it out to begin with the first page.",
        ) from None
    return position
