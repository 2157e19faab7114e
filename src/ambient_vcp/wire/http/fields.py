"""Bounded field types of requests."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

import msgspec

Short = Annotated[str, msgspec.Meta(max_length=256)]
Sentence = Annotated[str, msgspec.Meta(max_length=4_096)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
SlotIndex = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
TaskIdText = Annotated[str, msgspec.Meta(max_length=64)]


def rfc3339(at_ms: int) -> str:
    """UTC time as text with milliseconds."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


# Cached because almost every answer says what time it is now.
@lru_cache(maxsize=4_096)
def _second(at_sec: int) -> str:
    return f"{datetime.fromtimestamp(at_sec, tz=UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=4_096)
def network_prefix(host: str) -> str:
    """The /24 (IPv4) or /48 (IPv6) of an address; empty for what is not one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = 24 if address.version == 4 else 48  # noqa: PLR2004 - the protocol's two versions
    return str(ipaddress.ip_network((address, bits), strict=False))
