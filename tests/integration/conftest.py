"""A control plane for a whole module, and people on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.control_plane import ControlPlaneProcess, Person, leave, new_person, running


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    data_dir = tmp_path_factory.mktemp("plane") / "data"
    with running(data_dir, "--stream-comment-ms", "200") as process:
        yield process
        failures = [line for line in process.log().splitlines() if "request.failed" in line]
        assert not failures, failures[:3]


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
