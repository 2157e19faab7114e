"""Uploads in pieces, played through against a blob store that loses connections."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ambient_vcp.sdk import uploads
from ambient_vcp.sdk.effects import Reply, Request
from ambient_vcp.sdk.errors import BadRequest, ConnectionFailed
from support.scripted import World, error, reply, session


class BlobServer:
    """A blob store that takes pieces, and loses the connection after the ones it is told to."""

    def __init__(self, *, lose_after_pieces: set[int]) -> None:
        self.stored = bytearray()
        self.pieces = 0
        self.lose_after_pieces = lose_after_pieces
        self.size_bytes = 0

    def __call__(self, request: Request) -> Reply | Exception:
        match request.method, request.path:
            case "POST", "/blobs/uploads":
                self.size_bytes = json.loads(request.content or b"")["size_bytes"]
                opened = {"upload_id": "u", "offset": 0, "chunk_bytes_max": 1 << 20}
                return reply(201, {**opened, "complete": False})
            case "HEAD", "/blobs/uploads/u":
                return reply(200, upload_offset=str(len(self.stored)))
            case "PATCH", "/blobs/uploads/u":
                return self.piece(request)
        raise AssertionError(request)

    def piece(self, request: Request) -> Reply | Exception:
        if int(request.headers["Upload-Offset"]) != len(self.stored):
            return error(409, "upload_offset")
        self.pieces += 1
        self.stored += request.content or b""
        if self.pieces in self.lose_after_pieces:
            return ConnectionFailed("the answer was lost")
        done = len(self.stored) == self.size_bytes
        return reply(201 if done else 204, upload_offset=str(len(self.stored)))


def test_a_large_upload_goes_on_where_the_other_side_stands() -> None:
    data = bytes(range(256)) * (3 * 4096 + 100)
    server = BlobServer(lose_after_pieces={1, 3})
    world = World(server)
    shown: list[tuple[str, int, int]] = []
    digest = world.run(
        uploads.upload(session(), data, label="input", progress=lambda *seen: shown.append(seen))
    )
    assert digest == hashlib.sha256(data).hexdigest()
    assert bytes(server.stored) == data
    assert shown[-1] == ("input", len(data), len(data))
    assert [done for _, done, _ in shown] == sorted(done for _, done, _ in shown)


def test_an_upload_whose_file_became_shorter_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))

    def answer(request: Request) -> Reply | Exception:
        if request.method == "PATCH":
            path.write_bytes(b"")
        return server(request)

    server = BlobServer(lose_after_pieces=set())
    with pytest.raises(BadRequest, match="shorter"):
        World(answer).run(uploads.upload(session(), path))
