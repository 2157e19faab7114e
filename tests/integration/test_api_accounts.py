"""Registration, login and who may do what, over HTTP against the real process."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.control_plane import PASSWORD, ControlPlaneProcess, Person, join, login


def test_registering_and_logging_in_gives_a_token_that_knows_its_owner(plane, person: Person):
    assert person.api.get("/auth/me").json() == {
        "user_id": person.user_id,
        "username": person.username,
        "role": "user",
    }


@pytest.mark.parametrize(
    ("username", "password", "email"),
    [
        ("ab", PASSWORD, None),
        ("a" * 33, PASSWORD, None),
        ("with space", PASSWORD, None),
        ("", PASSWORD, None),
        ("good_name", "seven77", None),
        ("good_name", "x" * 73, None),
        ("good_name", "ä" * 37, None),
        ("good_name", PASSWORD, "no-at-sign"),
        ("good_name", PASSWORD, "a@b\r\nBcc: c@d"),
        ("good_name", PASSWORD, " "),
    ],
)
def test_a_registration_that_breaks_a_rule_is_422(plane, username, password, email):
    body = {"username": username, "password": password, "email": email}
    with plane.client() as public:
        answer = public.post("/auth/register", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert password not in answer.text or not password


def test_a_password_of_72_bytes_is_taken_whole(plane: ControlPlaneProcess):
    with plane.client() as public:
        name = "long_password"
        made = public.post("/auth/register", json={"username": name, "password": "p" * 72})
        assert made.status_code == 201
        login(public, name, "p" * 72)
        for wrong in ("p" * 71, "p" * 73):
            answer = public.post("/auth/login", json={"username": name, "password": wrong})
            assert answer.status_code == 401


def test_a_username_is_given_once_even_to_many_at_the_same_time(plane: ControlPlaneProcess):
    body = {"username": "wanted_by_all", "password": PASSWORD}

    def register(_: int) -> int:
        with plane.client() as public:
            return public.post("/auth/register", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(register, range(8)))
    assert statuses == [201] + [409] * 7


def test_unknown_users_and_wrong_passwords_get_the_same_answer(plane, person: Person):
    with plane.client() as public:
        answers = [
            public.post("/auth/login", json={"username": name, "password": "wrong password"})
            for name in (person.username, "nobody_at_all")
        ]
    assert [a.status_code for a in answers] == [401, 401]
    assert answers[0].json()["message"] == answers[1].json()["message"]


def test_without_a_token_account_routes_are_401(plane: ControlPlaneProcess):
    with plane.client() as public:
        answer = public.get("/tasks")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic YTpi", "Bearer x", "Bearer a.b.c", "Bearer " + "a" * 9000],
)
def test_a_malformed_authorization_header_is_401(plane: ControlPlaneProcess, header):
    with plane.client() as public:
        assert public.get("/tasks", headers={"Authorization": header}).status_code == 401


def test_a_changed_token_is_401(plane: ControlPlaneProcess, person: Person):
    head, claims, signature = person.token.split(".")
    padded = claims + "=" * (-len(claims) % 4)
    changed = json.loads(base64.urlsafe_b64decode(padded)) | {"role": "admin"}
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    with plane.client() as public:
        for token in (
            f"{head}.{forged}.{signature}",
            f"{head}.{claims}.{flipped}",
            f"{none}.{claims}.",
            f"{head}.{claims}.{signature}=",
            f"{head}.{claims}",
        ):
            answer = public.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, token


def test_a_node_token_is_401_on_account_routes_and_the_other_way_round(person: Person):
    machine = join(person)
    for method, path in [
        ("GET", "/tasks"),
        ("POST", "/tasks"),
        ("GET", "/nodes"),
        ("GET", "/auth/me"),
        ("GET", "/cluster/stats"),
        ("GET", "/events"),
        ("POST", "/node-invites"),
        ("DELETE", f"/nodes/{machine.node_id}"),
    ]:
        assert machine.api.request(method, path).status_code == 401, path
    for method, path in [
        ("POST", f"/nodes/{machine.node_id}/claim"),
        ("POST", f"/nodes/{machine.node_id}/renew"),
        ("POST", f"/nodes/{machine.node_id}/results"),
        ("GET", f"/nodes/{machine.node_id}/events"),
        ("GET", "/probe?bytes=1"),
        ("POST", "/tasks/00000000-0000-4000-8000-000000000000/result"),
    ]:
        assert person.api.request(method, path).status_code == 401, path


def test_ordinary_accounts_may_not_decide_whom_to_trust(person: Person):
    machine = join(person)
    for verb in ("trust", "untrust"):
        answer = person.api.post(f"/nodes/{machine.node_id}/{verb}")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert person.api.get(f"/nodes/{machine.node_id}").json()["trusted"] is False
