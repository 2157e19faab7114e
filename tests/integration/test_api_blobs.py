"""Blobs over HTTP: whole, resumable with cuts, in ranges, and only for those who may."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest

from support.control_plane import BASE, ControlPlaneProcess, Person, join, submitted

MIB = 1024 * 1024


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def begin(person: Person, digest: str, size: int) -> str:
    answer = person.api.post("/blobs/uploads", json={"digest": digest, "size_bytes": size})
    assert answer.status_code == 201, answer.text
    assert answer.json()["complete"] is False
    return answer.json()["upload_id"]


def append(person: Person, upload_id: str, offset: int, data: bytes):
    headers = {"Upload-Offset": str(offset)}
    return person.api.patch(f"/blobs/uploads/{upload_id}", content=data, headers=headers)


def test_a_small_blob_is_stored_and_read_back(person: Person):
    data = os.urandom(1000)
    path = f"/blobs/{digest_of(data)}"
    assert person.api.get(path).status_code == 404
    assert person.api.put(path, content=data).status_code == 201
    assert person.api.put(path, content=data).status_code == 200
    answer = person.api.get(path)
    assert answer.content == data
    assert answer.headers["etag"] == f'"{digest_of(data)}"'
    head = person.api.head(path)
    assert (head.headers["content-length"], head.content) == ("1000", b"")


def test_the_empty_blob_exists_like_any_other(person: Person):
    path = f"/blobs/{digest_of(b'')}"
    assert person.api.put(path, content=b"").status_code == 201
    assert person.api.get(path).content == b""
    upload_id = begin(person, digest_of(b"x"), 1)
    assert append(person, upload_id, 0, b"").status_code == 204


def test_a_blob_under_another_digest_is_400_and_not_stored(person: Person):
    path = f"/blobs/{digest_of(b'one')}"
    assert person.api.put(path, content=b"two").status_code == 400
    assert person.api.get(path).status_code == 404


def test_a_blob_over_1_mib_in_one_request_is_413(person: Person):
    data = bytes(MIB + 1)
    assert person.api.put(f"/blobs/{digest_of(data)}", content=data).status_code == 413


def test_strangers_do_not_read_a_blob_and_learn_nothing_of_it(person: Person, stranger: Person):
    data = os.urandom(500)
    digest = digest_of(data)
    person.api.put(f"/blobs/{digest}", content=data)
    assert stranger.api.get(f"/blobs/{digest}").status_code == 404
    started = stranger.api.post("/blobs/uploads", json={"digest": digest, "size_bytes": 500})
    assert started.json()["complete"] is False
    mine = person.api.post("/blobs/uploads", json={"digest": digest, "size_bytes": 500})
    assert mine.json()["complete"] is True
    assert stranger.api.put(f"/blobs/{digest}", content=data).status_code == 201
    assert stranger.api.get(f"/blobs/{digest}").content == data


def test_naming_anothers_blob_in_a_task_is_404(person: Person, stranger: Person):
    data = os.urandom(100)
    person.api.put(f"/blobs/{digest_of(data)}", content=data)
    body = {
        "task_type": "wasm_execution",
        "module": {"digest": digest_of(data)},
        "inputs": {"interface": "bytes"},
    }
    assert stranger.api.post("/tasks", json=body).status_code == 404


def test_an_upload_survives_cuts_and_wrong_offsets(plane: ControlPlaneProcess, person: Person):
    data = os.urandom(3 * MIB + 17)
    upload_id = begin(person, digest_of(data), len(data))
    assert append(person, upload_id, 0, data[:MIB]).headers["upload-offset"] == str(MIB)
    wrong = append(person, upload_id, 5, data[5:10])
    assert (wrong.status_code, wrong.json()["code"]) == (409, "upload_offset")
    assert wrong.json()["details"]["offset"] == MIB
    with socket.create_connection((plane.ready["host"], plane.ready["port"])) as raw:
        raw.sendall(
            f"PATCH {BASE}/blobs/uploads/{upload_id} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {person.token}\r\nUpload-Offset: {MIB}\r\n"
            f"Content-Length: {MIB}\r\n\r\n".encode()
            + data[MIB : MIB + 300_000]
        )
    offset = MIB
    for _ in range(100):
        offset = int(person.api.head(f"/blobs/uploads/{upload_id}").headers["upload-offset"])
        if offset == MIB + 300_000:
            break
    assert MIB <= offset <= MIB + 300_000
    last = append(person, upload_id, offset, data[offset:])
    if last.status_code == 409:
        offset = last.json()["details"]["offset"]
        last = append(person, upload_id, offset, data[offset:])
    assert last.status_code == 201, last.text
    assert person.api.get(f"/blobs/{digest_of(data)}").content == data
    assert person.api.head(f"/blobs/uploads/{upload_id}").status_code == 404


def test_an_upload_of_other_bytes_than_announced_is_refused_and_gone(person: Person):
    upload_id = begin(person, digest_of(b"good"), 4)
    assert append(person, upload_id, 0, b"evil").status_code == 400
    assert append(person, upload_id, 0, b"good").status_code == 404
    assert person.api.get(f"/blobs/{digest_of(b'good')}").status_code == 404


def test_more_bytes_than_announced_are_refused(person: Person):
    upload_id = begin(person, digest_of(b"good"), 4)
    answer = append(person, upload_id, 0, b"good and more")
    assert (answer.status_code, answer.json()["code"]) == (400, "limit_exceeded")


def test_a_part_over_8_mib_is_413(person: Person):
    data = bytes(9 * MIB)
    upload_id = begin(person, digest_of(data), len(data))
    assert append(person, upload_id, 0, data).status_code == 413


def test_a_blob_over_1_gib_is_refused_before_a_byte_is_sent(person: Person):
    body = {"digest": "0" * 64, "size_bytes": 1024 * MIB + 1}
    answer = person.api.post("/blobs/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "limit_exceeded")


@pytest.mark.parametrize("offset", ["", "x", "-1", "1.5", "9" * 30, "٣"])
def test_an_offset_that_is_no_number_is_400(person: Person, offset):
    upload_id = begin(person, digest_of(b"good"), 4)
    headers = {"Upload-Offset": offset.encode()}
    answer = person.api.patch(f"/blobs/uploads/{upload_id}", content=b"g", headers=headers)
    assert answer.status_code == 400


def test_anothers_upload_is_404(person: Person, stranger: Person):
    upload_id = begin(person, digest_of(b"good"), 4)
    assert append(stranger, upload_id, 0, b"good").status_code == 404
    assert stranger.api.head(f"/blobs/uploads/{upload_id}").status_code == 404
    assert append(person, upload_id, 0, b"good").status_code == 201


@pytest.mark.parametrize(
    ("header", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=990-", 206, 990, 1000),
        ("bytes=990-5000", 206, 990, 1000),
        ("bytes=-5", 206, 995, 1000),
        ("bytes=-5000", 206, 0, 1000),
        ("bytes=20-10", 200, 0, 1000),
        ("bytes=0-1,3-4", 200, 0, 1000),
        ("items=0-1", 200, 0, 1000),
        ("nonsense", 200, 0, 1000),
    ],
)
def test_ranges_are_honoured(person: Person, header, status, start, stop):
    data = bytes(range(250)) * 4
    path = f"/blobs/{digest_of(data)}"
    person.api.put(path, content=data)
    answer = person.api.get(path, headers={"Range": header})
    assert (answer.status_code, answer.content) == (status, data[start:stop])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/1000"


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_is_416(person: Person, header):
    data = bytes(range(250)) * 4
    path = f"/blobs/{digest_of(data)}"
    person.api.put(path, content=data)
    answer = person.api.get(path, headers={"Range": header})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")


def test_a_blob_that_is_known_is_not_sent_again(person: Person):
    data = os.urandom(64)
    path = f"/blobs/{digest_of(data)}"
    person.api.put(path, content=data)
    tag = person.api.get(path).headers["etag"]
    assert person.api.get(path, headers={"If-None-Match": tag}).status_code == 304
    changed = person.api.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert changed.status_code == 200


def test_a_node_reads_and_writes_only_under_a_live_lease(person: Person):
    machine = join(person)
    data = os.urandom(100_000)
    digest = digest_of(data)
    person.api.put(f"/blobs/{digest}", content=data)
    assert machine.api.get(f"/blobs/{digest}").status_code == 404
    output = b"an output"
    refused = machine.api.put(f"/blobs/{digest_of(output)}", content=output)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    task = submitted(person, inputs={"interface": "bytes", "input": {"digest": digest}})
    machine.claim_one(task["task_id"])
    assert machine.api.get(f"/blobs/{digest}").content == data
    assert machine.api.put(f"/blobs/{digest_of(output)}", content=output).status_code == 201
    person.api.post(f"/tasks/{task['task_id']}/cancel")
    assert machine.api.get(f"/blobs/{digest}").status_code == 404
    assert machine.api.put(f"/blobs/{digest_of(b'x')}", content=b"x").status_code == 403


def test_200_mib_pass_through_in_bounded_memory(plane: ControlPlaneProcess, person: Person):
    size, part = 200 * MIB, 8 * MIB
    block = os.urandom(part)
    hasher = hashlib.sha256()
    for _ in range(size // part):
        hasher.update(block)
    digest = hasher.hexdigest()
    before = plane.rss_bytes("VmHWM")
    upload_id = begin(person, digest, size)
    for offset in range(0, size, part):
        answer = append(person, upload_id, offset, block)
        assert answer.status_code in (201, 204), answer.text
    found, total = hashlib.sha256(), 0
    with person.api.stream("GET", f"/blobs/{digest}") as answer:
        for piece in answer.iter_bytes():
            found.update(piece)
            total += len(piece)
    assert (found.hexdigest(), total) == (digest, size)
    grown = plane.rss_bytes("VmHWM") - before
    assert grown < 64 * MIB, f"memory grew by {grown // MIB} MiB"
