"""Signs with one private key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ambient_vcp.adapters.ed25519.key_file import read_key, write_new_key
from ambient_vcp.domain.ids import PublicKey, Signature


class Ed25519Signer:
    """Implements the port ``Signer``. Its ``repr`` shows the public key only."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public_key = PublicKey(key.public_key().public_bytes_raw().hex())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """A signer from RFC 8032's 32-byte private key."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> Self:
        """A signer from a key file.

        Raises:
            FileNotFoundError: there is none.
            KeyFileError: it cannot be used; permissions wider than 0600 are one reason.
        """
        return cls(read_key(path))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """A signer from the key file at ``path``, made now if there is none.

        Two processes that start at once end up with the same key.

        Raises:
            KeyFileError: the file cannot be used or written.
        """
        with suppress(FileNotFoundError):
            return cls.load(path)
        with suppress(FileExistsError):
            write_new_key(path, Ed25519PrivateKey.generate())
        return cls.load(path)

    @property
    def public_key(self) -> PublicKey:
        return self._public_key

    def sign(self, message: bytes) -> Signature:
        return Signature(self._key.sign(message).hex())

    def __repr__(self) -> str:
        return f"Ed25519Signer(public_key={self._public_key!r})"
