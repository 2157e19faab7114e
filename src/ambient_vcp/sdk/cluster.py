"""Operations on everything but tasks: accounts, nodes, programs, the control plane and its log."""

from __future__ import annotations

from typing import Any

from ambient_vcp.sdk.effects import Emit, Operation, Reply, Request
from ambient_vcp.sdk.errors import BadRequest
from ambient_vcp.sdk.results import NodeInfo
from ambient_vcp.sdk.session import Session, call, call_object, decode, error_of

PAGE_SIZE = 100
LEAVES_PAGE_SIZE = 1000


def register(
    session: Session, /, username: str, password: str, email: str | None = None
) -> Operation[dict[str, Any]]:
    """Open an account. It is not logged in."""
    body = {"username": username, "password": password}
    if email is not None:
        body["email"] = email
    return (yield from call_object(session, "POST", "/auth/register", body))


def whoami(session: Session, /) -> Operation[dict[str, Any]]:
    return (yield from call_object(session, "GET", "/auth/me"))


def health(_session: Session, /) -> Operation[dict[str, Any]]:
    """The control plane's own checks; a degraded one is an answer, not an error."""
    reply: Reply = yield Request(method="GET", path="/health", timeout_s=10.0)
    if reply.status not in (200, 503):
        raise error_of(reply)
    body: dict[str, Any] = decode(reply)
    return body


def control_plane(session: Session, /) -> Operation[dict[str, Any]]:
    """Identity, public key, limits and offered assurance classes."""
    return (yield from call_object(session, "GET", "/control-plane"))


def programs(session: Session, /) -> Operation[list[dict[str, Any]]]:
    return list((yield from call(session, "GET", "/programs"))["programs"])


def stats(session: Session, /) -> Operation[dict[str, Any]]:
    return (yield from call_object(session, "GET", "/cluster/stats"))


def nodes(session: Session, /, *, mine: bool = False) -> Operation[None]:
    """Emits `NodeInfo`s."""
    cursor: str | None = None
    while True:
        query = {"limit": str(PAGE_SIZE)}
        query.update({"mine": "true"} if mine else {})
        query.update({"cursor": cursor} if cursor else {})
        page = yield from call(session, "GET", "/nodes", query=query)
        for item in page["nodes"]:
            yield Emit(NodeInfo(item))
        cursor = page.get("next_cursor")
        if not cursor:
            return


def node(session: Session, /, node_id: str) -> Operation[NodeInfo]:
    return NodeInfo((yield from call(session, "GET", node_path(node_id))))


def invite(session: Session, /, ttl_sec: int | None = None) -> Operation[dict[str, Any]]:
    """A code with which one machine may join once: ``code``, ``expires_at_ms``."""
    body = {} if ttl_sec is None else {"ttl_sec": ttl_sec}
    return (yield from call_object(session, "POST", "/node-invites", body))


def drain(session: Session, /, node_id: str) -> Operation[NodeInfo]:
    """The node gets no new work and finishes what it has."""
    return NodeInfo((yield from call(session, "POST", f"{node_path(node_id)}/drain")))


def undrain(session: Session, /, node_id: str) -> Operation[NodeInfo]:
    return NodeInfo((yield from call(session, "POST", f"{node_path(node_id)}/undrain")))


def remove_node(session: Session, /, node_id: str) -> Operation[dict[str, Any]]:
    return (yield from call_object(session, "DELETE", node_path(node_id)))


def checkpoint(session: Session, /) -> Operation[dict[str, Any]]:
    """The log's newest signed checkpoint: ``size`` and ``checkpoint``."""
    return (yield from call_object(session, "GET", "/log/checkpoint"))


def leaves(session: Session, /, *, start: int = 0, stop: int) -> Operation[None]:
    """Emits the log's leaves from ``start`` to ``stop`` as the API gives them."""
    while start < stop:
        query = {"start": str(start), "limit": str(min(LEAVES_PAGE_SIZE, stop - start))}
        page = yield from call(session, "GET", "/log/leaves", query=query)
        if not page["leaves"]:
            return
        for leaf in page["leaves"]:
            yield Emit(leaf)
        start += len(page["leaves"])


def consistency(session: Session, /, *, first: int, second: int) -> Operation[dict[str, Any]]:
    query = {"first": str(first), "second": str(second)}
    return (yield from call_object(session, "GET", "/log/consistency", query=query))


def inclusion(session: Session, /, *, index: int, size: int) -> Operation[dict[str, Any]]:
    query = {"index": str(index), "size": str(size)}
    return (yield from call_object(session, "GET", "/log/inclusion", query=query))


def node_path(node_id: str) -> str:
    """Refuses what would address something else.

    Raises:
        BadRequest: not the shape of a node id.
    """
    if not node_id or not all(c.isascii() and (c.isalnum() or c in "-_") for c in node_id):
        raise BadRequest(f"{node_id[:64]!r} is no node id", hint="List them with `node list`.")
    return f"/nodes/{node_id}"
