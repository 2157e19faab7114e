"""The program `expression`, really run, against Python's fractions."""

# ruff: noqa: RUF001 - signs that look alike are what these tests are about

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.catalogue_runner import ask

RELAXED = settings(deadline=None, max_examples=150, print_blob=True)


def decimal_text(value: Fraction) -> tuple[str, bool]:
    """What `expression` promises: exact up to 100 places, else 50 significant digits."""
    places = 0
    while (value * 10**places).denominator != 1 and places <= 100:
        places += 1
    exact = places <= 100
    if not exact:
        places = 0
        while len(str(round(abs(value) * 10**places))) < 50:
            places += 1
    digits = str(round(abs(value) * 10**places)).rjust(places + 1, "0")
    whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
    return ("-" if value < 0 else "") + whole + ("." + part if part else ""), exact


Tree = tuple[str, Fraction | None]


def combine(left: Tree, operator: str, right: Tree) -> Tree:
    """The value is None where Python divides by zero."""
    text = f"({left[0]}) {operator} ({right[0]})"
    a, b = left[1], right[1]
    if a is None or b is None or (operator in "/÷" and b == 0):
        return text, None
    if operator == "+":
        return text, a + b
    if operator in "-−":
        return text, a - b
    return text, a * b if operator in "*xX×·" else a / b


numbers = st.one_of(
    st.integers(0, 10**30).map(str),
    st.decimals(0, 10**6, places=6, allow_nan=False).map(lambda d: format(d, "f")),
).map(lambda text: (text, Fraction(text)))
trees = st.recursive(
    numbers,
    lambda child: st.one_of(
        st.builds(combine, child, st.sampled_from("+-−*xX×·/÷"), child),
        child.map(lambda t: (f"-({t[0]})", None if t[1] is None else -t[1])),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=500, print_blob=True)
@given(tree=trees)
def test_expression_agrees_with_python_fractions(tree: Tree) -> None:
    text, value = tree
    answer = ask("expression", {"expression": text})
    if value is None:
        assert answer["error"] == "division_by_zero"
        assert text[answer["position"] - 1] in "/÷"
    elif "error" in answer:
        assert answer["error"] == "too_large"
    else:
        shown, exact = decimal_text(value)
        assert answer == {"value": shown, "exact": exact, "fraction": str(value)}


precedence_texts = st.lists(
    st.tuples(st.integers(1, 99).map(str), st.sampled_from(["+", "-", "*", "/", "- -", "* -"])),
    min_size=1,
    max_size=20,
)


@RELAXED
@given(parts=precedence_texts, last=st.integers(1, 99))
def test_expression_has_the_precedence_of_python(parts: list[tuple[str, str]], last: int) -> None:
    text = " ".join(f"{number} {operator}" for number, operator in parts) + f" {last}"
    expected = eval(re.sub(r"\d+", r"Fraction(\g<0>)", text), {"Fraction": Fraction})
    assert ask("expression", {"expression": text}).get("fraction") == str(expected)


@RELAXED
@given(base=st.fractions(-50, 50, max_denominator=60), power=st.integers(-40, 40))
def test_expression_raises_to_powers(base: Fraction, power: int) -> None:
    answer = ask("expression", {"expression": f"({base.numerator}/{base.denominator}) ^ {power}"})
    if base == 0 and power < 0:
        assert answer["error"] == "division_by_zero"
    else:
        assert answer["fraction"] == str(base**power)


@RELAXED
@given(a=st.integers(0, 2**1024 - 1), b=st.integers(1, 2**700), c=st.integers(1, 2**300))
@example(a=2**1024 - 1, b=2**512 - 1, c=1)
@example(a=2**992, b=2**511 + 1, c=2**32 - 1)
def test_expression_divides_long_numbers(a: int, b: int, c: int) -> None:
    answer = ask("expression", {"expression": f"{a} / {b} / {c}"})
    assert answer["fraction"] == str(Fraction(a, b * c))
    assert (answer["value"], answer["exact"]) == decimal_text(Fraction(a, b * c))


@pytest.mark.parametrize(
    ("text", "error", "position"),
    [
        ("1 +", "syntax_error", 4),
        ("(1 + 2", "syntax_error", 1),
        ("1 + 2)", "syntax_error", 6),
        ("2 3", "syntax_error", 3),
        ("١ + 1", "syntax_error", 1),
        ("×", "syntax_error", 1),
        ("2 × × 3", "syntax_error", 5),
        ("5 ÷ 0", "division_by_zero", 3),
        ("1.", "syntax_error", 3),
        ("1e5", "syntax_error", 2),
        ("abc", "syntax_error", 1),
        ("__import__('os')", "syntax_error", 1),
        ("0 ^ -1", "division_by_zero", 3),
        ("2 ^ 0.5", "bad_exponent", 3),
        ("2 ^ 1024", "too_large", 3),
        ("9 ^ 9 ^ 9 ^ 9", "too_large", 7),
        ("(" * 200, "too_deep", 101),
        ("-" * 200 + "1", "too_deep", 101),
        (" ", "syntax_error", 2),
        ("1\x00", "syntax_error", 2),
    ],
)
def test_expression_says_what_is_wrong_and_where(text: str, error: str, position: int) -> None:
    assert ask("expression", {"expression": text}) == {"error": error, "position": position}


@RELAXED
@given(text=st.text(alphabet="0123456789.+-*/^() xX×÷−π", min_size=1, max_size=60))
def test_expression_answers_any_nonsense(text: str) -> None:
    answer = ask("expression", {"expression": text})
    assert set(answer) in ({"error", "position"}, {"value", "exact", "fraction"})


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["1/9999991"] * 400),
        "/".join(["7"] * 2000),
        "1" + "+1/3" * 1000,
        "+".join(f"1/{n}" for n in range(1, 650)),
    ],
)
def test_the_longest_expressions_stay_within_the_fuel(text: str) -> None:
    assert len(text) <= 4096
    assert (
        "value" in (answer := ask("expression", {"expression": text}))
        or answer["error"] == "too_large"
    )
