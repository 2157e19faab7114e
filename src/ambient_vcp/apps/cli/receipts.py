"""Receipts on this machine: each one fetched is kept, so that it can be checked offline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ambient_vcp.adapters.profiles.store import write_private
from ambient_vcp.apps.cli.connection import environment

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

SEAL_WAIT_S = 15.0
SEAL_POLL_S = 0.05


def kept_receipt(receipt_id: str) -> Path:
    """Where the receipt of this id is kept."""
    return environment().receipts_dir / f"{receipt_id}.json"


def keep_blinder(task_id: str, blinder: bytes) -> Path:
    """Keep what opens the commitment to a private input; whoever has it can test guesses."""
    path = environment().receipts_dir / f"{task_id}.blinder"
    write_private(path, blinder.hex().encode() + b"\n")
    return path


def fetch_receipt(client: Client, task_id: str, copy_to: Path | None = None) -> Path:
    """Fetch, keep, and copy if asked. A task that just ended gets a moment to be sealed."""
    from ambient_vcp.sdk.errors import RequestRefused  # noqa: PLC0415 - httpx is slow to import

    deadline = time.monotonic() + SEAL_WAIT_S
    receipt = None
    while receipt is None:
        try:
            receipt = client.receipt(task_id)
        except RequestRefused as refused:
            if refused.code != "conflict" or time.monotonic() > deadline:
                raise
            if not client.get(task_id).is_terminal:
                raise
            time.sleep(SEAL_POLL_S)
    path = kept_receipt(task_id)
    write_private(path, receipt)
    if copy_to is not None:
        copy_to.write_bytes(receipt)
    return path
