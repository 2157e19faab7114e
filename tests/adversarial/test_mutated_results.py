"""A good result with one random change, over and over, against a real control plane.

``AMBIENT_VCP_MUTATIONS`` and ``AMBIENT_VCP_MUTATION_SEED`` lengthen and repeat it.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import attempt_statement
from ambient_vcp.wire.attempt_result import decode_result
from ambient_vcp.wire.task_spec import decode_spec
from support.control_plane import (
    ControlPlaneProcess,
    Person,
    join,
    leave,
    new_person,
    running,
)
from support.forgery import FOREVER, Bench, Json

MUTATIONS = int(os.environ.get("AMBIENT_VCP_MUTATIONS", "1200"))
SEED = int(os.environ.get("AMBIENT_VCP_MUTATION_SEED") or random.randrange(2**32))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    with running(tmp_path_factory.mktemp("forged") / "data", *FOREVER) as process:
        yield process
        failures = [line for line in process.log().splitlines() if "request.failed" in line]
        assert not failures, failures[:3]


@pytest.fixture
def owner(plane: ControlPlaneProcess) -> Iterator[Person]:
    made = new_person(plane)
    yield made
    leave(made)


def mutate(choose: random.Random, good: bytes) -> bytes:
    """The message's text with one random change, in its bytes or in its structure."""
    if choose.random() < 0.35:
        return _bytes_changed(choose, good)
    message = json.loads(good)
    entry = message["results"][0] if "results" in message else message
    at, name = choose.choice(_places(entry))
    match choose.randrange(8):
        case 0:
            del at[name]
        case 1:
            at[name + "x"] = at[name]
        case 2:
            at[name] = choose.choice([None, True, [], {}, "", 0, -1, 2**53, 2**64, 1.5, "x" * 300])
        case 3:
            other, place = choose.choice(_places(entry))
            at[name], other[place] = other[place], at[name]
        case 4:
            at[name] = [at[name]]
        case _:
            at[name] = _near(choose, at[name])
    return json.dumps(message).encode()


def _bytes_changed(choose: random.Random, good: bytes) -> bytes:
    at = choose.randrange(len(good))
    match choose.randrange(4):
        case 0:
            return good[:at] + bytes([good[at] ^ (1 << choose.randrange(8))]) + good[at + 1 :]
        case 1:
            return good[:at] + good[at + 1 + choose.randrange(8) :]
        case 2:
            return good[:at] + choose.randbytes(1 + choose.randrange(4)) + good[at:]
        case _:
            return good[:at]


def _places(message: Json) -> list[tuple[Json, str]]:
    """Every field, however deep, as its object and its name."""
    found = []
    for name, value in message.items():
        found.append((message, name))
        if isinstance(value, dict):
            found += _places(value)
    return found


def _near(choose: random.Random, value: Any) -> Any:
    """Something of the same kind that is not the same."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + choose.choice([-1, 1, 256, -value - 1])
    if isinstance(value, str) and value:
        at = choose.randrange(len(value))
        other = choose.choice([c for c in "0123456789abcdefXYZ=\u00e9\u0000" if c != value[at]])
        return value[:at] + other + value[at + 1 :]
    return "0"


def meaning(text: bytes, bench: Bench, *, alone: bool) -> bytes | None:
    """What the node would have signed with this message; None when it says nothing."""
    spec = decode_spec(bench.assignment["spec"])
    try:
        message = json.loads(text)
        (entry,) = [message] if alone else message["results"]
        lease = LeaseRef(
            # In the reference's form the path names the task, and the body need not.
            task_id=message.get("task_id") or bench.task_id if alone else entry["task_id"],
            slot=entry["slot"],
            epoch=entry["epoch"],
            node_id=entry["node_id"],
        )
        result = decode_result(entry["result"])
        signed = attempt_statement(spec, lease, result).encode()
        return signed + result.trace.digest().encode() + b"%r" % (result.output,)
    except (VcpError, ValueError, KeyError, TypeError, AttributeError):
        return None


@pytest.mark.slow
@pytest.mark.timeout(60 + MUTATIONS // 5)
def test_no_mutation_of_a_result_is_accepted_unless_it_means_the_same(owner: Person) -> None:
    print(f"seed {SEED}; repeat with AMBIENT_VCP_MUTATION_SEED={SEED}")
    choose = random.Random(SEED)
    machine = join(owner)
    bench = Bench(owner, machine)
    before = bench.state()
    statuses: Counter[str] = Counter()
    for number in range(MUTATIONS):
        alone = choose.random() < 0.25
        good = json.dumps(bench.good() if alone else {"results": [bench.good()]}).encode()
        text = mutate(choose, good)
        answer = post(bench, text, alone=alone)
        assert answer.status_code < 500, (number, text, answer.text)
        status = outcome(answer)
        statuses[status] += 1
        assert status not in {"duplicate", "too_late"}, (number, text, answer.text)
        if status != "accepted":
            continue
        # Log, energy, detail and execution time are not part of what is signed.
        said = meaning(text, bench, alone=alone)
        assert said == meaning(good, bench, alone=alone), (number, text)
        bench = Bench(owner, machine)
        before = bench.state()
    assert bench.state() == before
    assert bench.machine.hand_in(bench.good())[0]["status"] == "accepted"
    print(
        f"{MUTATIONS} mutations: {dict(statuses)}; another meaning accepted: 0"
        f" (95 % bound {3 / MUTATIONS:.4f}); server errors: 0"
    )
    assert statuses["refused"] > MUTATIONS // 5


def post(bench: Bench, text: bytes, *, alone: bool) -> httpx.Response:
    """In a batch, or alone in the reference's form."""
    batch = f"/nodes/{bench.machine.node_id}/results"
    path = f"/tasks/{bench.task_id}/result" if alone else batch
    headers = {"Content-Type": "application/json"}
    return bench.machine.api.post(path, content=text, headers=headers)


def outcome(answer: httpx.Response) -> str:
    if answer.status_code != 200:
        return f"http {answer.status_code}"
    answers = answer.json().get("answers", [{"status": "accepted"}])
    (only,) = answers
    return str(only["status"])
