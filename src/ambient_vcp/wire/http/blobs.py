"""Blobs: resumable uploads."""

from __future__ import annotations

from ambient_vcp.wire.fields import Count, HexDigest, Shape


class UploadRequest(Shape, frozen=True):
    digest: HexDigest
    size_bytes: Count


class UploadStarted(Shape, frozen=True):
    """``complete``: the caller owns the blob already; ``upload_id`` is empty then."""

    upload_id: str
    offset: int
    chunk_bytes_max: int
    complete: bool


class BlobStored(Shape, frozen=True):
    digest: str
    size_bytes: int
