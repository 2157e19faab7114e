"""The runner of the official suite can fail: wrong expectations must be counted as failures."""

import pytest

from support import wast
from support.spec_script import run_script

MODULE = b"""(module (func (export "add") (param i32 i32) (result i32)
  local.get 0 local.get 1 i32.add) (func (export "nan") (result f32)
  f32.const 0 f32.const 0 f32.div) (func (export "trap") unreachable))"""


@pytest.mark.parametrize(
    "assertion",
    [
        b'(assert_return (invoke "add" (i32.const 2) (i32.const 3)) (i32.const 6))',
        b'(assert_return (invoke "add" (i32.const 2) (i32.const 3)) (i64.const 5))',
        b'(assert_return (invoke "add" (i32.const 2) (i32.const 3)))',
        b'(assert_return (invoke "nan") (f32.const 0))',
        b'(assert_return (invoke "trap"))',
        b'(assert_return (invoke "absent"))',
        b'(assert_trap (invoke "add" (i32.const 2) (i32.const 3)) "unreachable")',
        b'(assert_trap (invoke "trap") "integer overflow")',
        b'(assert_invalid (module (func)) "type mismatch")',
        b'(assert_malformed (module quote "(func)") "unexpected token")',
    ],
)
def test_a_wrong_expectation_is_a_failure(assertion):
    tally = run_script(MODULE + assertion)
    assert len(tally.failures) == 1
    assert tally.passed == 1


def test_right_expectations_pass_and_foreign_features_are_refused():
    tally = run_script(
        MODULE
        + b'(assert_return (invoke "add" (i32.const -1) (i32.const 3)) (i32.const 2))'
        + b'(assert_return (invoke "nan") (f32.const nan:canonical))'
        + b'(assert_trap (invoke "trap") "unreachable")'
        + b'(module (import "spectest" "print" (func)))(invoke "f")'
    )
    assert (tally.passed, tally.refused, tally.failures) == (4, 2, [])


@pytest.mark.parametrize(
    ("kind", "text", "bits"),
    [
        ("f32", "0x1p-149", 1),
        ("f32", "0x1.fffffep127", 0x7F7FFFFF),
        ("f32", "1e39", 0x7F800000),
        ("f32", "-0x0p0", 0x80000000),
        ("f32", "0x1.00000100000000001p0", 0x3F800001),
        ("f64", "0.1", 0x3FB999999999999A),
        ("f64", "nan:0x4000000000000", 0x7FF4000000000000),
        ("f64", "-inf", 0xFFF0000000000000),
        ("i32", "-0x80000000", 0x80000000),
        ("i64", "1_000", 1000),
    ],
)
def test_literals_become_exact_bits(kind, text, bits):
    assert wast.number(kind, text) == bits
