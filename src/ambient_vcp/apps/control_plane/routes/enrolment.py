"""How machines become nodes: invitations, challenges, enrolment, tokens."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from starlette.responses import Response

from ambient_vcp.adapters.jose.tokens import Audience, IssuedToken
from ambient_vcp.apps.control_plane.http.answers import encode, json_answer
from ambient_vcp.apps.control_plane.http.endpoint import Call, Table, Who
from ambient_vcp.apps.control_plane.http.idempotency import HEADER, once
from ambient_vcp.apps.control_plane.http.idempotency import NAME as IDEMPOTENCY_KEY
from ambient_vcp.apps.control_plane.routes.nodes import node_answer
from ambient_vcp.domain.errors import UnauthorizedError
from ambient_vcp.domain.execution.trace import length_prefixed
from ambient_vcp.domain.ids import NodeId, PublicKey, Signature
from ambient_vcp.domain.nodes.capability import (
    check_capabilities,
    check_node_id,
    check_node_type,
    check_region,
)
from ambient_vcp.domain.nodes.node import Node, NodeReport
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.machines import enrolment
from ambient_vcp.services.machines.enrolment import Applicant
from ambient_vcp.wire.challenge import challenge_message
from ambient_vcp.wire.http.fields import network_prefix
from ambient_vcp.wire.http.nodes import (
    ChallengeAnswer,
    ChallengeRequest,
    EnrolAnswer,
    EnrolRequest,
    InviteAnswer,
    InviteRequest,
    NodeInfo,
    NodeRegistration,
    TokenAnswer,
    TokenRequest,
)

CODE_BYTES = 15
CODE_DOMAIN = b"ambient-vcp/join-code/v1"
table = Table("nodes")


@table.add(
    "POST",
    "/nodes/challenge",
    "A challenge to be signed by the node's key",
    who=Who.PUBLIC,
    body=ChallengeRequest,
    answers={200: ChallengeAnswer},
    errors=(400, 429),
)
async def challenge(call: Call[ChallengeRequest]) -> Response:
    public_key = call.plane.verifier.check_public_key(call.body.public_key)
    made, expires_at_ms = call.plane.challenges.make(public_key, network_prefix(call.peer))
    return json_answer({"challenge": made, "expires_at_ms": expires_at_ms})


def _proved_key(
    call: Call[Any], purpose: str, challenge: str, node_id: str, signature: str
) -> PublicKey:
    """Spend the challenge; answers the key that signed it."""
    public_key = call.plane.challenges.take(challenge)
    message = challenge_message(purpose, challenge, public_key, node_id)
    if not call.plane.verifier.verify(public_key, message, Signature(signature)):
        raise UnauthorizedError(reason="the signature does not fit the challenge and the key")
    return public_key


def _node_token(call: Call[Any], node_id: NodeId) -> IssuedToken:
    lifetime = call.plane.settings.node_token_sec
    return call.plane.tokens.issue(node_id, Audience.NODE, ttl_sec=lifetime)


@table.add(
    "POST",
    "/nodes/enrol",
    "Enrol a node's key with a join code or an account",
    who=Who.OPTIONAL,
    body=EnrolRequest,
    answers={200: EnrolAnswer, 201: EnrolAnswer},
    errors=(400, 401, 403, 409),
)
async def enrol(call: Call[EnrolRequest]) -> Response:
    plane, sent = call.plane, call.body
    public_key = plane.verifier.check_public_key(sent.public_key)
    applicant = _applicant(
        call,
        sent,
        public_key=public_key,
        report=sent.report.domain(),
    )
    if _proved_key(call, "enrol", sent.challenge, sent.node_id, sent.signature) != public_key:
        raise UnauthorizedError(reason="the challenge was made for another key")
    account_id = call.caller_account

    def work(tx: Transaction) -> tuple[Node, bool, int]:
        node, new = enrolment.enrol(tx, applicant=applicant, code=sent.code, account_id=account_id)
        return node, new, tx.now_ms()

    node, new, now_ms = await plane.store.transact(work)
    plane.work.slots_opened()
    token = _node_token(call, node.id)
    answer = {
        "node": node_answer(call, node, now_ms),
        "token": token.text,
        "token_expires_at_ms": token.expires_at_ms,
        "control_plane_public_key": plane.signer.public_key,
    }
    return json_answer(answer, 201 if new else 200)


def _applicant(
    call: Call[Any],
    sent: EnrolRequest | NodeRegistration,
    *,
    public_key: PublicKey | None,
    report: NodeReport,
    observability_port: int | None = None,
) -> Applicant:
    return Applicant(
        node_id=NodeId(check_node_id(sent.node_id)),
        public_key=public_key,
        region=check_region(sent.region),
        node_type=check_node_type(sent.node_type),
        capabilities=check_capabilities(sent.capabilities.domain()),
        report=report,
        network_prefix=network_prefix(call.peer),
        observability_port=observability_port,
    )


@table.add(
    "POST",
    "/nodes/token",
    "A fresh token for an enrolled node",
    who=Who.PUBLIC,
    body=TokenRequest,
    answers={200: TokenAnswer},
    errors=(401, 403),
)
async def token(call: Call[TokenRequest]) -> Response:
    plane, sent = call.plane, call.body
    public_key = _proved_key(call, "token", sent.challenge, sent.node_id, sent.signature)
    node_id = NodeId(sent.node_id)
    node = await plane.store.read(
        lambda tx: enrolment.node_for_token(tx, node_id=node_id, public_key=public_key)
    )
    made = _node_token(call, node.id)
    return json_answer({"token": made.text, "token_expires_at_ms": made.expires_at_ms})


@table.add(
    "POST",
    "/node-invites",
    "A join code: shown once, good once",
    who=Who.ACCOUNT,
    body=InviteRequest,
    body_optional=True,
    answers={201: InviteAnswer},
    headers=HEADER,
)
async def invite(call: Call[InviteRequest]) -> Response:
    plane = call.plane
    code = _join_code(call)

    def work(tx: Transaction) -> bytes:
        expires_at_ms = enrolment.invite(
            tx, code=code, owner_id=call.account_id, ttl_ms=call.body.ttl_sec * 1000
        )
        return encode(expires_at_ms)

    expires_at_ms = int(await once(call, 201, work))
    plane.work.happened()
    return json_answer({"code": code, "expires_at_ms": expires_at_ms}, 201)


def _join_code(call: Call[Any]) -> str:
    """A code that nobody can guess.

    Under an idempotency key it is the same again, and still stored nowhere: it is made from a
    signature that only this control plane can produce and never publishes.
    """
    key = call.request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        made = call.plane.entropy.token_bytes(CODE_BYTES)
    else:
        parts = (call.account_id.encode(), key.encode("utf-8", "replace"), call.raw_body)
        message = length_prefixed(CODE_DOMAIN, *parts)
        made = hashlib.sha256(bytes.fromhex(call.plane.signer.sign(message))).digest()[:CODE_BYTES]
    return base64.b32encode(made).decode().lower()


@table.add(
    "POST",
    "/nodes",
    "Register a node that has no key yet",
    who=Who.ACCOUNT,
    body=NodeRegistration,
    answers={201: NodeInfo},
    errors=(400, 409),
)
async def register(call: Call[NodeRegistration]) -> Response:
    sent = call.body
    applicant = _applicant(
        call,
        sent,
        public_key=None,
        report=NodeReport(),
        observability_port=sent.observability_port,
    )

    def work(tx: Transaction) -> tuple[Node, int]:
        node = enrolment.register(tx, applicant=applicant, owner_id=call.account_id)
        return node, tx.now_ms()

    node, now_ms = await call.plane.store.transact(work)
    return json_answer(node_answer(call, node, now_ms), 201)
