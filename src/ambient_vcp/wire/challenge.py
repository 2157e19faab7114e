"""What a node signs to show that it holds its key."""

from __future__ import annotations

from ambient_vcp.domain.execution.trace import length_prefixed

CHALLENGE_DOMAIN = b"ambient-vcp/challenge/v1"


def challenge_message(purpose: str, challenge: str, public_key: str, node_id: str) -> bytes:
    """Bytes to sign: every part length-prefixed. ``purpose`` is ``enrol`` or ``token``."""
    parts = (purpose, challenge, public_key, node_id)
    return length_prefixed(CHALLENGE_DOMAIN, *(part.encode() for part in parts))
