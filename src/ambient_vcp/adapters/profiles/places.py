"""Where profiles and local data lie, and what the environment says about them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

APP = "ambient-vcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment sets; it wins over profile files. None means not set."""

    endpoint: str | None
    token: str | None
    profile: str | None
    config_dir: Path
    data_dir: Path

    @property
    def profiles_dir(self) -> Path:
        return self.config_dir / "profiles"

    @property
    def receipts_dir(self) -> Path:
        return self.data_dir / "receipts"

    def __repr__(self) -> str:
        return f"Environment(endpoint={self.endpoint!r}, profile={self.profile!r})"


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """Read AMBIENT_VCP_ENDPOINT, _TOKEN, _PROFILE and the folders.

    AMBIENT_VCP_HOME puts both folders under one; otherwise the XDG rules hold.
    """
    if variables is None:
        variables = os.environ  # noqa: TID251 - the one place that reads it for the client side
    config_dir, data_dir = _folders(variables)
    return Environment(
        endpoint=variables.get("AMBIENT_VCP_ENDPOINT") or None,
        token=variables.get("AMBIENT_VCP_TOKEN") or None,
        profile=variables.get("AMBIENT_VCP_PROFILE") or None,
        config_dir=config_dir,
        data_dir=data_dir,
    )


def _folders(variables: Mapping[str, str]) -> tuple[Path, Path]:
    own = variables.get("AMBIENT_VCP_HOME")
    if own:
        return Path(own) / "config", Path(own) / "data"
    home = Path(variables.get("HOME") or Path("~").expanduser())
    config = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
    data = Path(variables.get("XDG_DATA_HOME") or home / ".local" / "share")
    return config / APP, data / APP
