"""Which program a plain request means."""

# ruff: noqa: RUF001 - signs that look alike are what these tests are about

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.programs.find_arithmetic import find_arithmetic
from ambient_vcp.domain.programs.prompt import ProgramCall, program_call, program_for_prompt


@pytest.mark.parametrize(
    ("prompt", "expression"),
    [
        ("10x10?", "10x10"),
        ("need to figure out what 5 + 5 is", "5 + 5"),
        ("What is (2 + 3) * 4?", "(2 + 3) * 4"),
        ("(what is 2 + 3)", "2 + 3"),
        ("compute -3 - -4 now", "-3 - -4"),
        ("6 ÷ 4 please", "6 ÷ 4"),
        ("1,234,567 + 1.5", "1234567 + 1.5"),
        ("2**10 = ?", "2**10"),
        ("7 X 8", "7 X 8"),
        ("5 + 5.", "5 + 5"),
        ("page 7: 2 + 2", "2 + 2"),
        ("10 apples and 4 - 1 pears", "4 - 1"),
        ("((5 + 5", "5 + 5"),
        ("3 + 4) * 2", "3 + 4"),
        ("1 + (2", None),
        ("1,5 + 2", None),
        ("10 apples", None),
        ("10 xylophones", None),
        ("v2-beta", None),
        ("a - b", None),
        ("50% of 200", None),
        ("", None),
    ],
)
def test_the_sum_in_a_sentence_is_found(prompt: str, expression: str | None) -> None:
    assert find_arithmetic(prompt) == expression


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        (
            "estimate pi with monte carlo simulation, 1000000 samples",
            {"samples": 1_000_000},
        ),
        ("Run a Monte-Carlo simulation for π", {}),
        (
            "Simulate PI by Monte Carlo: 1,000,000 points, seed 42",
            {"samples": 1_000_000, "seed": 42},
        ),
        (
            "monte carlo estimate of pi with " + "9" * 25 + " samples",
            {"samples": int("9" * 18)},
        ),
    ],
)
def test_a_wish_for_pi_by_monte_carlo_is_understood(
    prompt: str, arguments: dict[str, object]
) -> None:
    assert program_for_prompt(prompt) == ProgramCall(program="monte_carlo_pi", input=arguments)


@pytest.mark.parametrize("prompt", ["10 apples", "a pie from Monte Carlo", "", "I like pi"])
def test_any_other_prompt_means_statistics_of_its_text(prompt: str) -> None:
    assert program_for_prompt(prompt) == ProgramCall(
        program="text_statistics", input={"text": prompt}
    )


def test_the_three_shapes_of_inputs_are_read() -> None:
    call = program_call({"program": "sort", "input": {"items": [2, 1]}})
    assert call == ProgramCall(program="sort", input={"items": [2, 1]})
    assert program_call({"program": "monte_carlo_pi"}).input == {}
    call = program_call({"expression": "1 + 1"})
    assert call == ProgramCall(program="expression", input={"expression": "1 + 1"})
    assert program_call({"prompt": "10x10?", "description": ""}).program == "expression"


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        [],
        "1 + 1",
        {"expression": 5},
        {"prompt": None},
        {"expression": "1", "prompt": "2"},
        {"program": "sort", "input": [1]},
        {"program": "sort", "items": [1]},
        {"simulation_params": {}, "scenario": "x"},
    ],
)
def test_any_other_shape_is_refused_with_advice(inputs: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        program_call(inputs)  # type: ignore[arg-type] # what a caller may send
    assert '{"expression"' in caught.value.hint


def test_a_prompt_that_is_too_long_is_refused() -> None:
    with pytest.raises(LimitExceededError):
        program_for_prompt("a" * 10_001)


@given(prompt=st.text(alphabet="0123456789.,+-*/^()xX ×÷ab", max_size=80))
def test_what_is_found_stands_in_the_text_and_is_balanced(prompt: str) -> None:
    found = find_arithmetic(prompt)
    if found is not None:
        assert found in prompt.replace(",", "")
        assert found.count("(") == found.count(")")


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", ["(", "1+(", "- ", "1 ", "1+", "x1", ".,", "9,"])
def test_no_prompt_keeps_the_reader_busy(piece: str) -> None:
    program_for_prompt((piece * 10_000)[:10_000])
