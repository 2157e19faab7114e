"""The curve edwards25519 on Python integers, enough to judge public keys. Not constant time.

Only public values come here. RFC 8032 section 5.1 has the formulas and constants.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

ENCODED_BYTES = 32
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)
SIGN_BIT = 1 << 255

Point: TypeAlias = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""

IDENTITY: Point = (0, 1, 1, 0)


def decode(encoded: bytes) -> Point | None:
    """The point of a canonical encoding.

    None when it is not 32 bytes, y is not below p, no point has that y, or x is 0 with the sign
    bit set.
    """
    if len(encoded) != ENCODED_BYTES:
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (SIGN_BIT - 1)
    if y >= P:
        return None
    x = _x_of(y)
    if x is None or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def encode(point: Point) -> bytes:
    """The canonical 32 bytes of a point."""
    x_big, y_big, z, _ = point
    inverse = pow(z, -1, P)
    x, y = x_big * inverse % P, y_big * inverse % P
    return (y | (x & 1) << 255).to_bytes(ENCODED_BYTES, "little")


def add(one: Point, other: Point) -> Point:
    """The sum. The formula is complete: it holds for all pairs, equal ones included."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * D * one[3] * other[3] % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point: Point) -> Point:
    """``scalar`` times ``point``, for a scalar of 0 or more, not reduced by any order."""
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def is_identity(point: Point) -> bool:
    x, y, z, _ = point
    return x % P == 0 and (y - z) % P == 0


def is_small_order(point: Point) -> bool:
    """Whether eight times the point is the identity."""
    return is_identity(multiply(8, point))


def has_prime_order(point: Point) -> bool:
    """Whether the point is in the subgroup of order L and is not its identity."""
    return not is_identity(point) and is_identity(multiply(L, point))


@cache
def torsion_points() -> tuple[Point, ...]:
    """The eight points of small order."""
    y = 2
    while True:
        # L times any point is a torsion point; half of all generate the eight.
        point = decode(y.to_bytes(ENCODED_BYTES, "little"))
        torsion = multiply(L, point) if point else IDENTITY
        if not is_identity(multiply(4, torsion)):
            return tuple(multiply(factor, torsion) for factor in range(8))
        y += 1


@cache
def small_order_encodings() -> frozenset[bytes]:
    """Every 32-byte string that a lenient decoder reads as a point of small order.

    Beside the eight canonical encodings these are the ones with y + p, and with the sign bit set
    although x is 0.
    """
    found = set()
    for point in torsion_points():
        number = int.from_bytes(encode(point), "little")
        sign, y = number & SIGN_BIT, number & (SIGN_BIT - 1)
        x_is_zero = y in {1, P - 1}
        signs = {0, SIGN_BIT} if x_is_zero else {sign}
        spellings = {y, y + P} if y + P < SIGN_BIT else {y}
        found |= {
            (spelling | bit).to_bytes(ENCODED_BYTES, "little")
            for spelling in spellings
            for bit in signs
        }
    return frozenset(found)


def _x_of(y: int) -> int | None:
    """A square root of (y^2 - 1) / (d y^2 + 1), or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P == square:
        return root
    root = root * SQRT_MINUS_ONE % P
    return root if root * root % P == square else None
