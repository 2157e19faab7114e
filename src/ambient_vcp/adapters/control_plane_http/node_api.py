"""Every call of a node, by name. Paths and fields as in docs/protocol/http.md."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ambient_vcp.adapters.control_plane_http.blobs import BlobTransfer
from ambient_vcp.adapters.control_plane_http.events import ServerEvent, read_events
from ambient_vcp.adapters.control_plane_http.messages import (
    About,
    Assignment,
    Challenge,
    ClaimAnswer,
    Enrolment,
    HeartbeatAnswer,
    Lease,
    NodeInfo,
    RawAssignment,
    RenewAnswer,
    ResultAnswer,
    ResultsAnswer,
    Token,
    decode,
)
from ambient_vcp.adapters.control_plane_http.transport import EVENTS_READ_TIMEOUT_S, Transport
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.ports.signer import Signer
from ambient_vcp.wire.challenge import challenge_message
from ambient_vcp.wire.task_spec import decode_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a node says about itself when it enrols."""

    node_id: NodeId
    region: str
    node_type: str
    capabilities: Capabilities
    report: NodeReport


class NodeApi:
    """The calls of one node. Raises what ``Transport`` raises."""

    def __init__(self, transport: Transport, signer: Signer, node_id: NodeId) -> None:
        self._transport = transport
        self._signer = signer
        self.node_id = node_id
        self.blobs = BlobTransfer(transport)

    async def about(self) -> tuple[About, float]:
        """The answer and the round trip in milliseconds."""
        answer = await self._transport.request("GET", "/control-plane", authenticated=False)
        return decode(answer.content, About), answer.round_trip_ms

    async def health(self) -> Mapping[str, Any]:
        answer = await self._transport.request("GET", "/health", authenticated=False)
        found: dict[str, Any] = msgspec.json.decode(answer.content)
        return found

    async def enrol(self, registration: Registration, code: str | None) -> Enrolment:
        """Enrol, or say again who we are: the same key is the same node."""
        challenge, signature = await self._sign_challenge("enrol")
        body = {
            "public_key": self._signer.public_key,
            "challenge": challenge,
            "signature": signature,
            "node_id": registration.node_id,
            "region": registration.region,
            "node_type": registration.node_type,
            "capabilities": msgspec.to_builtins(registration.capabilities),
            "report": msgspec.to_builtins(registration.report),
        }
        if code is not None:
            body["code"] = code
        answer = await self._transport.request(
            "POST", "/nodes/enrol", json=body, authenticated=False
        )
        enrolment = decode(answer.content, Enrolment)
        self._transport.token = enrolment.token
        return enrolment

    async def renew_token(self) -> Token:
        challenge, signature = await self._sign_challenge("token")
        body = {"node_id": self.node_id, "challenge": challenge, "signature": signature}
        answer = await self._transport.request(
            "POST", "/nodes/token", json=body, authenticated=False
        )
        token = decode(answer.content, Token)
        self._transport.token = token.token
        return token

    async def heartbeat(
        self, telemetry: Telemetry, report: NodeReport
    ) -> tuple[HeartbeatAnswer, float]:
        """The answer and the round trip in milliseconds."""
        body = {
            "telemetry": msgspec.to_builtins(telemetry),
            "report": msgspec.to_builtins(report),
        }
        answer = await self._transport.request("PUT", self._path("/heartbeat"), json=body)
        return decode(answer.content, HeartbeatAnswer), answer.round_trip_ms

    async def claim_up_to(self, at_most: int) -> tuple[Assignment, ...]:
        return await self._claim({"at_most": at_most})

    async def claim(self, leases: Iterable[LeaseRef]) -> tuple[Assignment, ...]:
        return await self._claim({"leases": [_lease(ref) for ref in leases]})

    async def renew(self, leases: Sequence[LeaseRef]) -> RenewAnswer:
        body = {"leases": [_lease(ref) for ref in leases]}
        answer = await self._transport.request("POST", self._path("/renew"), json=body)
        return decode(answer.content, RenewAnswer)

    async def hand_in(self, results: Sequence[Mapping[str, Any]]) -> list[ResultAnswer]:
        body = {"results": list(results)}
        answer = await self._transport.request("POST", self._path("/results"), json=body)
        return decode(answer.content, ResultsAnswer).answers

    async def drain(self) -> NodeInfo:
        answer = await self._transport.request("POST", self._path("/drain"), json={})
        return decode(answer.content, NodeInfo)

    async def undrain(self) -> NodeInfo:
        answer = await self._transport.request("POST", self._path("/undrain"), json={})
        return decode(answer.content, NodeInfo)

    async def events(self) -> AsyncIterator[ServerEvent]:
        """Events as they come, until the connection ends (``UnavailableError`` or silently).

        The first one, ``open``, is our own: the stream stands, and what was missed must be asked.
        """
        headers = {"Accept": "text/event-stream"}
        async with self._transport.stream(
            self._path("/events"), headers=headers, read_timeout_s=EVENTS_READ_TIMEOUT_S
        ) as response:
            yield ServerEvent(name="open", data={})
            async for event in read_events(response.aiter_bytes()):
                yield event

    async def probe_down(self, size_bytes: int) -> float:
        """Fetch that many bytes and return the milliseconds from asking to the last byte."""
        return await self.blobs.timed_get(f"/probe?bytes={size_bytes}")

    async def probe_up(self, data: bytes) -> float:
        return await self.blobs.timed_post("/probe", data)

    def lease_of(self, item: Lease | ResultAnswer | RawAssignment) -> LeaseRef:
        return LeaseRef(
            task_id=TaskId(item.task_id), slot=item.slot, epoch=item.epoch, node_id=self.node_id
        )

    async def _claim(self, body: Mapping[str, Any]) -> tuple[Assignment, ...]:
        answer = await self._transport.request("POST", self._path("/claim"), json=body)
        raw = decode(answer.content, ClaimAnswer)
        return tuple(self._assignment(item) for item in raw.assignments)

    def _assignment(self, item: RawAssignment) -> Assignment:
        ref = self.lease_of(item)
        try:
            spec, problem = decode_spec(item.spec), ""
        except InvalidInputError as error:
            spec, problem = None, f"this agent does not understand the task: {error}"
        return Assignment(
            ref=ref,
            expires_in_ms=item.expires_in_ms,
            execution_ms=item.execution_ms,
            spec=spec,
            problem=problem,
        )

    async def _sign_challenge(self, purpose: str) -> tuple[str, str]:
        key = self._signer.public_key
        answer = await self._transport.request(
            "POST", "/nodes/challenge", json={"public_key": key}, authenticated=False
        )
        challenge = decode(answer.content, Challenge).challenge
        message = challenge_message(purpose, challenge, key, self.node_id)
        return challenge, self._signer.sign(message)

    def _path(self, rest: str) -> str:
        return f"/nodes/{self.node_id}{rest}"


def _lease(ref: LeaseRef) -> dict[str, str | int]:
    return {"task_id": ref.task_id, "slot": ref.slot, "epoch": ref.epoch}
