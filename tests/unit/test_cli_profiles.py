"""Profile files: private, whole, and named safely."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ambient_vcp.adapters.profiles.places import read_environment
from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.adapters.profiles.store import ProfileStore
from ambient_vcp.domain.errors import InvalidInputError, NotFoundError

PROFILE = Profile(name="p", endpoint="http://a", token="secret", password="hidden")


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(read_environment({"AMBIENT_VCP_HOME": str(tmp_path)}))


def test_a_profile_is_read_as_it_was_saved(store: ProfileStore) -> None:
    store.save(PROFILE)
    assert store.load("p") == PROFILE
    assert store.names() == ["p"]


def test_others_cannot_read_a_profile(store: ProfileStore) -> None:
    store.save(PROFILE)
    path = store.environment.profiles_dir / "p.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_secrets_are_masked_unless_asked_for() -> None:
    shown = PROFILE.to_json(show_secrets=False)
    assert "secret" not in str(shown)
    assert "hidden" not in str(shown)
    assert PROFILE.to_json(show_secrets=True)["token"] == "secret"
    assert "secret" not in repr(PROFILE)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "ä", ".hidden", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(store: ProfileStore, name: str) -> None:
    with pytest.raises(InvalidInputError):
        store.load(name)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"endpoint": 1}', '{"endpoint":"a","token":1}']
)
def test_a_damaged_profile_is_an_error_that_names_it(store: ProfileStore, text: str) -> None:
    store.save(PROFILE)
    (store.environment.profiles_dir / "p.json").write_text(text)
    with pytest.raises(InvalidInputError, match="p"):
        store.load("p")


def test_deleting_the_profile_in_use_leaves_none_in_use(store: ProfileStore) -> None:
    store.save(PROFILE)
    store.use("p")
    assert store.current_name() == "p"
    store.delete("p")
    assert store.current_name() is None
    with pytest.raises(NotFoundError):
        store.delete("p")


def test_a_profile_of_a_newer_version_is_read_without_what_is_unknown(store: ProfileStore) -> None:
    store.save(PROFILE)
    path = store.environment.profiles_dir / "p.json"
    path.write_text('{"endpoint": "http://a", "colour": "blue"}')
    assert store.load("p") == Profile(name="p", endpoint="http://a")


def test_the_xdg_folders_are_used_where_nothing_else_is_said(tmp_path: Path) -> None:
    found = read_environment({"HOME": str(tmp_path)})
    assert found.config_dir == tmp_path / ".config" / "ambient-vcp"
    assert found.data_dir == tmp_path / ".local" / "share" / "ambient-vcp"
    found = read_environment({"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "HOME": "/h"})
    assert (str(found.config_dir), str(found.data_dir)) == ("/c/ambient-vcp", "/d/ambient-vcp")
