"""Access tokens: ours are accepted, everything else is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from ambient_vcp.adapters.jose.key_file import load_or_create
from ambient_vcp.adapters.jose.tokens import LEEWAY_SEC, Audience, Tokens
from ambient_vcp.adapters.system import SystemEntropy
from ambient_vcp.domain.errors import UnauthorizedError

ISSUER = "plane-1"


class Clock:
    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


def made(key: OKPKey, clock: Clock, issuer: str = ISSUER, **more) -> Tokens:
    return Tokens(key, issuer=issuer, clock=clock, entropy=SystemEntropy(), **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key(tmp_path: Path) -> OKPKey:
    return load_or_create(tmp_path / "keys" / "tokens.json")


@pytest.fixture
def tokens(key: OKPKey, clock: Clock) -> Tokens:
    return made(key, clock)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def forged(
    key: OKPKey, text: str, *, header: dict | None = None, claims: dict | None = None
) -> str:
    """A token signed with the right key, but with parts changed or removed (None)."""
    parts = text.split(".")
    changed = []
    for part, change in zip(parts[:2], (header, claims), strict=True):
        value = decoded(part) | (change or {})
        changed.append(b64(json.dumps({k: v for k, v in value.items() if v is not None}).encode()))
    signing_input = ".".join(changed)
    seed = base64.urlsafe_b64decode(key.as_dict(private=True)["d"] + "=")
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(signing_input.encode())
    return f"{signing_input}.{b64(signature)}"


def test_a_token_tells_whom_it_speaks_for(tokens: Tokens):
    issued = tokens.issue("me", Audience.ACCOUNT, ttl_sec=60, username="ann", role="user")
    claims = tokens.verify(issued.text, Audience.ACCOUNT)
    assert (claims.subject, claims.username, claims.role) == ("me", "ann", "user")
    assert issued.expires_at_ms == 1_800_000_060_000
    assert decoded(issued.text.split(".")[0])["typ"] == "at+jwt"
    assert {"iss", "aud", "sub", "iat", "exp", "jti"} <= set(decoded(issued.text.split(".")[1]))


def test_a_token_for_one_audience_is_refused_for_the_other(tokens: Tokens):
    node = tokens.issue("n1", Audience.NODE, ttl_sec=60).text
    assert tokens.verify(node, Audience.NODE, Audience.ACCOUNT).subject == "n1"
    for _ in range(2):
        with pytest.raises(UnauthorizedError):
            tokens.verify(node, Audience.ACCOUNT)


def test_expiry_counts_even_for_remembered_tokens(tokens: Tokens, clock: Clock):
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    tokens.verify(text, Audience.NODE)
    clock.ms += (60 + LEEWAY_SEC - 1) * 1000
    tokens.verify(text, Audience.NODE)
    clock.ms += 1000
    with pytest.raises(UnauthorizedError, match="expired"):
        tokens.verify(text, Audience.NODE)


def test_a_token_from_the_future_is_refused_beyond_the_leeway(tokens: Tokens, clock: Clock):
    clock.ms += 25_000
    slightly = tokens.issue("me", Audience.NODE, ttl_sec=600).text
    clock.ms += 25_000
    far = tokens.issue("me", Audience.NODE, ttl_sec=600).text
    clock.ms -= 50_000
    assert tokens.verify(slightly, Audience.NODE).subject == "me"
    with pytest.raises(UnauthorizedError, match="not valid yet"):
        tokens.verify(far, Audience.NODE)


def test_every_changed_byte_is_noticed(tokens: Tokens):
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    for place in range(len(text)):
        other = "A" if text[place] != "A" else "B"
        changed = text[:place] + other + text[place + 1 :]
        # The last characters of base64 may carry bits that mean nothing; the bytes must differ.
        if place == len(text) - 1:
            continue
        with pytest.raises(UnauthorizedError):
            tokens.verify(changed, Audience.NODE)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "EdDSA"},
        {"alg": "ES256"},
        {"typ": "JWT"},
        {"typ": None},
        {"kid": "0" * 16},
        {"kid": None},
        {"jku": "file:///etc/passwd"},
        {"crit": ["exp"]},
        {"b64": False},
    ],
    ids=str,
)
def test_other_headers_are_refused_even_with_a_good_signature(key, tokens: Tokens, header):
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    with pytest.raises(UnauthorizedError):
        tokens.verify(forged(key, text, header=header), Audience.NODE)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "plane-2"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["node"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"jti": None},
        {"exp": None},
        {"exp": "1900000000"},
        {"exp": 1900000000.5},
        {"exp": True},
        {"iat": None},
        {"iat": -1.5},
    ],
    ids=str,
)
def test_other_claims_are_refused_even_with_a_good_signature(key, tokens: Tokens, claims):
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    assert tokens.verify(forged(key, text), Audience.NODE).subject == "me"
    with pytest.raises(UnauthorizedError):
        tokens.verify(forged(key, text, claims=claims), Audience.NODE)


def test_a_token_of_another_key_or_signed_with_the_public_key_is_refused(
    tmp_path: Path, key: OKPKey, tokens: Tokens, clock: Clock
):
    other = made(load_or_create(tmp_path / "other.json"), clock)
    with pytest.raises(UnauthorizedError):
        tokens.verify(other.issue("me", Audience.NODE, ttl_sec=60).text, Audience.NODE)
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    head = b64(json.dumps(decoded(text.split(".")[0]) | {"alg": "HS256"}).encode())
    body = f"{head}.{text.split('.')[1]}"
    public = key.as_dict(private=False)["x"].encode()
    mac = hmac.new(public, body.encode(), hashlib.sha256).digest()
    with pytest.raises(UnauthorizedError):
        tokens.verify(f"{body}.{b64(mac)}", Audience.NODE)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.b.c", "x" * 3000, "a.b.c.d.e", "\0"])
def test_what_is_no_token_is_refused(tokens: Tokens, text):
    with pytest.raises(UnauthorizedError):
        tokens.verify(text, Audience.NODE)


def test_padding_and_spaces_are_refused(tokens: Tokens):
    text = tokens.issue("me", Audience.NODE, ttl_sec=60).text
    for changed in (text + "=", text + " ", " " + text, text + "\n", text.replace(".", ". ", 1)):
        with pytest.raises(UnauthorizedError):
            tokens.verify(changed, Audience.NODE)


def test_remembered_tokens_are_bounded(key: OKPKey, clock: Clock):
    tokens = made(key, clock, cache_max=10)
    texts = [tokens.issue(f"n{n}", Audience.NODE, ttl_sec=60).text for n in range(40)]
    for text in texts:
        tokens.verify(text, Audience.NODE)
    assert len(tokens._cache) == 10
    assert tokens.verify(texts[0], Audience.NODE).subject == "n0"


def test_the_key_file_is_private_and_the_same_the_next_time(tmp_path: Path):
    path = tmp_path / "keys" / "tokens.json"
    first, second = load_or_create(path), load_or_create(path)
    assert first.as_dict(private=True) == second.as_dict(private=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["tokens.json"]


def test_a_key_file_that_others_may_read_or_that_is_no_key_is_refused(tmp_path: Path):
    path = tmp_path / "tokens.json"
    load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(PermissionError):
        load_or_create(path)
    path.chmod(0o600)
    path.write_text(json.dumps(OKPKey.generate_key("X25519").as_dict(private=True)))
    with pytest.raises(ValueError, match="Ed25519"):
        load_or_create(path)
    path.write_text("nonsense")
    with pytest.raises(ValueError):
        load_or_create(path)
