"""Finds the operation of a request by table, ahead of the framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from ambient_vcp.apps.control_plane.http.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A path of segments; ``names`` are the parameters with their places among the segments."""

    literals: tuple[tuple[int, str], ...]
    names: tuple[tuple[int, str], ...]
    endpoint: Endpoint

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        if any(segments[place] != text for place, text in self.literals):
            return None
        found = {name: segments[place] for place, name in self.names}
        return found if all(found.values()) else None


class Dispatch:
    """Calls the endpoint of a known method and path itself; everything else is the framework's.

    Measured, the framework's layers and its walk along the routes cost several times what the
    hottest operations do. The framework still has every route: it answers other methods, unknown
    paths and the rest, and errors of operations have their one shape from the gate in both cases.
    """

    def __init__(self, framework: ASGIApp) -> None:
        self._framework = framework
        self._plain: dict[tuple[str, str], Endpoint] = {}
        self._patterns: dict[tuple[str, int], list[_Pattern]] = {}

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Where a path with parameters and one without fit a request, the latter is meant."""
        if "{" not in path:
            self._plain.setdefault((method, path), endpoint)
            return
        segments = list(enumerate(path.split("/")))
        pattern = _Pattern(
            tuple((place, text) for place, text in segments if not text.startswith("{")),
            tuple((place, text.strip("{}")) for place, text in segments if text.startswith("{")),
            endpoint,
        )
        self._patterns.setdefault((method, len(segments)), []).append(pattern)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            endpoint = self._plain.get((method, path))
            if endpoint is not None:
                scope["path_params"] = {}
                await endpoint(scope, receive, send)
                return
            segments = path.split("/")
            for pattern in self._patterns.get((method, len(segments)), ()):
                found = pattern.match(segments)
                if found is not None:
                    scope["path_params"] = found
                    await pattern.endpoint(scope, receive, send)
                    return
        await self._framework(scope, receive, send)
