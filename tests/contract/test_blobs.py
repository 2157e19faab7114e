"""The BlobStore port on the local folder, and the staging area of uploads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ambient_vcp.adapters.obstore.blobs import GET_BYTES_MAX, PUT_BYTES_MAX, LocalBlobStore
from ambient_vcp.adapters.obstore.uploads import UploadOffsetError, UploadStaging
from ambient_vcp.domain.errors import (
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)

UPLOAD = "11111111-2222-4333-8444-555555555555"


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


@pytest.fixture
def staging(tmp_path: Path, blobs: LocalBlobStore) -> UploadStaging:
    return UploadStaging(tmp_path / "uploads", blobs)


async def pieces(*parts: bytes):
    for part in parts:
        yield part


async def collected(blobs: LocalBlobStore, digest: str, start: int, stop: int) -> list[bytes]:
    return [piece async for piece in blobs.stream(digest, start, stop)]


@pytest.mark.parametrize("size", [0, 1, 4096, 1024 * 1024 + 7])
def test_what_was_put_comes_back(blobs: LocalBlobStore, size):
    data = os.urandom(size)

    async def run():
        assert not await blobs.has(digest_of(data))
        assert await blobs.put(data) == digest_of(data)
        assert await blobs.put(data) == digest_of(data)
        assert await blobs.has(digest_of(data))
        assert await blobs.get(digest_of(data)) == data
        assert await blobs.size(digest_of(data)) == size

    asyncio.run(run())


def test_what_is_not_there_is_not_found(blobs: LocalBlobStore):
    async def run():
        with pytest.raises(NotFoundError):
            await blobs.get("0" * 64)
        with pytest.raises(NotFoundError):
            await collected(blobs, "0" * 64, 0, 10)
        with pytest.raises(NotFoundError):
            await blobs.size("0" * 64)
        await blobs.delete("0" * 64)

    asyncio.run(run())


def test_a_deleted_blob_is_gone_and_may_come_back(blobs: LocalBlobStore):
    async def run():
        digest = await blobs.put(b"bytes")
        await blobs.delete(digest)
        await blobs.delete(digest)
        assert not await blobs.has(digest)
        assert await blobs.put(b"bytes") == digest

    asyncio.run(run())


def test_streams_give_exactly_the_asked_bytes_in_bounded_pieces(blobs: LocalBlobStore):
    data = os.urandom(3 * 1024 * 1024 + 5)

    async def run():
        digest = await blobs.put(data)
        for start, stop in [(0, len(data)), (0, 1), (5, 5), (1_048_575, 2_097_153), (7, 3_000_000)]:
            found = await collected(blobs, digest, start, stop)
            assert b"".join(found) == data[start:stop]
            assert all(len(piece) <= 1024 * 1024 for piece in found)

    asyncio.run(run())


def test_bytes_beyond_the_bounds_of_one_call_are_refused(blobs: LocalBlobStore, tmp_path: Path):
    async def run():
        with pytest.raises(InvalidInputError):
            await blobs.put(bytes(PUT_BYTES_MAX + 1))
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(GET_BYTES_MAX + 1)
        with large.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        await blobs.put_file(large, digest)
        with pytest.raises(InvalidInputError):
            await blobs.get(digest)

    asyncio.run(run())


def test_a_file_is_moved_in_or_dropped(blobs: LocalBlobStore, tmp_path: Path):
    async def run():
        good, bad = tmp_path / "good", tmp_path / "bad"
        good.write_bytes(b"good")
        bad.write_bytes(b"bad")
        await blobs.put_file(good, digest_of(b"good"))
        with pytest.raises(InvalidInputError):
            await blobs.put_file(bad, digest_of(b"good"))
        assert not good.exists()
        assert not bad.exists()
        assert await blobs.get(digest_of(b"good")) == b"good"

    asyncio.run(run())


def test_an_upload_grows_in_parts_and_becomes_a_blob(blobs: LocalBlobStore, staging: UploadStaging):
    data = os.urandom(100_000)

    async def run():
        await staging.start(UPLOAD, len(data))
        at = await staging.append(
            UPLOAD, offset=0, size_bytes=len(data), chunks=pieces(data[:10], data[10:60_000])
        )
        assert at == await staging.offset(UPLOAD) == 60_000
        assert not await blobs.has(digest_of(data))
        await staging.append(
            UPLOAD, offset=60_000, size_bytes=len(data), chunks=pieces(data[60_000:])
        )
        await staging.finish(UPLOAD, digest_of(data))
        assert await blobs.get(digest_of(data)) == data

    asyncio.run(run())


def test_a_cut_upload_keeps_what_arrived(blobs: LocalBlobStore, staging: UploadStaging):
    data = os.urandom(9_000)

    async def cut():
        yield data[:4_000]
        raise ConnectionResetError

    async def run():
        await staging.start(UPLOAD, len(data))
        with pytest.raises(ConnectionResetError):
            await staging.append(UPLOAD, offset=0, size_bytes=len(data), chunks=cut())
        assert await staging.offset(UPLOAD) == 4_000
        await staging.append(UPLOAD, offset=4_000, size_bytes=9_000, chunks=pieces(data[4_000:]))
        await staging.finish(UPLOAD, digest_of(data))
        assert await blobs.has(digest_of(data))

    asyncio.run(run())


def test_an_upload_continues_in_another_process(
    tmp_path: Path, blobs: LocalBlobStore, staging: UploadStaging
):
    data = os.urandom(50_000)

    async def run():
        await staging.start(UPLOAD, len(data))
        await staging.append(UPLOAD, offset=0, size_bytes=50_000, chunks=pieces(data[:30_000]))
        later = UploadStaging(tmp_path / "uploads", blobs)
        assert await later.offset(UPLOAD) == 30_000
        await later.append(UPLOAD, offset=30_000, size_bytes=50_000, chunks=pieces(data[30_000:]))
        await later.finish(UPLOAD, digest_of(data))
        assert await blobs.get(digest_of(data)) == data

    asyncio.run(run())


def test_wrong_offsets_surplus_bytes_and_wrong_digests_are_refused(
    blobs: LocalBlobStore, staging: UploadStaging
):
    async def run():
        await staging.start(UPLOAD, 4)
        with pytest.raises(UploadOffsetError) as wrong:
            await staging.append(UPLOAD, offset=2, size_bytes=4, chunks=pieces(b"ab"))
        assert wrong.value.offset == 0
        with pytest.raises(LimitExceededError):
            await staging.append(UPLOAD, offset=0, size_bytes=4, chunks=pieces(b"abcde"))
        assert await staging.append(UPLOAD, offset=0, size_bytes=4, chunks=pieces(b"abcd")) == 4
        with pytest.raises(InvalidInputError):
            await staging.finish(UPLOAD, digest_of(b"other"))
        assert not await blobs.has(digest_of(b"abcd"))

    asyncio.run(run())


def test_two_writers_of_one_upload_do_not_mix(staging: UploadStaging):
    gate = asyncio.Event()

    async def slow():
        yield b"ab"
        await gate.wait()
        yield b"cd"

    async def run():
        await staging.start(UPLOAD, 4)
        first = asyncio.create_task(staging.append(UPLOAD, offset=0, size_bytes=4, chunks=slow()))
        await asyncio.sleep(0.05)
        with pytest.raises(UploadOffsetError):
            await staging.append(UPLOAD, offset=2, size_bytes=4, chunks=pieces(b"xy"))
        gate.set()
        assert await first == 4
        await staging.finish(UPLOAD, digest_of(b"abcd"))

    asyncio.run(run())


def test_too_many_open_uploads_and_impossible_sizes_are_unavailable(staging: UploadStaging):
    async def run():
        with pytest.raises(UnavailableError, match="no space left"):
            await staging.start(UPLOAD, 2**60)
        for number in range(256):
            await staging.start(f"{number:036d}", 1)
        with pytest.raises(UnavailableError, match="too many"):
            await staging.start(UPLOAD, 1)
        await staging.drop(f"{0:036d}")
        await staging.start(UPLOAD, 1)

    asyncio.run(run())


def test_a_full_disk_is_unavailable_and_leaves_nothing_half_visible(tmp_path: Path):
    """The kernel's file size limit stands in for the full disk: writes fail in the same calls."""
    script = textwrap.dedent(
        """
        import asyncio, hashlib, resource, signal, sys
        from pathlib import Path
        from ambient_vcp.adapters.obstore.blobs import LocalBlobStore
        from ambient_vcp.adapters.obstore.uploads import UploadStaging
        from ambient_vcp.domain.errors import UnavailableError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        root = Path(sys.argv[1])
        blobs = LocalBlobStore(root / "blobs")
        staging = UploadStaging(root / "uploads", blobs)
        data = bytes(900_000)

        async def chunks():
            for start in range(0, len(data), 100_000):
                yield data[start:start + 100_000]

        async def refused(awaitable):
            try:
                await awaitable
            except UnavailableError as error:
                assert "no space left" in str(error), error
                return
            raise AssertionError("it was stored")

        async def main():
            digest = hashlib.sha256(data).hexdigest()
            await refused(blobs.put(data))
            assert not await blobs.has(digest)
            await staging.start("u" * 36, len(data))
            await refused(staging.append("u" * 36, offset=0, size_bytes=len(data), chunks=chunks()))
            assert await staging.offset("u" * 36) == 500_000
            assert not await blobs.has(digest)
            small = await blobs.put(b"still works")
            assert await blobs.get(small) == b"still works"

        asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    names = [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert names == [digest_of(b"still works")]
