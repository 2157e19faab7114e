"""Checks signatures and public keys, without the leniences that other verifiers have."""

from __future__ import annotations

import re
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ambient_vcp.adapters.ed25519.curve import (
    ENCODED_BYTES,
    SIGN_BIT,
    L,
    P,
    decode,
    has_prime_order,
    small_order_encodings,
)
from ambient_vcp.domain.errors import InvalidKeyError
from ambient_vcp.domain.ids import PublicKey, Signature

KEYS_REMEMBERED_MAX = 4_096

_KEY_HEX = re.compile(r"[0-9a-f]{64}")
_SIGNATURE_HEX = re.compile(r"[0-9a-f]{128}")


class Ed25519Verifier:
    """Implements the port ``SignatureVerifier``.

    Verification is RFC 8032 without the cofactor (OpenSSL's), and refuses besides: S of L or more,
    R or a public key of small order, and every encoding that is not canonical. A key of mixed order
    is refused by ``check_public_key`` only, which takes milliseconds.
    """

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        """Say whether the signature is good. Malformed input is ``False``, never an exception."""
        if not (_is_hex(_KEY_HEX, public_key) and _is_hex(_SIGNATURE_HEX, signature)):
            return False
        key, signed = _loaded(public_key), bytes.fromhex(signature)
        r, s = signed[:ENCODED_BYTES], signed[ENCODED_BYTES:]
        if key is None or int.from_bytes(s, "little") >= L or not _is_proper(r):
            return False
        try:
            key.verify(signed, message)
        except InvalidSignature:
            return False
        return True

    def check_public_key(self, public_key: str) -> PublicKey:
        """Accept a key at enrolment: 64 lower-case hex digits of a point of prime order.

        Raises:
            InvalidKeyError: anything else; the reason says what.
        """
        problem = _problem_of_key(public_key)
        if problem:
            raise InvalidKeyError(reason=problem)
        return PublicKey(public_key)


# Cached because the same nodes sign again and again.
@lru_cache(maxsize=KEYS_REMEMBERED_MAX)
def _loaded(public_key: str) -> Ed25519PublicKey | None:
    """The key for verifying; None where it is of small order, not canonical or no point."""
    encoded = bytes.fromhex(public_key)
    if not _is_proper(encoded):
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(encoded)
    except ValueError:
        return None


# Cached because the proof of prime order takes milliseconds and the same keys come back.
@lru_cache(maxsize=KEYS_REMEMBERED_MAX)
def _problem_of_key(public_key: str) -> str:
    if not _is_hex(_KEY_HEX, public_key):
        return "it is not 64 lower-case hexadecimal digits"
    encoded = bytes.fromhex(public_key)
    if encoded in small_order_encodings():
        return "it is a point of small order"
    if _y(encoded) >= P:
        return "its encoding is not canonical"
    point = decode(encoded)
    if point is None:
        return "it is not a point of the curve"
    if not has_prime_order(point):
        return "its order is mixed: it has a part of small order"
    return ""


def _is_hex(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _y(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little") & (SIGN_BIT - 1)


def _is_proper(encoded: bytes) -> bool:
    return _y(encoded) < P and encoded not in small_order_encodings()
