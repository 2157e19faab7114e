"""What an operation asks of the outside. Operations are generators; drivers perform the effects.

An operation yields effects and is sent their answers, so the same code serves the blocking and the
asynchronous client and is tested without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

REQUEST_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP exchange; answered with a `Reply`. Raises ConnectionFailed into the operation."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    timeout_s: float = REQUEST_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; answered with None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Answered with a monotonic time in seconds."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """Work that blocks on a disk; answered with what ``call`` returns. Runs off an event loop."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit:
    """Hands one item to whoever iterates over the operation; answered with None."""

    item: Any


@dataclass(frozen=True, slots=True)
class OpenLines:
    """Opens a streamed answer; answered with a `Reply` (content empty if it is a stream).

    At most one stream is open in an operation; it is closed when another one opens and when the
    operation ends. ``silence_s`` is how long it may send nothing before it counts as broken.
    """

    request: Request
    silence_s: float


@dataclass(frozen=True, slots=True)
class NextLine:
    """Answered with the stream's next line without its end, or None when the stream ended."""


Effect: TypeAlias = Request | Pause | Now | Blocking | Emit | OpenLines | NextLine
Operation: TypeAlias = Generator[Effect, Any, T]
