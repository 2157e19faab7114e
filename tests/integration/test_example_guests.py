"""The guests under examples/, really run: they do, or misdo, what their pages say."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest
import wasmtime

from support.guest_runner import GuestRunner, OutputTooLargeError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOT_AN_INTEGER = b"error: the private input holds something that is not an integer\n"
RUST_TARGET = "wasm32-unknown-unknown"


def guest(path: str, **limits: int) -> GuestRunner:
    return GuestRunner(EXAMPLES / path, **limits)


def trap_of(call, *args, **options) -> wasmtime.TrapCode:
    with pytest.raises(wasmtime.Trap) as caught:
        call(*args, **options)
    return caught.value.trap_code


# --- scalars ---


def test_hello_adds_multiplies_and_knows_fibonacci_numbers() -> None:
    hello = guest("hello/hello.wasm")
    assert hello.call("add", 2, 3).value == 5
    assert hello.call("add", 2**31 - 1, 1).value == -(2**31)
    assert hello.call("mul", -7, 6).value == -42
    assert [hello.call("fib", n).value for n in (-1, 0, 1, 2, 10, 92)] == [
        0, 0, 1, 1, 55, 7540113804746346429,
    ]  # fmt: skip
    assert hello.call("hypot", 3.0, 4.0).value == 5.0


def test_hello_divides_and_traps_on_zero() -> None:
    hello = guest("hello/hello.wasm")
    assert hello.call("divide", -7, 2).value == -3
    assert trap_of(hello.call, "divide", 1, 0) == wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO


def test_recursive_fibonacci_is_right_and_costs_more_with_each_step() -> None:
    fibonacci = guest("fibonacci/fibonacci.wasm")
    answers = [fibonacci.call("fib", n) for n in range(20)]
    assert [a.value for a in answers[:8]] == [0, 1, 1, 2, 3, 5, 8, 13]
    assert answers[19].value == 4181
    assert answers[19].fuel_used > 1.5 * answers[18].fuel_used


# --- image filter ---


def png_chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(file):
        (size,) = struct.unpack_from(">I", file, at)
        kind, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", file, at + 8 + size)
        assert crc == zlib.crc32(kind + data)
        chunks.append((kind, data))
        at += size + 12
    return chunks


def grey_rows(file: bytes) -> list[bytes]:
    """Rows of an 8-bit grey PNG whose rows are not filtered."""
    chunks = png_chunks(file)
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 0, 0, 0, 0]
    raw = zlib.decompress(chunks[1][1])
    assert len(raw) == height * (width + 1)
    rows = [raw[y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]
    assert all(row[0] == 0 for row in rows)
    return [row[1:] for row in rows]


def make_png(
    rows: list[bytes], *, colour: int, filters: list[int] | None = None, level: int = 9
) -> bytes:
    """Encodes rows of samples; ``filters`` gives the filter of each row."""
    bpp = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw, above = b"", bytes(len(rows[0]))
    for y, row in enumerate(rows):
        kind = filters[y % len(filters)] if filters else 0
        raw += bytes([kind]) + filtered(kind, row, above, bpp)
        above = row
    head = struct.pack(">IIBBBBB", len(rows[0]) // bpp, len(rows), 8, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw, level)), (b"IEND", b"")]
    if colour == 3:
        chunks.insert(1, (b"PLTE", bytes(v for i in range(256) for v in (i, i, i))))
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def filtered(kind: int, row: bytes, above: bytes, bpp: int) -> bytes:
    out = bytearray()
    for i, value in enumerate(row):
        a = row[i - bpp] if i >= bpp else 0
        b, c = above[i], above[i - bpp] if i >= bpp else 0
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
    return bytes(out)


def edges(grey: list[bytes]) -> list[bytes]:
    """The filter again, in Python."""
    height, width = len(grey), len(grey[0])

    def at(image, y, x):
        return image[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)]

    weights = ((-2, 1), (-1, 4), (0, 6), (1, 4), (2, 1))
    across = [
        [sum(w * at(grey, y, x + k) for k, w in weights) + 8 >> 4 for x in range(width)]
        for y in range(height)
    ]
    soft = [
        [sum(w * at(across, y + k, x) for k, w in weights) + 8 >> 4 for x in range(width)]
        for y in range(height)
    ]
    drawing = []
    for y in range(height):
        row = bytearray()
        for x in range(width):
            n = {(j, i): at(soft, y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)}
            gx = n[-1, 1] + 2 * n[0, 1] + n[1, 1] - n[-1, -1] - 2 * n[0, -1] - n[1, -1]
            gy = n[1, -1] + 2 * n[1, 0] + n[1, 1] - n[-1, -1] - 2 * n[-1, 0] - n[-1, 1]
            row.append(255 - min(255, int((gx * gx + gy * gy) ** 0.5)))
        drawing.append(bytes(row))
    return drawing


def test_the_photograph_becomes_a_drawing_of_the_same_size() -> None:
    photograph = (EXAMPLES / "image-filter/astronaut.png").read_bytes()
    answer = guest("image-filter/image_filter.wasm").run(photograph)
    rows = grey_rows(answer.output)
    assert struct.unpack_from(">II", photograph, 16) == (len(rows[0]), len(rows)) == (320, 320)
    samples = b"".join(rows)
    assert len(set(samples)) > 200
    assert 150 < sum(samples) / len(samples) < 250, "a drawing is mostly white paper"


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_filter_equals_its_twin_in_python(colour: int, level: int) -> None:
    grey = [bytes((x * x + 7 * y * x + y * 11) % 256 for x in range(37)) for y in range(23)]
    spread = {
        0: lambda v: (v,), 2: lambda v: (v, v, v), 3: lambda v: (v,),
        4: lambda v: (v, 9), 6: lambda v: (v, v, v, 77),
    }[colour]  # fmt: skip
    rows = [bytes(s for v in row for s in spread(v)) for row in grey]
    png = make_png(rows, colour=colour, filters=[0, 1, 2, 3, 4], level=level)
    answer = guest("image-filter/image_filter.wasm").run(png)
    assert grey_rows(answer.output) == edges(grey)


def test_a_single_pixel_and_a_single_row_are_pictures_too() -> None:
    image_filter = guest("image-filter/image_filter.wasm")
    for rows in ([b"\x80"], [bytes(range(200))], [bytes([v]) for v in range(200)]):
        assert grey_rows(image_filter.run(make_png(rows, colour=0)).output) == edges(rows)


def test_a_broken_picture_gets_a_sentence_and_never_a_trap() -> None:
    image_filter = guest("image-filter/image_filter.wasm")
    png = make_png([bytes(range(60))] * 20, colour=2, filters=[4, 1])
    for file in (b"", b"GIF89a", png[:8], b"\xff" * 500):
        assert image_filter.run(file).output.startswith(b"error: ")
    for at in range(len(png)):
        assert image_filter.run(png[:at]).output.startswith(b"error: "), at
        damaged = bytearray(png)
        damaged[at] ^= 0x55
        assert image_filter.run(bytes(damaged)).output.startswith(b"error: "), at


def test_damaged_compressed_data_with_right_checksums_never_trap() -> None:
    image_filter = guest("image-filter/image_filter.wasm")
    chunks = png_chunks(make_png([bytes(range(90))] * 30, colour=0, filters=[0, 2, 4]))
    packed = chunks[1][1]
    for at in range(len(packed)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(packed)
            damaged[at] ^= flip
            body = [chunks[0], (b"IDAT", bytes(damaged)), chunks[2]]
            file = b"\x89PNG\r\n\x1a\n" + b"".join(
                struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
                for k, d in body
            )
            output = image_filter.run(file).output
            assert output.startswith((b"error: ", b"\x89PNG"))


# --- word count and private input ---


def test_word_count_agrees_with_python_on_the_whole_book(tmp_path: Path) -> None:
    book = EXAMPLES / "word-count/opticks.txt"
    answer = guest("word-count/word_count.wasm").run_wasi(book, tmp_path, "5")
    text = book.read_bytes()
    words = Counter(w.lower() for w in re.findall(rb"[A-Za-z]+", text) if len(w) >= 5)
    top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:10]
    expected = b"lines %d\nwords %d\nbytes %d\ndistinct %d\n" % (
        text.count(b"\n"), len(text.split()), len(text), len(words),
    )  # fmt: skip
    expected += b"".join(b"%7d %b\n" % (count, word) for word, count in top)
    assert answer.output == expected


def test_word_count_takes_an_empty_text_and_refuses_a_wrong_argument(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    word_count = guest("word-count/word_count.wasm")
    assert word_count.run_wasi(empty, tmp_path).output == b"lines 0\nwords 0\nbytes 0\ndistinct 0\n"
    with pytest.raises(wasmtime.ExitTrap) as caught:
        word_count.run_wasi(empty, tmp_path, "many")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("public", "private", "output"),
    [
        (b"", b"10, 20 33\n-4", b"count 4\nmean 14\n"),
        (b"3", b"-1 -1 -2", b"count 3\nmean -2\n"),
        (b"5", b"1 2 3 4", b"refused: the group is too small to publish\n"),
        (b"", b"", b"refused: the group is too small to publish\n"),
        (b"2", b"1 2 3", b"error: the public input is a group size of 3 or more\n"),
        (b"", b"1 2 x", NOT_AN_INTEGER),
        (b"", b"1 2 3 9999999999999", NOT_AN_INTEGER),
    ],
)  # fmt: skip
def test_only_the_aggregate_of_private_numbers_comes_out(
    public: bytes, private: bytes, output: bytes
) -> None:
    assert guest("private-input/private_mean.wasm").run(public, private).output == output


# --- misbehaving guests ---


def test_the_endless_loop_runs_out_of_fuel() -> None:
    loops = guest("misbehaving/loops_forever.wasm")
    assert trap_of(loops.run, b"", fuel_max=10**7) == wasmtime.TrapCode.OUT_OF_FUEL


def test_the_memory_grabber_is_stopped_at_any_limit() -> None:
    for memory_bytes_max in (2 << 20, 64 << 20):
        grabs = guest("misbehaving/grabs_memory.wasm", memory_bytes_max=memory_bytes_max)
        assert trap_of(grabs.run, b"") == wasmtime.TrapCode.UNREACHABLE


def test_the_forbidden_import_is_not_offered() -> None:
    with pytest.raises(wasmtime.WasmtimeError, match="open_socket"):
        guest("misbehaving/imports_forbidden.wasm").run(b"")


def test_endless_recursion_exhausts_the_stack_and_bounded_recursion_returns() -> None:
    deep = guest("misbehaving/deep_recursion.wasm")
    assert deep.call("depth", 1000).value == 1000
    assert trap_of(deep.run, b"") == wasmtime.TrapCode.STACK_OVERFLOW


def test_endless_output_is_stopped() -> None:
    with pytest.raises(OutputTooLargeError):
        guest("misbehaving/big_output.wasm").run(b"")


def test_division_by_zero_traps() -> None:
    divides = guest("misbehaving/divide_by_zero.wasm")
    assert trap_of(divides.run, b"") == wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO


def test_the_slow_guest_burns_fuel_in_proportion() -> None:
    slow = guest("misbehaving/slow.wasm")
    x = 88172645463325252
    for _ in range(1000):
        x ^= x << 13 & (2**64 - 1)
        x ^= x >> 7
        x ^= x << 17 & (2**64 - 1)
    once, tenfold = slow.call("spin", 1000), slow.call("spin", 10_000)
    assert once.value % 2**64 == x
    assert tenfold.fuel_used == pytest.approx(10 * once.fuel_used, rel=0.01)


# --- Rust ---


@pytest.mark.slow
def test_the_rust_example_builds_and_agrees_with_zlib(tmp_path: Path) -> None:
    if not shutil.which("cargo") or not shutil.which("rustc"):
        pytest.skip("no Rust toolchain here")
    query = ["rustc", "--print", "target-libdir", "--target", RUST_TARGET]
    library = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    if not Path(library.stdout.strip() or "/nonexistent").is_dir():
        pytest.skip(f"the Rust toolchain lacks the target {RUST_TARGET}")
    crate = tmp_path / "crate"
    shutil.copytree(EXAMPLES / "guest-rust", crate, ignore=shutil.ignore_patterns("target"))
    command = ["cargo", "build", "--release", "--offline", "--locked", "--target", RUST_TARGET]
    subprocess.run(command, cwd=crate, check=True, capture_output=True, timeout=300)
    module = crate / "target" / RUST_TARGET / "release/guest_rust.wasm"
    data = bytes(range(256)) * 300
    expected = f"bytes {len(data)}\nadler32 {zlib.adler32(data):08x}\n".encode()
    assert GuestRunner(module).run(data).output == expected
