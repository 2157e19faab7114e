"""Which program, with which input, a `computation` request means.

Three shapes are understood: ``{"program": NAME, "input": {...}}`` says it outright,
``{"expression": TEXT}`` is arithmetic, and ``{"prompt": TEXT}`` is plain language, read by the
rules of ``program_for_prompt``. Nothing is computed here: the program runs on a node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.programs.find_arithmetic import find_arithmetic

PROMPT_CHARACTERS_MAX = 10_000
SAMPLES_DIGITS_MAX = 18

_PI = re.compile(r"π|\bpi\b", re.IGNORECASE)
_MONTE_CARLO = re.compile(r"\bmonte[\s-]*carlo\b", re.IGNORECASE)
_ESTIMATE = re.compile(r"\b(?:simulat|estimat|approximat)", re.IGNORECASE)
_SAMPLES = re.compile(
    r"(?<![\d.,_-])(\d[\d,_]{0,30})\s*(?:random\s+)?(?:samples?|points?|darts?|trials?|iterations?)\b",
    re.IGNORECASE,
)
_SEED = re.compile(r"\bseed\s*(?:of|is|=|:)?\s*(\d{1,20})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCall:
    """A program's name and its input, not yet checked against the program's manifest."""

    program: str
    input: Mapping[str, object]


def program_call(inputs: Mapping[str, object]) -> ProgramCall:
    """Read the inputs of a `computation` task.

    Raises:
        InvalidInputError: none of the three shapes, or two at once.
        LimitExceededError: the prompt is longer than ``PROMPT_CHARACTERS_MAX``.
    """
    if not isinstance(inputs, Mapping):
        _refuse("is an object")
    shapes = [shape for shape in ("program", "expression", "prompt") if shape in inputs]
    if len(shapes) != 1:
        _refuse("has exactly one of program, expression and prompt")
    shape = shapes[0]
    allowed = {"program": {"input"}, "expression": {"description"}, "prompt": {"description"}}
    unknown = sorted(set(inputs) - {shape} - allowed[shape])
    if unknown:
        _refuse(f"takes no {unknown[0][:40]} beside {shape}")
    text = inputs[shape]
    if not isinstance(text, str):
        _refuse(f"has a {shape} that is a text")
    if shape == "expression":
        return ProgramCall(program="expression", input={"expression": text})
    if shape == "prompt":
        return program_for_prompt(text)
    arguments = inputs.get("input", {})
    if not isinstance(arguments, Mapping):
        _refuse("has an input that is an object")
    return ProgramCall(program=text, input=arguments)


def program_for_prompt(prompt: str) -> ProgramCall:
    """Choose by what the text has.

    Arithmetic if there is some; else an estimate of pi if it asks for a Monte Carlo simulation of
    it; else statistics of the text itself.

    Raises:
        LimitExceededError: the prompt is longer than ``PROMPT_CHARACTERS_MAX``.
    """
    if len(prompt) > PROMPT_CHARACTERS_MAX:
        raise LimitExceededError(
            limit="the length of the prompt in characters",
            maximum=PROMPT_CHARACTERS_MAX,
            got=len(prompt),
        )
    expression = find_arithmetic(prompt)
    if expression:
        return ProgramCall(program="expression", input={"expression": expression})
    if _MONTE_CARLO.search(prompt) and _PI.search(prompt) and _ESTIMATE.search(prompt):
        return ProgramCall(program="monte_carlo_pi", input=_monte_carlo_input(prompt))
    return ProgramCall(program="text_statistics", input={"text": prompt})


def _monte_carlo_input(prompt: str) -> dict[str, object]:
    """Only what the prompt says; the manifest has the defaults and the bounds."""
    arguments: dict[str, object] = {}
    samples, seed = _SAMPLES.search(prompt), _SEED.search(prompt)
    if samples:
        arguments["samples"] = int(re.sub("[,_]", "", samples[1])[:SAMPLES_DIGITS_MAX])
    if seed:
        arguments["seed"] = int(seed[1])
    return arguments


def _refuse(rule: str) -> NoReturn:
    raise InvalidInputError(
        where="inputs",
        rule=rule,
        advice='Send {"program": "sort", "input": {"items": [3, 1, 2]}}, {"expression": "2*(3+4)"} '
        'or {"prompt": "what is 5 + 5"}.',
    )
