"""Scenarios 1 to 3: honest work of the three guest interfaces, checked against known answers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ambient_vcp.apps.cli.demo.stage import Stage

if TYPE_CHECKING:
    from ambient_vcp.sdk.results import TaskInfo

FIB_OF = 27
LETTERS_MIN = "5"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_SIZE = slice(16, 24)


def scalar_call(stage: Stage) -> None:
    """`fib`, one node's word."""
    from ambient_vcp.sdk.results import ScalarResult  # noqa: PLC0415 - with the client

    with stage.scenario(f"A scalar call: fib({FIB_OF}), class signed"):
        module = stage.example("fibonacci/fibonacci.wasm")
        handle = stage.submit(
            f"fib({FIB_OF})", module, invoke="fib", args=[FIB_OF], assurance="signed"
        )
        info, result = stage.finish(handle)
        value = result.value if isinstance(result, ScalarResult) else None
        stage.expect("the value is right", ok=value == fibonacci(FIB_OF), seen=value)
        _expect_class(stage, info, "signed", agreed=1)


def image_filter(stage: Stage) -> None:
    """A photograph to a pencil drawing, three nodes agreeing."""
    with stage.scenario("A bytes program in C on a photograph, class quorum of 3"):
        source = stage.example("image-filter/astronaut.png")
        handle = stage.submit(
            "image filter",
            stage.example("image-filter/image_filter.wasm"),
            input=source,
            assurance="quorum",
            replicas=3,
        )
        info, result = stage.finish(handle)
        data = _data(result)
        picture = stage.output_dir / "drawing.png"
        picture.write_bytes(data)
        before = source.read_bytes()
        stage.expect(
            "the output is a PNG of the photograph's size",
            ok=data.startswith(PNG_MAGIC) and data[PNG_SIZE] == before[PNG_SIZE],
            seen=f"{len(data)} bytes in {picture}; look at it",
        )
        _expect_digest(stage, info, data)
        _expect_class(stage, info, "quorum", agreed=3)


def word_count(stage: Stage) -> None:
    """A WASI command over a book, two nodes agreeing."""
    with stage.scenario("A WASI command over Newton's Opticks, class quorum of 2"):
        book = stage.example("word-count/opticks.txt")
        handle = stage.submit(
            "word count",
            stage.example("word-count/word_count.wasm"),
            wasi=True,
            args=[LETTERS_MIN],
            input=book,
            assurance="quorum",
            replicas=2,
        )
        info, result = stage.finish(handle)
        data = _data(result)
        counted = dict(line.split(" ", 1) for line in data.decode().splitlines()[:3])
        text = book.read_bytes()
        expected = {
            "lines": str(text.count(b"\n")),
            "words": str(len(text.split())),
            "bytes": str(len(text)),
        }
        stage.expect("the counts equal Python's own", ok=counted == expected, seen=counted)
        _expect_digest(stage, info, data)
        _expect_class(stage, info, "quorum", agreed=2)


def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def _data(result: object) -> bytes:
    data = getattr(result, "data", None)
    return data if isinstance(data, bytes) else b""


def _expect_digest(stage: Stage, info: TaskInfo, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    stated = (info.output or {}).get("digest")
    stage.expect(
        "the bytes have the digest that the nodes signed", ok=digest == stated, seen=digest
    )


def _expect_class(stage: Stage, info: TaskInfo, assurance: str, *, agreed: int) -> None:
    row = stage.current.tasks[-1]
    nodes = [each["node_id"] for each in row["attempts"] if each["verdict"] == "agreed"]
    stage.expect(
        f"completed with class {assurance}, {agreed} different node(s) agreeing",
        ok=(info.status, info.assurance_class) == ("completed", assurance)
        and len(set(nodes)) == len(nodes)
        and len(nodes) >= agreed
        and not any(each["verdict"] == "disagreed" for each in row["attempts"]),
        seen=f"{info.status}, {info.assurance_class}, {', '.join(nodes) or 'nobody'}",
    )
