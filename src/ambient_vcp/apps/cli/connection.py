"""The client of the chosen profile, imported when a command first needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ambient_vcp.adapters.profiles.places import Environment, read_environment
from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.adapters.profiles.store import ProfileStore
from ambient_vcp.apps.cli.output import Output

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client


def open_client(out: Output) -> Client:
    return client_for(profile=out.state.profile)


def client_for(
    *, endpoint: str | None = None, token: str | None = None, profile: str | None = None
) -> Client:
    from ambient_vcp.sdk.client import Client  # noqa: PLC0415 - httpx is slow to import

    return Client(endpoint=endpoint, token=token, profile=profile)


def environment() -> Environment:
    return read_environment()


def profiles() -> ProfileStore:
    return ProfileStore(read_environment())


def chosen_profile(out: Output) -> Profile | None:
    """The profile in use, if there is one."""
    store = profiles()
    name = out.state.profile or store.current_name()
    if name is None:
        return None
    if out.state.profile is None and store.environment.profile is None:
        return store.load(name) if name in store.names() else None
    return store.load(name)
