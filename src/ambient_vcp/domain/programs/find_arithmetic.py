"""Finding the sum inside a sentence: "what is 5 + 5?" has "5 + 5"."""

from __future__ import annotations

import re
from collections.abc import Iterator

STEPS_MAX = 200_000
"""Unclosed brackets could be read again from each of them: after so many steps we stop."""

# x multiplies only where a number or a bracket follows, so "10 xylophones" stays a text. A run
# of digits, points and commas is one token: of "1,5 + 2" nothing is a number, rather than "5 + 2".
# U+2212 is the minus sign, U+00D7 the multiplication sign.
_TOKENS = re.compile(
    r"(?P<space>\s+)|(?P<number>[\d.,]+)"
    r"|(?P<operator>\*\*|[-\u2212+*/\u00d7·÷^]|[xX](?=\s*[-\u2212+(.\d]))"
    r"|(?P<open>\()|(?P<close>\))|(?P<word>\w+)|(?P<other>.)",
    re.DOTALL,
)
_NUMBER = re.compile(r"(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?|\.\d+", re.ASCII)
_SIGNS = frozenset("-\u2212+")

Token = tuple[str, str]


def find_arithmetic(text: str) -> str | None:
    """The first complete expression with at least one operator between two operands, or None.

    Commas between thousands are left out of it; nothing else is changed.
    """
    steps = 0
    for segment in _segments(text):
        for start in range(len(segment)):
            size, steps_here = _longest_expression(segment, start)
            if size:
                return "".join(token for _, token in segment[start : start + size])
            steps += steps_here
            if steps > STEPS_MAX:
                return None
    return None


def _segments(text: str) -> Iterator[list[Token]]:
    """Runs of tokens that could belong to an expression."""
    segment: list[Token] = []
    for found in _TOKENS.finditer(text):
        kind, run = found.lastgroup or "other", found[0]
        # The point at the end of a sentence is not its last number's.
        token = run.rstrip(".,") if kind == "number" else run
        if kind == "number" and not _NUMBER.fullmatch(token):
            kind = "other"
        if kind not in ("word", "other"):
            segment.append((kind, token.replace(",", "")))
        if kind in ("word", "other") or token != run:
            yield segment
            segment = []
    yield segment


def _longest_expression(tokens: list[Token], start: int) -> tuple[int, int]:
    """How far the longest complete expression from ``start`` on goes.

    Returns:
        Its number of tokens (0: there is none), and how many tokens were looked at.
    """
    depth, operators, expects_operand, size, i = 0, 0, True, 0, start
    for i in range(start, len(tokens)):
        kind, token = tokens[i]
        if kind == "space" and i > start:
            continue
        if expects_operand and (kind in ("open", "number") or token in _SIGNS):
            depth += kind == "open"
            expects_operand = kind != "number"
        elif not expects_operand and (kind == "operator" or (kind == "close" and depth)):
            depth -= kind == "close"
            operators += kind == "operator"
            expects_operand = kind == "operator"
        else:
            break
        if not expects_operand and not depth and operators:
            size = i - start + 1
    return size, i - start + 1
