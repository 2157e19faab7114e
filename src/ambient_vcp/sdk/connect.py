"""From arguments, environment and profile file to a session."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from ambient_vcp.adapters.profiles.places import read_environment
from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.adapters.profiles.store import ProfileStore
from ambient_vcp.sdk.errors import BadRequest, NoEndpoint
from ambient_vcp.sdk.session import Credential, Session


def new_session(
    endpoint: str | None = None, token: str | None = None, profile: str | None = None
) -> Session:
    """Arguments win over the environment, which wins over the profile file.

    A profile's token and password are used only towards that profile's own endpoint. An empty token
    is none at all, whatever else is set.

    Raises:
        NoEndpoint: nothing names a control plane. NotFoundError: no such profile.
        BadRequest: the endpoint is no HTTP address.
    """
    store = ProfileStore(read_environment())
    environment = store.environment
    name = profile or store.current_name()
    # A pointer to a deleted profile is no profile, a name that somebody gave is an error.
    given = profile is not None or environment.profile is not None
    chosen = store.load(name) if name and (given or name in store.names()) else None
    # A profile named in the call is meant as a whole.
    named_endpoint = chosen.endpoint if profile is not None and chosen is not None else None
    address = endpoint or named_endpoint or environment.endpoint
    if address is None and chosen is not None:
        address = chosen.endpoint
    if address is None:
        raise NoEndpoint("no control plane is chosen")
    session = Session(endpoint=check_endpoint(address), token=token)
    if chosen is not None and chosen.endpoint.rstrip("/") == session.endpoint:
        _add_login(session, chosen, store)
    # The environment's token wins over the file; an explicit profile or token over both.
    if token is None and profile is None and environment.token is not None:
        session.token, session.credential = environment.token, None
    return session


def check_endpoint(endpoint: str) -> str:
    """The address without a final slash.

    Raises:
        BadRequest: no ``http`` or ``https`` address, or one that carries a password.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadRequest(
            f"{endpoint[:200]!r} is no address of a control plane",
            hint="It looks like http://127.0.0.1:8420 or https://vcp.example.org.",
        )
    return endpoint.rstrip("/")


def _add_login(session: Session, profile: Profile, store: ProfileStore) -> None:
    if session.token is None:
        session.token = profile.token or None
    if profile.username and profile.password:
        session.credential = Credential(username=profile.username, password=profile.password)
    session.on_token = partial(store.save_token, profile.name)
