"""Checkpoints: a log's size and root, as C2SP tlog-checkpoint, signed by the control plane."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.log.merkle import HASH_BYTES, SIZE_MAX
from ambient_vcp.domain.log.note import (
    Sign,
    SignatureChecker,
    decode_base64,
    is_signed_by,
    parse_note,
    sign_note,
)

LINES_MIN = 3
SIZE_DIGITS_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree head. ``origin`` names the log and is the key name of its signature."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The signed text: origin, size and base64 root, one line each.

        Raises:
            InvalidInputError: an origin that is empty or has a line break, or a size or root out
                of bounds. Written unchecked, it could be read as another checkpoint.
        """
        if not self.origin or "\n" in self.origin:
            raise _bad("the origin is one line that is not empty")
        if not 0 <= self.size <= SIZE_MAX or len(self.root) != HASH_BYTES:
            raise _bad(f"the size is 0 to {SIZE_MAX}, the root {HASH_BYTES} bytes")
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def log_origin(control_plane_id: str) -> str:
    """The origin of the log that a control plane keeps."""
    return f"ambient-vcp/{control_plane_id}/log"


def sign_checkpoint(checkpoint: Checkpoint, *, public_key: PublicKey, sign: Sign) -> str:
    """The checkpoint as a signed note; the key's name is the origin."""
    return sign_note(checkpoint.text(), name=checkpoint.origin, public_key=public_key, sign=sign)


def parse_checkpoint(note: str) -> Checkpoint:
    """The tree head in a signed note. Nothing is verified.

    Extension lines are refused: nobody could audit them.

    Raises:
        InvalidInputError: not a signed note, or not a checkpoint.
    """
    lines = parse_note(note).text[:-1].split("\n")
    if len(lines) != LINES_MIN:
        raise _bad("exactly three lines: origin, size, root")
    origin, size, root = lines
    # `isascii`: int() would take other digits too, and two spellings would be one size.
    digits_ok = size.isascii() and size.isdigit() and len(size) <= SIZE_DIGITS_MAX
    if not digits_ok or str(int(size)) != size:
        raise _bad("the size is a decimal number without leading zeros")
    checkpoint = Checkpoint(origin=origin, size=int(size), root=decode_base64(root))
    checkpoint.text()
    return checkpoint


def open_checkpoint(
    note: str, *, origin: str, public_key: PublicKey, checker: SignatureChecker
) -> Checkpoint | None:
    """The tree head, if ``note`` is a checkpoint of log ``origin`` signed by ``public_key``.

    None when the signature is missing or wrong or the origin is another one.

    Raises:
        InvalidInputError: not a checkpoint at all.
    """
    checkpoint = parse_checkpoint(note)
    signed = is_signed_by(parse_note(note), name=origin, public_key=public_key, checker=checker)
    return checkpoint if signed and checkpoint.origin == origin else None


def _bad(rule: str) -> InvalidInputError:
    return InvalidInputError(where="checkpoint", rule=rule)
