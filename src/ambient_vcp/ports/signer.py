"""Signing and checking signatures."""

from typing import Protocol

from ambient_vcp.domain.ids import PublicKey, Signature


class Signer(Protocol):
    """Holds one Ed25519 private key and never shows it."""

    @property
    def public_key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> Signature: ...


class SignatureVerifier(Protocol):
    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        """Say whether the signature is good. Malformed input is ``False``, never an exception."""
        ...

    def check_public_key(self, public_key: str) -> PublicKey:
        """Accept a key at enrolment.

        Raises:
            InvalidKeyError: not 32 bytes of hex, not canonical, off the curve, or of small order.
        """
        ...
