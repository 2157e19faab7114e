"""Signed notes (C2SP signed-note) with Ed25519 keys: write, parse strictly, verify."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey, Signature

NOTE_BYTES_MAX = 64 * 1024
SIGNATURES_MAX = 16
KEY_ID_BYTES = 4
ED25519_TYPE = b"\x01"
SIGNATURE_LINE_START = "\u2014 "
"""Em dash and space."""

Sign = Callable[[bytes], Signature]


class SignatureChecker(Protocol):
    """The part of a verifier that a note needs."""

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line. ``signature`` is what follows the key id, of any length."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedNote:
    """``text`` ends in a newline and is what is signed."""

    text: str
    signatures: tuple[NoteSignature, ...]


def note_key_id(name: str, public_key: PublicKey) -> bytes:
    """The first four bytes of SHA-256(name, newline, 0x01, 32-byte public key)."""
    _check_name(name)
    hashed = name.encode() + b"\n" + ED25519_TYPE + bytes.fromhex(public_key)
    return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]


def sign_note(text: str, *, name: str, public_key: PublicKey, sign: Sign) -> str:
    """The note ``text`` with one signature line by key ``name``.

    Raises:
        InvalidInputError: ``text`` does not end in a newline or has control characters, or ``name``
            is empty or has spaces or a plus sign.
    """
    _check_text(text)
    signature = bytes.fromhex(sign(text.encode()))
    encoded = base64.b64encode(note_key_id(name, public_key) + signature).decode()
    return f"{text}\n{SIGNATURE_LINE_START}{name} {encoded}\n"


def parse_note(note: str) -> SignedNote:
    """Parse a signed note. Nothing is verified yet.

    Raises:
        InvalidInputError: anything that the format does not allow, base64 that is not the one
            encoding of its bytes included.
    """
    if len(note) > NOTE_BYTES_MAX:
        raise _bad(f"at most {NOTE_BYTES_MAX} characters")
    text, blank_line, block = note.rpartition("\n\n")
    if not blank_line or not block.endswith("\n"):
        raise _bad("a text, an empty line, and signature lines that end in newlines")
    text += "\n"
    _check_text(text)
    _check_text(block)
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise _bad(f"at most {SIGNATURES_MAX} signatures")
    return SignedNote(text=text, signatures=tuple(_parse_line(line) for line in lines))


def is_signed_by(
    note: SignedNote, *, name: str, public_key: PublicKey, checker: SignatureChecker
) -> bool:
    """Say whether the key ``(name, public_key)`` signed the note.

    Lines of other keys are ignored. A line that names this key and does not verify spoils the note.
    """
    key_id = note_key_id(name, public_key)
    ours = [line for line in note.signatures if (line.name, line.key_id) == (name, key_id)]
    message = note.text.encode()
    return bool(ours) and all(
        checker.verify(public_key, message, Signature(line.signature.hex())) for line in ours
    )


def decode_base64(text: str) -> bytes:
    """Standard base64, padded, in its one canonical spelling.

    Raises:
        InvalidInputError: anything else.
    """
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _bad("base64") from error
    if base64.b64encode(decoded).decode() != text:
        raise _bad("base64 in its canonical spelling")
    return decoded


def _parse_line(line: str) -> NoteSignature:
    if not line.startswith(SIGNATURE_LINE_START):
        raise _bad("signature lines start with an em dash and a space")
    name, space, encoded = line.removeprefix(SIGNATURE_LINE_START).partition(" ")
    if not space:
        raise _bad("a signature line has a key name and base64")
    _check_name(name)
    decoded = decode_base64(encoded)
    if len(decoded) <= KEY_ID_BYTES:
        raise _bad("a signature follows the four bytes of the key id")
    return NoteSignature(name=name, key_id=decoded[:KEY_ID_BYTES], signature=decoded[KEY_ID_BYTES:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(each.isspace() or each < " " for each in name):
        raise _bad("key names are not empty and have no spaces and no plus sign")


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise _bad("the text ends in a newline")
    if any((each < " " and each != "\n") or "\ud800" <= each <= "\udfff" for each in text):
        raise _bad("no control characters, and valid Unicode")


def _bad(rule: str) -> InvalidInputError:
    return InvalidInputError(where="signed note", rule=rule)
