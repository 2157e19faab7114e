"""A control plane for a whole module, and people on it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from support.control_plane import BASE, ControlPlaneProcess, Person, leave, new_person, running

CLIENT_GONE = 499


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    """After the module: nothing failed unexpectedly, and every answer given was documented."""
    data_dir = tmp_path_factory.mktemp("plane") / "data"
    with running(data_dir, "--stream-comment-ms", "200") as process:
        yield process
        lines = [json.loads(x) for x in process.log().splitlines() if x.startswith("{")]
        failures = [line for line in lines if line["event"] in ("request.failed", "loop.failed")]
        assert not failures, failures[:3]
        assert undocumented(process, lines) == set()


def undocumented(process: ControlPlaneProcess, lines: list[dict]) -> set[tuple[str, str, int]]:
    """Answers (method, route, status) in the access log that the OpenAPI document lacks."""
    paths = httpx.get(process.url + "/api-docs/openapi.json").json()["paths"]
    found = set()
    for line in lines:
        if line["event"] != "request" or line["route"] == "-" or line["status"] == CLIENT_GONE:
            continue
        methods = paths[BASE + line["route"]]
        method = line["method"].lower()
        operation = methods.get(method) or methods["get" if method == "head" else method]
        if str(line["status"]) not in operation["responses"]:
            found.add((line["method"], line["route"], line["status"]))
    return found


@pytest.fixture
def person(plane: ControlPlaneProcess) -> Iterator[Person]:
    made = new_person(plane)
    yield made
    leave(made)


@pytest.fixture
def stranger(plane: ControlPlaneProcess) -> Iterator[Person]:
    made = new_person(plane)
    yield made
    leave(made)
