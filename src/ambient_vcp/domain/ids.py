"""Identifiers. Each is its own type, so swapping two is a type error."""

from typing import NewType

TaskId = NewType("TaskId", str)
"""UUID version 4 as text."""

NodeId = NewType("NodeId", str)
"""1 to 64 characters of ``[A-Za-z0-9_-]``."""

AccountId = NewType("AccountId", str)
"""UUID version 4 as text."""

Digest = NewType("Digest", str)
"""SHA-256 as 64 lower-case hexadecimal digits."""

PublicKey = NewType("PublicKey", str)
"""Ed25519 public key as 64 lower-case hexadecimal digits."""

Signature = NewType("Signature", str)
"""Ed25519 signature as 128 lower-case hexadecimal digits."""
