"""Reads the catalogue that is shipped inside the package."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.programs.catalogue import Catalogue, Program
from ambient_vcp.domain.programs.parse_manifest import parse_manifest

PROGRAMS_MAX = 200
MANIFEST_BYTES_MAX = 64 * 1024
MODULE_BYTES_MAX = 10 * 1024 * 1024
PAGE_BYTES_MAX = 64 * 1024


def load_catalogue(folder: Traversable | None = None) -> Catalogue:
    """Load every folder that has a ``manifest.toml``; the shipped ones unless told otherwise.

    Raises:
        InvalidInputError: a manifest is wrong, a file is missing or too large, or a module is not
            the one whose digest its manifest states.
    """
    root = folder or resources.files("ambient_vcp.adapters.catalogue") / "programs"
    folders = sorted(
        (f for f in root.iterdir() if (f / "manifest.toml").is_file()), key=lambda f: f.name
    )
    if len(folders) > PROGRAMS_MAX:
        raise InvalidInputError(
            where=str(root), rule=f"has at most {PROGRAMS_MAX} programs", got=str(len(folders))
        )
    return Catalogue(tuple(_load(f) for f in folders))


def _load(folder: Traversable) -> Program:
    try:
        table = tomllib.loads(_read(folder, "manifest.toml", MANIFEST_BYTES_MAX).decode())
    except ValueError as error:
        raise InvalidInputError(
            where=f"{folder.name}/manifest.toml", rule=f"is TOML: {error}"
        ) from error
    manifest = parse_manifest(table)
    if manifest.name != folder.name:
        raise InvalidInputError(
            where=f"{folder.name}/manifest.toml",
            rule="has the name of its folder",
            got=manifest.name,
        )
    module = _read(folder, "program.wasm", MODULE_BYTES_MAX)
    digest = hashlib.sha256(module).hexdigest()
    if digest != manifest.module_digest:
        raise InvalidInputError(
            where=f"{folder.name}/program.wasm",
            rule=f"has the digest {manifest.module_digest}",
            got=digest,
            advice="Run tools/build_guests.py.",
        )
    page = _read(folder, "page.md", PAGE_BYTES_MAX).decode()
    return Program(manifest=manifest, module=module, page=page)


def _read(folder: Traversable, name: str, size_max: int) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            content = file.read(size_max + 1)
    except FileNotFoundError:
        raise InvalidInputError(where=f"{folder.name}/{name}", rule="exists") from None
    if len(content) > size_max:
        raise InvalidInputError(where=f"{folder.name}/{name}", rule=f"has at most {size_max} bytes")
    return content
