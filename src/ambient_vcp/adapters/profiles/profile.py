"""One profile and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ambient_vcp.domain.errors import InvalidInputError

NAME_CHARACTERS_MAX = 64
SECRETS = ("token", "password")
MASK = "********"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Empty text means unknown.

    ``public_key`` is the control plane's Ed25519 key (hex), pinned when the profile was made:
    receipts signed with it are trusted. ``password`` is kept only for accounts that `up` made
    itself with a random one, so that it can renew its token. ``data_dir`` is the folder of a
    control plane that runs on this machine.
    """

    name: str
    endpoint: str
    username: str = ""
    token: str = ""
    password: str = ""
    public_key: str = ""
    control_plane_id: str = ""
    data_dir: str = ""

    def __repr__(self) -> str:
        return f"Profile(name={self.name!r}, endpoint={self.endpoint!r})"

    def to_json(self, *, show_secrets: bool) -> dict[str, str]:
        shown: dict[str, str] = asdict(self)
        if not show_secrets:
            shown.update({key: MASK for key in SECRETS if shown[key]})
        return shown


def check_name(name: str) -> str:
    """Accept a profile's name.

    Raises:
        InvalidInputError: not 1 to 64 characters of ``[A-Za-z0-9._-]``, or it begins with a dot.
    """
    good = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    if not good or not 1 <= len(name) <= NAME_CHARACTERS_MAX or name.startswith("."):
        raise InvalidInputError(
            where="profile name",
            rule=f"1 to {NAME_CHARACTERS_MAX} letters, digits, '.', '_' or '-', no leading dot",
            got=repr(name[:NAME_CHARACTERS_MAX]),
        )
    return name


def profile_from_json(name: str, body: Any) -> Profile:
    """Read a profile leniently: unknown keys of a newer version are ignored.

    Raises:
        InvalidInputError: not an object of texts, or without an endpoint.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("endpoint"), str):
        raise InvalidInputError(where=f"profile {name}", rule="must be an object with an endpoint")
    known = {field.name for field in fields(Profile)} - {"name"}
    values = {key: value for key, value in body.items() if key in known}
    if not all(isinstance(value, str) for value in values.values()):
        raise InvalidInputError(where=f"profile {name}", rule="its values must be text")
    return Profile(name=name, **values)
