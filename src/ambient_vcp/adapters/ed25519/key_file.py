"""Private keys on disk: PKCS #8 in PEM, readable by their owner only."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ambient_vcp.domain.errors import VcpError

KEY_FILE_BYTES_MAX = 4_096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(eq=False, kw_only=True)
class KeyFileError(VcpError):
    """A key file cannot be used. Never holds anything of its content."""

    code: ClassVar[str] = "key_file_unusable"
    http_status: ClassVar[int] = 500
    path: str
    reason: str
    advice: str = ""

    def __str__(self) -> str:
        return f"the key file {self.path} cannot be used: {self.reason}"

    @property
    def hint(self) -> str:
        return self.advice


def write_new_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write ``key`` with mode 0600, durably, all or nothing, and never over an existing file.

    Raises:
        FileExistsError: something stands at ``path``.
        KeyFileError: the folder cannot be written.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # mkstemp makes the file with mode 0600, whatever the umask.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            # A link, unlike a rename, fails when another process was faster.
            os.link(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise KeyFileError(
            path=str(path),
            reason=f"it cannot be written ({error.strerror})",
            advice=f"Make sure that {path.parent} exists and that you may write to it.",
        ) from error


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a key file.

    Raises:
        FileNotFoundError: nothing stands at ``path``.
        KeyFileError: others may read or write it, it belongs to somebody else, it is a link, or it
            does not hold an Ed25519 key.
    """
    pem = _read_private(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(path=str(path), reason="it holds no unencrypted PEM key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(path=str(path), reason="its key is not an Ed25519 key")
    return key


def _read_private(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe that stands there must not wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(
            path=str(path),
            reason=f"it cannot be opened ({error.strerror})",
            advice="It must be a plain file of yours, not a link.",
        ) from error
    try:
        _check_private(path, os.fstat(descriptor))
        content = os.read(descriptor, KEY_FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(path=str(path), reason=f"it is longer than {KEY_FILE_BYTES_MAX} bytes")
    return content


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(path=str(path), reason="it is not a plain file")
    if found.st_uid != os.geteuid():
        raise KeyFileError(
            path=str(path),
            reason="it belongs to another user",
            advice="Run as the user who owns it, or change its owner.",
        )
    if found.st_mode & _OTHERS:
        raise KeyFileError(
            path=str(path),
            reason=f"its permissions {stat.S_IMODE(found.st_mode):04o} let others use it",
            advice=f"Run: chmod 600 {path}",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some file systems cannot sync a folder; the file's own content is synced.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
