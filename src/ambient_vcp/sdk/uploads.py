"""Bytes into the blob store: small ones at once, large ones in resumable pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ambient_vcp.domain.ids import Digest
from ambient_vcp.sdk.effects import Blocking, Operation, Pause, Reply, Request
from ambient_vcp.sdk.errors import BadRequest, ClientError, ConnectionFailed, RequestRefused
from ambient_vcp.sdk.request import Bytes, Upload, digest_of
from ambient_vcp.sdk.session import (
    TRIES_MAX,
    Session,
    authorised,
    backoff_s,
    call,
    error_of,
    send,
)

PUT_BYTES_MAX = 1024 * 1024
CHUNK_BYTES_MAX = 8 * 1024 * 1024
CHUNK_TIMEOUT_S = 300.0
CONFLICT = 409

Progress = Callable[[str, int, int], None]
"""Called with what is sent, how many bytes of it are stored, and how many there are."""


def upload(
    session: Session,
    /,
    source: str | Bytes,
    *,
    label: str = "blob",
    progress: Progress | None = None,
) -> Operation[Digest]:
    """Store bytes or a file; answers its digest. Nothing is sent twice."""
    content = Path(source) if isinstance(source, str) else source
    digest, size_bytes = yield Blocking(lambda: digest_of(content))
    wanted = Upload(source=content, digest=digest, size_bytes=size_bytes, label=label)
    yield from store(session, wanted, progress)
    return Digest(digest)


def store(session: Session, /, wanted: Upload, progress: Progress | None = None) -> Operation[None]:
    """Store what was hashed before.

    Raises:
        BadRequest: the file changed while it was read.
    """
    if wanted.size_bytes <= PUT_BYTES_MAX:
        content = yield Blocking(lambda: _piece(wanted, 0, PUT_BYTES_MAX + 1))
        yield from send(
            session,
            Request(method="PUT", path=f"/blobs/{wanted.digest}", headers=_BINARY, content=content),
        )
    else:
        yield from _store_in_pieces(session, wanted, progress)
    if progress is not None:
        progress(wanted.label, wanted.size_bytes, wanted.size_bytes)


_BINARY = {"Content-Type": "application/octet-stream"}


def _store_in_pieces(
    session: Session, wanted: Upload, progress: Progress | None
) -> Operation[None]:
    opened: dict[str, Any] = yield from call(
        session,
        "POST",
        "/blobs/uploads",
        {"digest": wanted.digest, "size_bytes": wanted.size_bytes},
    )
    if opened.get("complete"):
        return
    path = f"/blobs/uploads/{opened['upload_id']}"
    chunk_bytes = min(CHUNK_BYTES_MAX, int(opened["chunk_bytes_max"]))
    offset = int(opened["offset"])
    while True:
        if progress is not None:
            progress(wanted.label, offset, wanted.size_bytes)
        offset, complete = yield from _send_piece(session, wanted, path, offset, chunk_bytes)
        if complete:
            return


def _send_piece(
    session: Session, wanted: Upload, path: str, offset: int, chunk_bytes: int
) -> Operation[tuple[int, bool]]:
    """Send one piece; after a failure ask how far the other side came. Answers the new offset."""
    tries = 0
    while True:
        start = offset
        content: bytes = yield Blocking(partial(_piece, wanted, start, chunk_bytes))
        if not content and start < wanted.size_bytes:
            raise BadRequest(f"the {wanted.label} became shorter while it was read")
        request = Request(
            method="PATCH",
            path=path,
            headers={**_BINARY, "Upload-Offset": str(start)},
            content=content,
            timeout_s=CHUNK_TIMEOUT_S,
        )
        tries += 1
        try:
            reply: Reply = yield authorised(session, request)
            if reply.status < 400:  # noqa: PLR2004 - where HTTP's errors begin
                complete = reply.status == 201  # noqa: PLR2004 - created: the digest was checked
                return int(reply.headers.get("upload-offset", start + len(content))), complete
            error: ClientError = error_of(reply)
            lost_place = reply.status == CONFLICT
        except ConnectionFailed as failed:
            error, lost_place = failed, True
        if tries >= TRIES_MAX or not (lost_place or error.retryable):
            raise error
        yield Pause(backoff_s(tries))
        try:
            asked = yield from send(session, Request(method="HEAD", path=path))
        except RequestRefused:
            # An upload is forgotten once it is complete: the blob itself then answers.
            yield from send(session, Request(method="HEAD", path=f"/blobs/{wanted.digest}"))
            return wanted.size_bytes, True
        offset = int(asked.headers["upload-offset"])


def _piece(wanted: Upload, offset: int, size_bytes: int) -> bytes:
    if isinstance(wanted.source, bytes):
        return wanted.source[offset : offset + size_bytes]
    with wanted.source.open("rb") as file:
        file.seek(offset)
        return file.read(size_bytes)
