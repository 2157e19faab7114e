"""Both drivers against a real HTTP server: the same operation gives the same answer."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ambient_vcp
from ambient_vcp.adapters.profiles.places import read_environment
from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.adapters.profiles.store import ProfileStore
from ambient_vcp.sdk import AsyncClient, Client, ConnectionFailed, NoEndpoint
from ambient_vcp.sdk.errors import BadRequest


class Handler(BaseHTTPRequestHandler):
    """Says who asked; streams two events."""

    def do_GET(self) -> None:
        if self.path.startswith("/api/v1/events"):
            event = {"sequence": 1, "kind": "task.started", "task_id": "t", "at_ms": 0}
            body = (f": hi\nid: 1\nevent: task\ndata: {json.dumps(event)}\n\n" * 2).encode()
            self.answer(body, "text/event-stream")
            return
        seen = {"path": self.path, "authorization": self.headers.get("Authorization")}
        self.answer(json.dumps(seen).encode(), "application/json")

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMBIENT_VCP_HOME", str(tmp_path))
    for name in ("ENDPOINT", "TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AMBIENT_VCP_{name}", raising=False)
    return tmp_path


def test_both_clients_get_the_same_answers(endpoint: str) -> None:
    with Client(endpoint, token="t") as client:
        blocking = client.stats()
        first = next(client.events())

    async def ask() -> tuple[object, object]:
        async with AsyncClient(endpoint, token="t") as client_:
            stats = await client_.stats()
            async for event in client_.events():
                return stats, event
        return None, None

    assert asyncio.run(ask()) == (blocking, first)
    assert blocking == {"path": "/api/v1/cluster/stats", "authorization": "Bearer t"}
    assert first.kind == "task.started"


def test_both_clients_say_when_nobody_listens() -> None:
    nobody = "http://127.0.0.1:9"
    with Client(nobody, token="") as client, pytest.raises(ConnectionFailed) as caught:
        client.invite()
    assert caught.value.retryable
    assert caught.value.hint

    async def ask() -> None:
        async with AsyncClient(nobody, token="") as client_:
            await client_.invite()

    with pytest.raises(ConnectionFailed):
        asyncio.run(ask())


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    assert public(Client) == public(AsyncClient)
    for name in public(Client) - {"close", "task"}:
        one, other = getattr(Client, name), getattr(AsyncClient, name)
        parameters = list(inspect.signature(one).parameters)
        assert parameters == list(inspect.signature(other).parameters)
        assert "session" not in parameters[0]
        assert one.__name__ == other.__name__


def test_the_package_root_has_the_clients_without_importing_them_first() -> None:
    assert ambient_vcp.Client is Client
    assert ambient_vcp.AsyncClient is AsyncClient
    with pytest.raises(AttributeError):
        ambient_vcp.Nothing  # noqa: B018 - the access is the test


def test_without_any_endpoint_the_client_says_how_to_get_one() -> None:
    with pytest.raises(NoEndpoint, match="no control plane"):
        Client()


@pytest.mark.parametrize("endpoint_", ["", "ftp://x", "host:8420", "http://", "http://u:p@host"])
def test_an_endpoint_that_is_no_http_address_is_refused(endpoint_: str) -> None:
    with pytest.raises((BadRequest, NoEndpoint)):
        Client(endpoint_)


def saved(home: Path, **fields: str) -> ProfileStore:
    store = ProfileStore(read_environment({"AMBIENT_VCP_HOME": str(home)}))
    store.save(Profile(name="p", **{"endpoint": "http://a", "token": "file", **fields}))
    store.use("p")
    return store


def test_the_environment_wins_over_the_profile_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(home)
    with Client() as client:
        assert (client.session.endpoint, client.session.token) == ("http://a", "file")
    monkeypatch.setenv("AMBIENT_VCP_TOKEN", "environment")
    with Client() as client:
        assert client.session.token == "environment"
    monkeypatch.setenv("AMBIENT_VCP_ENDPOINT", "http://b")
    monkeypatch.delenv("AMBIENT_VCP_TOKEN")
    with Client() as client:
        assert (client.session.endpoint, client.session.token) == ("http://b", None)
    with Client(profile="p") as client:
        assert (client.session.endpoint, client.session.token) == ("http://a", "file")


def test_a_profiles_secrets_go_to_no_other_address(home: Path) -> None:
    saved(home, username="u", password="secret")
    with Client("http://b") as client:
        assert client.session.token is None
        assert client.session.credential is None
    with Client("http://a") as client:
        assert client.session.credential is not None


def test_a_renewed_token_is_kept_in_the_profile(home: Path) -> None:
    store = saved(home)
    with Client() as client:
        assert client.session.on_token is not None
        client.session.on_token("new")
    assert store.load("p").token == "new"
