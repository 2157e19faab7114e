"""One cluster a session, started as a newcomer would: `ambient-vcp up` in an empty home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.terminal import Terminal, wait_for_text


@pytest.fixture(scope="session")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A home in which `up` runs."""
    home = tmp_path_factory.mktemp("home")
    found = Terminal(home)
    log = home / "up.log"
    with found.started("up", "--port", "0", log=log) as process:
        wait_for_text(log, "Ready.", process)
        yield found
