"""Each program of the catalogue, really run, against what Python says."""

# ruff: noqa: RUF001 - signs that look alike are what these tests are about

from __future__ import annotations

import json
import math
import random
import re
import string
import struct

import pytest
import rfc8785
import wasmtime
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ambient_vcp.domain.programs.catalogue import Program
from ambient_vcp.domain.programs.typed_input import encode_input
from ambient_vcp.domain.programs.typed_result import ProgramError, ProgramResult, decode_answer
from support.catalogue_runner import ask, catalogue, run_record, runner

PROGRAMS = catalogue().programs
BY_NAME = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.manifest.name)
RELAXED = settings(deadline=None, max_examples=150, print_blob=True)


# --- every program ---


@BY_NAME
def test_the_examples_of_the_manifest_hold(program: Program) -> None:
    assert program.manifest.examples
    for shown in program.manifest.examples:
        output = run_record(program, encode_input(program.manifest, shown.input)).output
        answer = decode_answer(program.manifest, output)
        if shown.error is not None:
            assert isinstance(answer, ProgramError)
            assert {"code": answer.code, "position": answer.position} == {
                "position": None,
                **shown.error,
            }
        else:
            assert isinstance(answer, ProgramResult)
            assert shown.result is None or answer.values == shown.result


@BY_NAME
def test_the_same_question_gives_the_same_bytes_and_the_same_fuel(program: Program) -> None:
    record = encode_input(program.manifest, program.manifest.examples[0].input)
    first, second = run_record(program, record), run_record(program, record)
    assert (first.output, first.fuel_used) == (second.output, second.fuel_used)


@BY_NAME
def test_the_answer_is_canonical_json(program: Program) -> None:
    for shown in program.manifest.examples:
        output = run_record(program, encode_input(program.manifest, shown.input)).output
        assert rfc8785.dumps(json.loads(output)) == output


@BY_NAME
def test_a_program_imports_only_the_bytes_interface(program: Program) -> None:
    module = runner(program.manifest.name).module
    assert {(i.module, i.name) for i in module.imports} <= {
        ("vcp", "input_len"),
        ("vcp", "input_read"),
        ("vcp", "output_write"),
    }
    memory = next(e.type for e in module.exports if e.name == "memory")
    assert isinstance(memory, wasmtime.MemoryType)
    assert memory.limits.max is not None
    assert memory.limits.max * 65536 <= program.manifest.limits.memory_bytes_max


def says_bad_input(program: Program, record: bytes) -> bool:
    answer = decode_answer(program.manifest, run_record(program, record).output)
    return isinstance(answer, ProgramError) and answer.code == "bad_input"


@BY_NAME
def test_a_record_that_is_cut_or_has_more_is_bad_input(program: Program) -> None:
    record = encode_input(program.manifest, program.manifest.examples[0].input)
    assert not says_bad_input(program, record)
    for size in range(len(record)):
        assert says_bad_input(program, record[:size]), size
    assert says_bad_input(program, record + b"\0")
    assert says_bad_input(program, b"VCP2" + record[4:])


@BY_NAME
@RELAXED
@given(data=st.data())
def test_a_damaged_record_still_gets_a_well_formed_answer(
    program: Program, data: st.DataObject
) -> None:
    record = bytearray(encode_input(program.manifest, program.manifest.examples[0].input))
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    decode_answer(program.manifest, run_record(program, bytes(record)).output)


@BY_NAME
@RELAXED
@given(noise=st.binary(max_size=300))
def test_noise_is_bad_input(program: Program, noise: bytes) -> None:
    if not noise.startswith(b"VCP1"):
        assert says_bad_input(program, noise)


def test_a_number_that_is_not_finite_is_bad_input_to_the_guest_too() -> None:
    for value in (math.nan, math.inf, -math.inf):
        record = b"VCP1" + struct.pack("<BId?", 0, 1, value, False)
        assert says_bad_input(catalogue().get("sort"), record)


# --- monte_carlo_pi ---


def splitmix_pi(samples: int, seed: int) -> int:
    inside, state, mask = 0, seed, 2**64 - 1
    for _ in range(samples):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        z ^= z >> 31
        inside += (z >> 33) ** 2 + ((z & 0xFFFFFFFF) >> 1) ** 2 < 2**62
    return inside


@settings(deadline=None, max_examples=40, print_blob=True)
@given(samples=st.integers(1, 2000), seed=st.integers(0, 2**64 - 1))
def test_monte_carlo_counts_what_python_counts(samples: int, seed: int) -> None:
    answer = ask("monte_carlo_pi", {"samples": samples, "seed": seed})
    inside = splitmix_pi(samples, seed)
    assert (answer["inside"], answer["samples"]) == (inside, samples)
    assert answer["estimate"] == pytest.approx(4 * inside / samples, abs=5.1e-10)
    share = inside / samples
    expected = 4 * math.sqrt(share * (1 - share) / samples)
    assert answer["standard_error"] == pytest.approx(expected, abs=1e-9)


def test_a_million_samples_with_seed_42_come_close_to_pi() -> None:
    answer = ask("monte_carlo_pi", {"samples": 1_000_000, "seed": 42})
    assert abs(answer["estimate"] - math.pi) < 4 * answer["standard_error"]


def test_the_largest_monte_carlo_run_stays_within_the_fuel() -> None:
    answer = ask("monte_carlo_pi", {"samples": 50_000_000})
    assert abs(answer["estimate"] - math.pi) < 4 * answer["standard_error"]


# --- matrix_multiply and sort ---

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def factors(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    rows, inner, columns = (draw(st.integers(1, 5)) for _ in range(3))
    entry = st.one_of(finite, st.integers(-1000, 1000).map(float))

    def matrix(height: int, width: int) -> list[list[float]]:
        row = st.lists(entry, min_size=width, max_size=width)
        return draw(st.lists(row, min_size=height, max_size=height))

    return matrix(rows, inner), matrix(inner, columns)


def product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    result = [[0.0] * len(b[0]) for _ in a]
    for i, row in enumerate(a):
        for j in range(len(b[0])):
            for k, factor in enumerate(row):
                result[i][j] += factor * b[k][j]
    return result


@settings(deadline=None, max_examples=300, print_blob=True)
@given(pair=factors())
def test_matrix_product_equals_python_to_the_last_bit(
    pair: tuple[list[list[float]], list[list[float]]],
) -> None:
    a, b = pair
    expected = product(a, b)
    answer = ask("matrix_multiply", {"a": a, "b": b})
    if all(math.isfinite(x) for row in expected for x in row):
        assert answer == {"product": expected, "rows": len(a), "columns": len(b[0])}
    else:
        assert answer == {"error": "overflow"}


def test_the_largest_matrices_multiply_within_the_limits() -> None:
    source = random.Random(7)
    a, b = ([[source.gauss(0, 1) for _ in range(256)] for _ in range(256)] for _ in range(2))
    answer = ask("matrix_multiply", {"a": a, "b": b})
    for i, j in ((0, 0), (255, 255), (17, 200)):
        expected = 0.0
        for k in range(256):
            expected += a[i][k] * b[k][j]
        assert answer["product"][i][j] == expected


@settings(deadline=None, max_examples=500, print_blob=True)
@given(value=finite)
@example(value=5e-324)
@example(value=2.2250738585072014e-308)
@example(value=1.7976931348623157e308)
@example(value=9007199254740993.0)
@example(value=1e21)
@example(value=1e-7)
@example(value=123456789012345680000.0)
@example(value=2.0**-1074 * 3)
def test_numbers_are_written_as_canonical_json_writes_them(value: float) -> None:
    program = catalogue().get("sort")
    output = run_record(program, encode_input(program.manifest, {"items": [value]})).output
    assert output == b'{"result":{"count":1,"items":[%b],"order":[0]}}' % rfc8785.dumps(value)


def written_numbers(values: list[float]) -> list[bytes]:
    """The numbers as `sort` writes them, smallest first."""
    program = catalogue().get("sort")
    output = run_record(program, encode_input(program.manifest, {"items": values})).output
    return output.split(b'"items":[')[1].split(b"]")[0].split(b",")


def test_powers_of_two_and_ten_and_their_neighbours_are_written_right() -> None:
    powers = [2.0**e for e in range(-1074, 1024)] + [float(f"1e{e}") for e in range(-323, 309)]
    values = [math.nextafter(x, to) for x in powers for to in (0.0, x, math.inf)]
    values = [x for x in values if math.isfinite(x)]
    assert written_numbers(values) == [rfc8785.dumps(x) for x in sorted(values)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_thousand_random_bit_patterns_are_written_right(seed: int) -> None:
    source = random.Random(seed)
    values = [struct.unpack("<d", source.randbytes(8))[0] for _ in range(100_000)]
    values = [x for x in values if math.isfinite(x)]
    assert written_numbers(values) == [rfc8785.dumps(x) for x in sorted(values)]


@RELAXED
@given(
    items=st.one_of(
        st.lists(st.one_of(finite, st.integers(-5, 5).map(float)), max_size=60),
        st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["a", "b", ""])), max_size=60),
    ),
    descending=st.booleans(),
)
def test_sort_agrees_with_python_and_is_stable(items: list[object], descending: bool) -> None:
    places = sorted(range(len(items)), key=items.__getitem__, reverse=descending)
    answer = ask("sort", {"items": items, "descending": descending})
    assert answer == {
        "count": len(items),
        "items": [items[i] for i in places],
        "order": places,
    }


def test_sort_takes_a_hundred_thousand_items() -> None:
    items = random.Random(3).choices(range(5000), k=100_000)
    answer = ask("sort", {"items": items})
    assert answer["items"] == sorted(items)
    assert answer["order"] == sorted(range(100_000), key=items.__getitem__)


# --- text_statistics ---

WORD = re.compile(r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*")


def statistics(text: str) -> dict[str, object]:
    """The same by regular expressions, for ASCII."""
    words = [word.lower() for word in WORD.findall(text)]
    counts = {word: words.count(word) for word in words}
    keywords = [word for word in counts if len(re.findall(r"[a-z'-]", word)) >= 4]
    keywords = [w for w in keywords if len(re.findall(r"[a-z]", w)) >= 4]
    keywords.sort(key=lambda word: (-counts[word], word))
    pieces = re.split(r"(?<=[.!?])(?=\s|$)", text)
    spans = [m.span() for m in WORD.finditer(text)][:18]
    return {
        "bytes": len(text),
        "characters": len(text),
        "words": len(words),
        "unique_words": len(counts),
        "longest_word": max(words, key=len, default=""),
        "keywords": [{"count": counts[w], "text": w} for w in keywords[:8]],
        "lines": len(text.split("\n")) - (text.endswith("\n") or not text),
        "sentences": sum(bool(WORD.search(piece)) for piece in pieces),
        "numbers": re.findall(r"(?:(?<![A-Za-z0-9])-)?(?<![A-Za-z0-9])\d+(?:\.\d+)?", text)[:8],
        "summary": text[spans[0][0] : spans[-1][1]] if spans else "",
    }


@settings(deadline=None, max_examples=400, print_blob=True)
@given(
    text=st.one_of(
        st.text(alphabet=string.ascii_letters + string.digits + " .,!?'-\n\t\"\\", max_size=200),
        st.text(alphabet="ab1.- !", max_size=40),
        st.lists(
            st.sampled_from(["light", "Colour", "glass", "prism.", "ray!", "2.5", "-3", "it's"]),
            max_size=80,
        ).map(" ".join),
    )
)
def test_text_statistics_agree_with_regular_expressions(text: str) -> None:
    assert ask("text_statistics", {"text": text}) == statistics(text)


def test_text_statistics_know_letters_beyond_ascii() -> None:
    text = "Ægir’s Größe: 3,5 × — «Größe» 北京。"
    answer = ask("text_statistics", {"text": text})
    assert (answer["characters"], answer["bytes"]) == (len(text), len(text.encode()))
    assert answer["words"] == 6
    assert {"count": 2, "text": "größe"} in answer["keywords"]


@RELAXED
@given(text=st.text(max_size=200))
def test_text_statistics_count_any_unicode(text: str) -> None:
    answer = ask("text_statistics", {"text": text})
    assert answer["characters"] == len(text)
    assert answer["bytes"] == len(text.encode())


def test_a_mebibyte_of_text_stays_within_the_limits() -> None:
    for text in ("a " * 524_288, "x" * 1_048_576, "\x01" * 1_048_576, "a.1 " * 262_144):
        assert ask("text_statistics", {"text": text})["bytes"] == 1_048_576
