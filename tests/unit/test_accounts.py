"""Rules of names and passwords, and the password hasher."""

from __future__ import annotations

import asyncio
import time

import pytest

from ambient_vcp.adapters.passwords.bcrypt_hasher import PasswordHasher
from ambient_vcp.domain.errors import UnavailableError, ValidationFailedError
from ambient_vcp.services.accounts import check_email, check_password, check_username


@pytest.mark.parametrize("name", ["abc", "A_1", "ünal", "x" * 32, "___"])
def test_good_names_are_taken(name):
    assert check_username(name) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "x" * 33, "ü" * 17, "a b", "a-b", "a\nb", "a.b", "a\0b"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(ValidationFailedError):
        check_username(name)


@pytest.mark.parametrize("password", ["12345678", "x" * 72, "ä" * 36])
def test_good_passwords_are_taken(password):
    assert check_password(password) == password


@pytest.mark.parametrize("password", ["", "1234567", "x" * 73, "ä" * 37])
def test_bad_passwords_are_refused_and_not_repeated(password):
    with pytest.raises(ValidationFailedError) as refused:
        check_password(password)
    assert not password or password not in str(refused.value)


def test_an_address_is_trimmed_and_checked():
    assert check_email(None) is None
    assert check_email(" a@b ") == "a@b"
    for bad in ("", "a", "a@b\nc", "@" * 256):
        with pytest.raises(ValidationFailedError):
            check_email(bad)


def test_only_the_right_password_matches():
    hasher = PasswordHasher(cost=4)

    async def run():
        stored = await hasher.hash("correct horse")
        assert stored.startswith("$2b$04$")
        assert stored != await hasher.hash("correct horse")
        assert await hasher.matches("correct horse", stored)
        assert not await hasher.matches("correct hors", stored)
        assert not await hasher.matches("nobody", None)
        whole = await hasher.hash("p" * 72)
        assert await hasher.matches("p" * 72, whole)
        assert not await hasher.matches("p" * 73, whole)

    asyncio.run(run())
    hasher.close()


def test_hashing_leaves_the_event_loop_free_and_is_bounded():
    hasher = PasswordHasher(cost=10, threads=1, waiting_max=2)

    async def run():
        stored = await hasher.hash("correct horse")
        jobs = [asyncio.create_task(hasher.matches("correct horse", stored)) for _ in range(2)]
        await asyncio.sleep(0)
        started = time.perf_counter()
        with pytest.raises(UnavailableError):
            await hasher.matches("correct horse", stored)
        assert time.perf_counter() - started < 0.02
        assert await asyncio.gather(*jobs) == [True, True]
        assert await hasher.matches("correct horse", stored)

    asyncio.run(run())
    hasher.close()


def test_an_unknown_user_costs_the_same_work():
    hasher = PasswordHasher(cost=9)

    async def run():
        stored = await hasher.hash("correct horse")
        await hasher.matches("warm up", None)

        async def fastest(given: str | None) -> float:
            times = []
            for _ in range(5):
                started = time.process_time()
                await hasher.matches("some password", given)
                times.append(time.process_time() - started)
            return min(times)

        known, unknown = await fastest(stored), await fastest(None)
        assert 0.5 < known / unknown < 2

    asyncio.run(run())
    hasher.close()
