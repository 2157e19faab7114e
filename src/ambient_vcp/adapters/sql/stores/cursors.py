"""Cursors of pages: the position after which the next page begins, opaque to its holder."""

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
    position = _position(cursor) if len(cursor) <= _LENGTH_MAX else None
    if position is None:
        raise InvalidInputError(
            where="cursor",
            rule="is the next_cursor of an earlier page",
            got=repr(cursor[:40]),
            advice="Leave it out to begin with the first page.",
        )
    return position


def _position(cursor: str) -> tuple[int, str] | None:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        words = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(" ")
        prefix, at_ms, last_id = words
        position = int(at_ms), last_id
    except (ValueError, binascii.Error):
        return None
    ours = prefix == _PREFIX and encode_cursor(*position) == cursor
    return position if ours and "\0" not in last_id and 0 <= position[0] <= FIRST_PAGE[0] else None
