"""Profile files on disk: one JSON file each, readable by their owner only."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ambient_vcp.adapters.profiles.places import Environment
from ambient_vcp.adapters.profiles.profile import Profile, check_name, profile_from_json
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PROFILE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProfileStore:
    environment: Environment

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.environment.profiles_dir.glob("*.json"))

    def current_name(self) -> str | None:
        """The profile in use: the environment's, else the one chosen with `profile use`."""
        if self.environment.profile is not None:
            return check_name(self.environment.profile)
        try:
            return check_name(self._pointer().read_text().strip())
        except (FileNotFoundError, InvalidInputError):
            return None

    def load(self, name: str) -> Profile:
        """Read one profile.

        Raises:
            NotFoundError: there is none of this name. InvalidInputError: the file is not a profile.
        """
        path = self._path(name)
        try:
            with path.open("rb") as file:
                text = file.read(PROFILE_BYTES_MAX + 1)
            return profile_from_json(name, json.loads(text))
        except FileNotFoundError:
            raise NotFoundError(kind="profile", id=name) from None
        except ValueError:
            raise InvalidInputError(where=str(path), rule="must be JSON") from None

    def save(self, profile: Profile) -> None:
        body = {k: v for k, v in profile.to_json(show_secrets=True).items() if v and k != "name"}
        path = self._path(profile.name)
        write_private(path, (json.dumps(body, indent=2) + "\n").encode())

    def save_token(self, name: str, token: str) -> None:
        """Keep a renewed token, if the profile still exists."""
        try:
            profile = self.load(name)
        except NotFoundError:
            return
        self.save(replace(profile, token=token))

    def use(self, name: str) -> None:
        self.load(name)
        write_private(self._pointer(), f"{name}\n".encode())

    def delete(self, name: str) -> None:
        self.load(name)
        self._path(name).unlink()
        try:
            if self._pointer().read_text().strip() == name:
                self._pointer().unlink()
        except FileNotFoundError:
            pass

    def _path(self, name: str) -> Path:
        return self.environment.profiles_dir / f"{check_name(name)}.json"

    def _pointer(self) -> Path:
        return self.environment.config_dir / "current"


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once, readable by its owner only, also if the machine stops half-way."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_FILE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
