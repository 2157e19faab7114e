"""Bytes by digest: whole, resumable, in ranges."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from starlette.responses import Response

from ambient_vcp.apps.control_plane.http.answers import json_answer
from ambient_vcp.apps.control_plane.http.endpoint import (
    BODY_BYTES_MAX,
    Call,
    Table,
    Who,
    body_stream,
    read_body,
)
from ambient_vcp.apps.control_plane.http.ranges import BYTES_TYPE, blob_response
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError
from ambient_vcp.domain.ids import AccountId, Digest
from ambient_vcp.ports.store import Transaction, Upload
from ambient_vcp.services import blobs
from ambient_vcp.wire.http.blobs import BlobStored, UploadRequest, UploadStarted

CHUNK_BYTES_MAX = 8 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UPLOAD_ID = re.compile(r"[0-9a-f-]{36}")
table = Table("blobs")


def _digest(call: Call[None]) -> Digest:
    text = call.path("digest")
    if not _DIGEST.fullmatch(text):
        raise NotFoundError(kind="blob", id=text[:64])
    return Digest(text)


def _writer(tx: Transaction, call: Call[Any]) -> AccountId:
    """The account that the bytes will belong to."""
    if call.caller_account is not None:
        return call.caller_account
    assert call.caller_node is not None
    return blobs.account_of_node(tx, call.caller_node)


@table.add(
    "PUT",
    "/blobs/{digest}",
    "Store a blob of at most 1 MiB",
    who=Who.EITHER,
    media_in=BYTES_TYPE,
    answers={200: BlobStored, 201: BlobStored},
    errors=(400, 403, 404, 413, 503),
)
async def put(call: Call[None]) -> Response:
    plane, digest = call.plane, _digest(call)
    account_id = await plane.store.read(lambda tx: _writer(tx, call))
    data = await read_body(call.request, BODY_BYTES_MAX)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise InvalidInputError(where="digest", rule="must be the SHA-256 of the body", got=found)
    await plane.blobs.put(data)

    def work(tx: Transaction) -> bool:
        new = tx.blobs.size_for(digest, account_id) is None
        tx.blobs.add(digest, len(data), account_id)
        return new

    new = await plane.store.transact(work)
    return json_answer({"digest": digest, "size_bytes": len(data)}, 201 if new else 200)


@table.add(
    "GET",
    "/blobs/{digest}",
    "A blob's bytes; Range is honoured",
    who=Who.EITHER,
    media_out=BYTES_TYPE,
    answers={200: None, 206: None, 304: None},
    errors=(404, 416),
    headers={"Range": "bytes=first-last", "If-None-Match": "the ETag"},
)
async def get(call: Call[None]) -> Response:
    digest = _digest(call)
    size = await call.plane.store.read(
        lambda tx: blobs.readable_size(
            tx, digest, account_id=call.caller_account, node_id=call.caller_node
        )
    )
    return await blob_response(call, digest, size)


@table.add(
    "POST",
    "/blobs/uploads",
    "Begin a resumable upload",
    who=Who.EITHER,
    body=UploadRequest,
    answers={201: UploadStarted},
    errors=(403, 503),
)
async def start(call: Call[UploadRequest]) -> Response:
    plane, sent = call.plane, call.body
    upload_id = plane.entropy.uuid4()

    def work(tx: Transaction) -> int | None:
        return blobs.start_upload(
            tx,
            upload_id=upload_id,
            account_id=_writer(tx, call),
            digest=Digest(sent.digest),
            size_bytes=sent.size_bytes,
        )

    owned = await plane.store.transact(work)
    if owned is None:
        await plane.uploads.start(upload_id, sent.size_bytes)
    answer = {
        "upload_id": "" if owned is not None else upload_id,
        "offset": owned or 0,
        "chunk_bytes_max": CHUNK_BYTES_MAX,
        "complete": owned is not None,
    }
    return json_answer(answer, 201)


async def _upload(call: Call[None]) -> Upload:
    upload_id = call.path("upload_id")
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise NotFoundError(kind="upload", id=upload_id[:64])
    return await call.plane.store.read(
        lambda tx: blobs.the_upload(tx, upload_id, _writer(tx, call))
    )


@table.add(
    "HEAD",
    "/blobs/uploads/{upload_id}",
    "How far an upload is: Upload-Offset, Upload-Length",
    who=Who.EITHER,
    answers={200: None},
    errors=(403, 404),
)
async def progress(call: Call[None]) -> Response:
    upload = await _upload(call)
    offset = await call.plane.uploads.offset(upload.id)
    return Response(
        headers={
            "Upload-Offset": str(offset),
            "Upload-Length": str(upload.size_bytes),
            "Cache-Control": "no-store",
        }
    )


@table.add(
    "PATCH",
    "/blobs/uploads/{upload_id}",
    "Continue an upload; the last part answers 201",
    who=Who.EITHER,
    media_in=BYTES_TYPE,
    answers={201: BlobStored, 204: None},
    errors=(400, 403, 404, 409, 413, 503),
    headers={"Upload-Offset": "where this part begins"},
)
async def append(call: Call[None]) -> Response:
    plane, upload = call.plane, await _upload(call)
    named = call.request.headers.get("upload-offset", "")
    if not (named.isascii() and named.isdigit() and len(named) < 19):  # noqa: PLR2004 - digits of 2^63
        raise InvalidInputError(where="Upload-Offset", rule="is a header with a decimal number")
    offset = await plane.uploads.append(
        upload.id,
        offset=int(named),
        size_bytes=upload.size_bytes,
        chunks=body_stream(call.request, CHUNK_BYTES_MAX),
    )
    headers = {"Upload-Offset": str(offset)}
    if offset < upload.size_bytes:
        return Response(status_code=204, headers=headers)
    try:
        await plane.uploads.finish(upload.id, upload.digest)
    except InvalidInputError:
        await plane.store.transact(lambda tx: tx.blobs.end_upload(upload.id))
        await plane.uploads.drop(upload.id)
        raise
    await plane.store.transact(lambda tx: blobs.finish_upload(tx, upload))
    answer = {"digest": upload.digest, "size_bytes": upload.size_bytes}
    return json_answer(answer, 201, headers)
