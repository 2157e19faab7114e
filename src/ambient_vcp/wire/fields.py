"""Field types and decoding that the message shapes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from ambient_vcp.domain.errors import InvalidInputError

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

INT64_MAX = 2**63 - 1
TEXT_LENGTH_MAX = 64 * 1024
LIST_LENGTH_MAX = 4096

Count = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)]
HexDigest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
HexSignature = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$", max_length=128)]
TextList = Annotated[tuple[Text, ...], msgspec.Meta(max_length=LIST_LENGTH_MAX)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every message shape: immutable, named fields, nothing unknown is let through."""


def refused(where: str, problem: Exception) -> InvalidInputError:
    """The error of a message that does not have the shape it must have."""
    return InvalidInputError(where=where, rule=str(problem)[:500])


def checked(where: str, build: Callable[[], T]) -> T:
    """Run a conversion.

    Raises:
        InvalidInputError: the value is malformed; ``where`` names the message.
    """
    try:
        return build()
    except (msgspec.MsgspecError, UnicodeError, ValueError) as problem:
        raise refused(where, problem) from None
