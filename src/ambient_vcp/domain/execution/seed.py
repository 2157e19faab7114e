"""What a guest sees instead of chance and time: the same on every node."""

from __future__ import annotations

import hashlib

from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import TaskId

SEED_DOMAIN = b"ambient-vcp/seed/v1"

GUEST_CLOCK_START_MS = 946_684_800_000
"""Where every guest's WASI clocks begin: 2000-01-01T00:00:00Z.

A fixed moment, so replicas agree; not zero, because programs treat the epoch as "clock not set".
"""


def random_seed(task_id: TaskId) -> bytes:
    """32 bytes that feed the guest's random stream: SHA-256 over the domain tag and the task id.

    Both are length-prefixed. Anybody who knows the task id can compute it: guests must not use the
    stream for secrets.
    """
    return hashlib.sha256(length_prefixed(SEED_DOMAIN, task_id.encode())).digest()
