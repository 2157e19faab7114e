"""The token key: made at the first start, kept in one file that only its owner can read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

KEY_FILE_BYTES_MAX = 4_096


def load_or_create(path: Path) -> OKPKey:
    """Read the key, or make one. Two processes that start at once end up with the same key.

    Raises:
        PermissionError: others than the owner may read the file.
        ValueError: the file does not hold an Ed25519 private key.
    """
    if not path.exists():
        _create(path)
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} may be read by others; make it readable by its owner only")
    document = json.loads(path.read_bytes()[:KEY_FILE_BYTES_MAX])
    key = OKPKey.import_key(document)
    if document.get("crv") != "Ed25519" or not key.is_private:
        raise ValueError(f"{path} does not hold an Ed25519 private key")
    return key


def key_id(key: OKPKey) -> str:
    """Sixteen hexadecimal digits that name the public key."""
    public = json.dumps(key.as_dict(private=False), sort_keys=True).encode()
    return hashlib.sha256(public).hexdigest()[:16]


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: dict[str, Any] = dict(OKPKey.generate_key("Ed25519").as_dict(private=True))
    made.pop("kid", None)
    own = path.with_name(f"{path.name}.{os.getpid()}.new")
    own.unlink(missing_ok=True)
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(made).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, not a rename: whoever comes first wins and nobody's key is replaced.
            os.link(own, path)
        except FileExistsError:
            return
    finally:
        own.unlink(missing_ok=True)
