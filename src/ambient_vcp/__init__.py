"""Ambient VCP: untrusted work on other people's machines, answers that anyone can check."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The clients, imported when they are first asked for: programs that need none start fast."""
    if name in ("AsyncClient", "Client"):
        from ambient_vcp.sdk import client  # noqa: PLC0415 - the point of this function

        return getattr(client, name)
    raise AttributeError(f"module 'ambient_vcp' has no attribute {name!r}")
