"""Issuing and checking access tokens. Whatever is not exactly ours is refused."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from ambient_vcp.adapters.jose.key_file import key_id
from ambient_vcp.domain.errors import UnauthorizedError
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.entropy import Entropy

ALGORITHM = "Ed25519"
"""EdDSA on Ed25519 under its fully specified name (RFC 9864)."""

TOKEN_TYPE = "at+jwt"  # noqa: S105  (RFC 9068's media type, not a secret)
LEEWAY_SEC = 30
TOKEN_CHARS_MAX = 2_048
CACHE_MAX = 50_000


class Audience(StrEnum):
    ACCOUNT = "account"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who a token speaks for. ``username`` and ``role`` are empty for nodes."""

    subject: str
    audience: Audience
    expires_at_sec: int
    username: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    text: str
    expires_at_ms: int


class Tokens:
    """One issuer: signs with one key and accepts only what that key signed.

    Verified tokens are remembered (at most ``cache_max``, by their SHA-256), so that a heartbeat
    does not pay for a signature check; expiry is looked at every time.
    """

    def __init__(
        self,
        key: OKPKey,
        *,
        issuer: str,
        clock: Clock,
        entropy: Entropy,
        cache_max: int = CACHE_MAX,
    ) -> None:
        self._key = key
        self._kid = key_id(key)
        self._issuer = issuer
        self._clock = clock
        self._entropy = entropy
        self._cache: OrderedDict[bytes, Claims] = OrderedDict()
        self._cache_max = cache_max

    def issue(
        self,
        subject: str,
        audience: Audience,
        *,
        ttl_sec: int,
        username: str = "",
        role: str = "",
    ) -> IssuedToken:
        now_sec = self._clock.now_ms() // 1000
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": str(audience),
            "sub": subject,
            "iat": now_sec,
            "exp": now_sec + ttl_sec,
            "jti": self._entropy.token_bytes(16).hex(),
        }
        if audience is Audience.ACCOUNT:
            claims |= {"username": username, "role": role}
        header = {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": self._kid}
        text = jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])
        return IssuedToken(text=text, expires_at_ms=(now_sec + ttl_sec) * 1000)

    def verify(self, text: str, *audiences: Audience) -> Claims:
        """Check a token for one of ``audiences``.

        Raises:
            UnauthorizedError: not ours, altered, expired, not yet valid, or for another audience.
        """
        # The token itself may be padded or re-encoded without changing what it decodes to.
        if len(text) > TOKEN_CHARS_MAX or "=" in text or not text.isascii():
            raise UnauthorizedError(reason="the access token is malformed")
        name = hashlib.sha256(text.encode()).digest()
        claims = self._cache.get(name)
        if claims is None:
            claims = self._check(text)
            self._remember(name, claims)
        if self._clock.now_ms() // 1000 >= claims.expires_at_sec + LEEWAY_SEC:
            self._cache.pop(name, None)
            raise UnauthorizedError(reason="the access token has expired")
        if claims.audience not in audiences:
            raise UnauthorizedError(
                reason=f"a token for audience {claims.audience} is not accepted here"
            )
        return claims

    def _remember(self, name: bytes, claims: Claims) -> None:
        self._cache[name] = claims
        while len(self._cache) > self._cache_max:
            self._cache.popitem(last=False)

    def _check(self, text: str) -> Claims:
        refusal = UnauthorizedError(reason="the access token is not one of ours")
        try:
            token = jwt.decode(text, self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise refusal from error
        if token.header != {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": self._kid}:
            raise refusal
        found = token.claims
        times = (found.get("iat"), found.get("exp"))
        if found.get("iss") != self._issuer or not all(type(time) is int for time in times):
            raise refusal
        now_sec = self._clock.now_ms() // 1000
        if found["iat"] > now_sec + LEEWAY_SEC:
            raise UnauthorizedError(reason="the access token is not valid yet")
        try:
            audience = Audience(found["aud"])
            texts = [found["sub"], found["jti"], found.get("username", ""), found.get("role", "")]
        except (KeyError, ValueError, TypeError) as error:
            raise refusal from error
        if not all(isinstance(item, str) for item in texts) or not texts[0]:
            raise refusal
        return Claims(
            subject=texts[0],
            audience=audience,
            expires_at_sec=found["exp"],
            username=texts[2],
            role=texts[3],
        )
