"""The table that finds an operation answers as the framework's routes would."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from ambient_vcp.apps.control_plane.http.dispatch import Dispatch
from ambient_vcp.ports.entropy import random_uuids
from ambient_vcp.testing.entropy import SeededEntropy


def answer_of(method: str, path: str) -> tuple[str, dict[str, str]]:
    """Which endpoint was called, with what parameters."""
    called: list[tuple[str, dict[str, str]]] = []

    def named(name: str):
        async def endpoint(scope, receive, send):
            called.append((name, scope.get("path_params", {})))

        return endpoint

    dispatch = Dispatch(named("framework"))
    dispatch.add("GET", "/tasks", named("page"))
    dispatch.add("GET", "/tasks/{task_id}", named("one"))
    dispatch.add("GET", "/tasks/recent", named("recent"))
    dispatch.add("POST", "/nodes/{node_id}/claim", named("claim"))
    dispatch.add("POST", "/nodes/{node_id}/renew", named("renew"))
    scope = {"type": "http", "method": method, "path": path}
    asyncio.run(dispatch(scope, None, None))
    (found,) = called
    return found


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/tasks", ("page", {})),
        ("GET", "/tasks/7", ("one", {"task_id": "7"})),
        ("GET", "/tasks/recent", ("recent", {})),
        ("POST", "/nodes/n1/claim", ("claim", {"node_id": "n1"})),
        ("POST", "/nodes/n1/renew", ("renew", {"node_id": "n1"})),
        ("GET", "/tasks/", ("framework", {})),
        ("GET", "/tasks/7/", ("framework", {})),
        ("HEAD", "/tasks", ("framework", {})),
        ("DELETE", "/tasks/7", ("framework", {})),
        ("POST", "/nodes//claim", ("framework", {})),
        ("POST", "/nodes/a/b/claim", ("framework", {})),
    ],
)
def test_a_request_reaches_its_operation_and_the_rest_the_framework(method, path, expected):
    assert answer_of(method, path) == expected


def test_many_random_uuids_are_distinct_and_of_version_4():
    made = random_uuids(SeededEntropy(5), 500)
    assert len(set(made)) == 500
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
