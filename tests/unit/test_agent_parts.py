"""Small parts of the agent: events, faults on purpose, memory, cache, settings, self-test."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.adapters.control_plane_http.events import ServerEvent, read_events
from ambient_vcp.adapters.control_plane_http.transport import base_url_of, is_loopback
from ambient_vcp.adapters.system import SystemClock
from ambient_vcp.apps.node.disk.data_dir import DataDir, DataDirError, NodeState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.observability import StatusServer
from ambient_vcp.apps.node.selftest import mix
from ambient_vcp.apps.node.settings import CODE_VARIABLE, owner_limits, parse
from ambient_vcp.apps.node.work.chaos import Chaos, parse_chaos
from ambient_vcp.apps.node.work.fetcher import trim_cache
from ambient_vcp.apps.node.work.memory_budget import MemoryBudget
from ambient_vcp.domain.errors import InvalidInputError

STREAM = (
    b": hello\n\n"
    b"event: leases\ndata: {}\n\n"
    b'event: cancel\r\ndata: {"task_id": "t",\r\ndata: "slot": 0}\r\n\r\n'
    b"event: drain\ndata: not json\n\n"
)


async def chunks_of(data: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def events_in(data: bytes, sizes: list[int]) -> list[ServerEvent]:
    async def collect() -> list[ServerEvent]:
        return [event async for event in read_events(chunks_of(data, sizes))]

    return asyncio.run(collect())


@given(st.lists(st.integers(0, 40), max_size=12))
def test_events_are_the_same_however_the_network_cuts_the_stream(sizes: list[int]) -> None:
    assert events_in(STREAM, sizes) == [
        ServerEvent(name="leases", data={}),
        ServerEvent(name="cancel", data={"task_id": "t", "slot": 0}),
        ServerEvent(name="drain", data={}),
    ]


def test_an_endless_event_ends_the_stream_instead_of_filling_the_memory() -> None:
    assert events_in(b"data: " + b"x" * 1_000_000, []) == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://vcp.example.org/", "https://vcp.example.org"),
        ("http://host:1/api/v1/", "http://host:1"),
        ("http://host/prefix", "http://host/prefix"),
    ],
)
def test_addresses_are_taken_as_people_type_them(typed: str, expected: str) -> None:
    assert base_url_of(typed) == expected


@pytest.mark.parametrize("typed", ["", "host:80", "ftp://host", "http://", "http://user:pw@host"])
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInputError):
        base_url_of(typed)


def test_only_this_machine_is_loopback() -> None:
    assert is_loopback("http://127.0.0.9:1")
    assert is_loopback("http://[::1]:1")
    assert is_loopback("http://localhost")
    assert not is_loopback("http://10.0.0.1")
    assert not is_loopback("http://localhost.example.org")


@given(st.binary(max_size=200))
def test_a_liar_never_tells_the_truth_and_keeps_the_length(output: bytes) -> None:
    lie = Chaos(wrong_result=True).lie(output)

    assert lie != output
    assert len(lie) == max(1, len(output))


def test_a_lie_about_a_number_is_another_number() -> None:
    lie = Chaos(wrong_result=True).lie(b'{"values":[{"type":"i32","value":"6765"}]}')

    assert lie == b'{"values":[{"type":"i32","value":"6764"}]}'


def test_an_honest_node_changes_nothing() -> None:
    assert Chaos().lie(b"output") == b"output"
    assert not Chaos()


def test_faults_are_read_from_the_command_line() -> None:
    assert parse_chaos(["wrong-result", "slow:0.5"]) == Chaos(wrong_result=True, slow_seconds=0.5)


@pytest.mark.parametrize("word", ["lie", "slow:x", "slow:-1", "slow:1e9", "wrong-result:1"])
def test_unknown_faults_are_refused(word: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_chaos([word])


def test_cells_never_hold_more_memory_than_was_lent() -> None:
    budget, held, most = MemoryBudget(100), 0, 0

    async def cell(size: int) -> None:
        nonlocal held, most
        async with budget.lent(size):
            held += size
            most = max(most, held)
            await asyncio.sleep(0)
            held -= size

    async def all_of_them() -> None:
        await asyncio.gather(*(cell(size) for size in (60, 60, 30, 100, 10, 40) * 5))

    asyncio.run(all_of_them())

    assert held == 0
    assert 60 <= most <= 100


def test_a_cell_that_was_stopped_while_it_waited_takes_no_memory() -> None:
    budget = MemoryBudget(10)

    async def scene() -> None:
        async def cell() -> None:
            async with budget.lent(10):
                await asyncio.sleep(60)

        first, second = asyncio.create_task(cell()), asyncio.create_task(cell())
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(1), budget.lent(10):
            pass

    asyncio.run(scene())


def test_the_cache_drops_what_was_unused_longest_and_keeps_what_is_needed(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "middle", "needed", "old"]):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))

    trim_cache(tmp_path, 200, tmp_path / "needed")

    assert {path.name for path in tmp_path.iterdir()} == {"new", "needed"}


def test_one_folder_serves_one_agent_at_a_time(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path / "node"), DataDir(tmp_path / "node")
    first.prepare()
    first.lock()

    with pytest.raises(DataDirError, match=f"process id {os.getpid()}"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = DataDir(tmp_path / "node")

    folder.prepare()

    assert folder.root.stat().st_mode & 0o777 == 0o700


def test_a_damaged_state_file_says_what_to_do(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    folder.prepare()
    folder.save_state(NodeState(url="http://h", node_id="n", region="r", node_type="any"))
    assert folder.load_state() is not None
    folder.state_file.write_text('{"url": 7}')

    with pytest.raises(DataDirError) as caught:
        folder.load_state()

    assert "Join again" in caught.value.hint


def test_the_code_may_come_from_the_environment_and_does_not_stay_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CODE_VARIABLE, "secret-code\n")

    settings = parse(["join", "http://h"])

    assert settings.code == "secret-code"
    assert CODE_VARIABLE not in os.environ


def test_the_code_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("abc\nrest\n")

    assert parse(["join", "http://h", "--code-file", str(tmp_path / "code")]).code == "abc"


@pytest.mark.parametrize(
    "terms",
    [
        {"cores": 0},
        {"cores": 257},
        {"memory_gb": 0.5},
        {"memory_gb": float("nan")},
        {"max_temperature": 500.0},
        {"hours": "never"},
        {"concurrency": -1},
    ],
)
def test_terms_outside_their_bounds_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        owner_limits(terms)


def test_wrong_arguments_end_with_exit_code_4() -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["join"])

    assert caught.value.code == 4


def test_text_from_outside_cannot_forge_a_log_line() -> None:
    out = io.StringIO()

    EventLog(SystemClock(), out=out).info("claimed", task="x\n12:00:00 node accepted task=y\x1b[2J")

    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_json_log_lines_are_json() -> None:
    out = io.StringIO()

    EventLog(SystemClock(), as_json=True, out=out).warning("odd", why=ValueError("x"), count=3)

    line = json.loads(out.getvalue())
    assert (line["level"], line["event"], line["why"], line["count"]) == ("warning", "odd", "x", 3)


def test_the_self_tests_answer_is_the_guests_loop_computed_another_way() -> None:
    value = 0
    for _ in range(1000):
        value = (value * 6364136223846793005 + 1442695040888963407) % 2**64

    assert mix(1000) % 2**64 == value
    assert mix(0) == 0


def ask(request: bytes) -> tuple[int, bytes]:
    async def exchange() -> bytes:
        server = await StatusServer(lambda: {"node_type": "compute"}).start(0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    answer = asyncio.run(exchange())
    return (int(answer.split()[1]) if answer else 0), answer


@pytest.mark.parametrize(
    ("request_line", "host", "status"),
    [
        ("GET /node/status", "127.0.0.1:9090", 200),
        ("GET /node/status", "localhost", 200),
        ("GET /node/status?x=1", "[::1]:9090", 200),
        ("GET /node/status", "evil.example.org", 403),
        ("GET /node/status", "127.0.0.1.evil.org:9090", 403),
        ("GET /other", "localhost", 404),
        ("POST /node/status", "localhost", 405),
    ],
)
def test_the_status_page_answers_local_readers_only(
    request_line: str, host: str, status: int
) -> None:
    got, answer = ask(f"{request_line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert got == status
    assert b"Cache-Control: no-store" in answer
    assert b"Access-Control" not in answer
    assert (b"compute" in answer) is (status == 200)


def test_the_status_page_refuses_requests_without_or_with_two_hosts() -> None:
    assert ask(b"GET /node/status HTTP/1.1\r\n\r\n")[0] == 403
    two = b"GET /node/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.org\r\n\r\n"
    assert ask(two)[0] == 403


def test_the_status_page_gives_garbage_no_answer() -> None:
    assert ask(b"\x00" * 20_000 + b"\r\n\r\n") == (0, b"")
