"""What an expression is worth: the value rules, as the plain Python compiler follows them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onefold.features.compile_python import ValueErrors, compile_expr
from onefold.features.definitions import OnDemandView
from onefold.features.project import Project
from onefold.features.types import BIGINT_MAX, BIGINT_MIN

INTEGERS = st.integers(BIGINT_MIN, BIGINT_MAX) | st.integers(-3, 3)
NUMBERS = st.floats().map(lambda x: x + 0.0) | st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf])
TRUTHS = st.sampled_from([True, False, None])
REQUEST = {
    "a": "BIGINT", "b": "BIGINT", "x": "DOUBLE", "y": "DOUBLE", "p": "BOOLEAN", "q": "BOOLEAN", "s": "VARCHAR",
    "z": "VARCHAR", "t": "TIMESTAMP", "d": "DATE",
}  # fmt: skip


def evaluator(sql: str, errors: ValueErrors | None = None) -> Callable[..., Any]:
    """A function from values by column name (others are NULL) to the value of an expression."""
    view = OnDemandView(name="v", request=REQUEST, sql=f"SELECT {sql} AS f")
    expr = Project.of(view).on_demand["v"].features[0].expr
    run = compile_expr(expr, {f"request.{n}": i for i, n in enumerate(REQUEST)}, errors=errors)
    return lambda **values: run([values.get(n) for n in REQUEST])


def bits(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return type(value).__name__, value


@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("a + b", {"a": BIGINT_MAX, "b": 1}, None),
        ("a - b", {"a": BIGINT_MIN, "b": 1}, None),
        ("a * b", {"a": 2**32, "b": 2**31}, None),
        ("a * b", {"a": -(2**32), "b": 2**31}, BIGINT_MIN),
        ("- a", {"a": BIGINT_MIN}, None),
        ("abs(a)", {"a": BIGINT_MIN}, None),
        ("a // b", {"a": BIGINT_MIN, "b": -1}, None),
        ("a // b", {"a": -7, "b": 2}, -3),
        ("a % b", {"a": -7, "b": 2}, -1),
        ("a % b", {"a": 7, "b": -2}, 1),
        ("a % b", {"a": BIGINT_MIN, "b": -1}, 0),
        ("a % b", {"a": 7, "b": 0}, None),
        ("a / b", {"a": 7, "b": 2}, 3.5),
        ("a / b", {"a": 7, "b": 0}, None),
        ("x / y", {"x": math.nan, "y": 0.0}, None),
        ("x / y", {"x": 0.0, "y": -5.0}, 0.0),
        ("x * y", {"x": 0.0, "y": -5.0}, 0.0),
        ("- x", {"x": 0.0}, 0.0),
        ("-0.0", {}, 0.0),
        ("ceil(x)", {"x": -0.5}, 0.0),
        ("trunc(x)", {"x": -0.5}, 0.0),
        ("floor(x)", {"x": -0.5}, -1.0),
        ("floor(x)", {"x": 1e300}, 1e300),
        ("trunc(x)", {"x": -math.inf}, -math.inf),
        ("sqrt(x)", {"x": -1.0}, math.nan),
        ("ln(x)", {"x": 0.0}, None),
        ("exp(x)", {"x": 1e9}, math.inf),
        ("x * y", {"x": 1e300, "y": 1e300}, math.inf),
        ("x - y", {"x": math.inf, "y": math.inf}, math.nan),
        ("a + x", {"a": 2**53 + 1, "x": 0.0}, float(2**53)),
        ("CAST(x AS BIGINT)", {"x": 2.5}, 2),
        ("CAST(x AS BIGINT)", {"x": 3.5}, 4),
        ("CAST(x AS BIGINT)", {"x": -2.5}, -2),
        ("CAST(x AS BIGINT)", {"x": 2.0**63}, None),
        ("CAST(x AS BIGINT)", {"x": -(2.0**63)}, BIGINT_MIN),
        ("CAST(x AS BIGINT)", {"x": math.nan}, None),
        ("CAST(x AS BIGINT)", {"x": -math.inf}, None),
        ("CAST(p AS BIGINT)", {"p": True}, 1),
        ("CAST(p AS DOUBLE)", {"p": False}, 0.0),
        ("CAST(a AS BOOLEAN)", {"a": -3}, True),
        ("CAST(a AS VARCHAR)", {"a": BIGINT_MIN}, "-9223372036854775808"),
        ("CAST(t AS DATE)", {"t": -1}, -1),
        ("CAST(d AS TIMESTAMP)", {"d": -1}, -86_400_000_000),
        ("s = z", {"s": "é", "z": "e\u0301"}, False),
        ("s < z", {"s": "\uffff", "z": "🛫"}, True),
        ("lower(s)", {"s": "ÀBÇİ"}, "ÀbÇİ"),
        ("upper(s)", {"s": "ßaﬁ"}, "ßAﬁ"),
        ("length(s)", {"s": "🛫e\u0301"}, 3),
        ("s || z", {"s": "a", "z": None}, None),
        ("starts_with(s, z)", {"s": "abc", "z": ""}, True),
        ("COALESCE(a, b, 3)", {"b": None}, 3),
        ("COALESCE(a, x)", {"a": 3}, 3.0),
        ("NULLIF(a, b)", {"a": 3, "b": 3}, None),
        ("NULLIF(a, b)", {"a": 3}, 3),
        ("NULLIF(x, y)", {"x": math.nan, "y": math.nan}, None),
        ("LEAST(a, b)", {"a": 3}, 3),
        ("GREATEST(x, y)", {"x": math.nan, "y": math.inf}, math.nan),
        ("LEAST(x, y)", {"x": math.nan, "y": math.inf}, math.inf),
        ("CASE WHEN p THEN 1 ELSE 2 END", {}, 2),
        ("CASE a WHEN 1 THEN 'x' WHEN b THEN 'y' END", {"a": 5, "b": 5}, "y"),
        ("CASE a WHEN 1 THEN 'x' WHEN b THEN 'y' END", {"b": 5}, None),
        ("a IN (1, 2, b)", {"a": 3}, None),
        ("a IN (1, 3, b)", {"a": 3}, True),
        ("a NOT IN (1, 2)", {"a": 3}, True),
        ("a BETWEEN b AND 5", {"a": 6}, False),
        ("a BETWEEN b AND 5", {"a": 4}, None),
        ("p IS TRUE", {}, False),
        ("p IS NOT TRUE", {}, True),
        ("a IS NOT DISTINCT FROM b", {}, True),
        ("a IS DISTINCT FROM b", {"a": 1}, True),
        ("x IS DISTINCT FROM y", {"x": math.nan, "y": math.nan}, False),
        ("isnan(x)", {"x": math.nan}, True),
        ("d = DATE '1969-12-31'", {"d": -1}, True),
        ("t < TIMESTAMP '1970-01-01 01:00:00+01:00'", {"t": -1}, True),
        ("t = TIMESTAMP '1970-01-01'", {"t": 0}, True),
        ("-9223372036854775808 + a", {"a": 0}, BIGINT_MIN),
        ("a IS DISTINCT FROM NULL", {"a": 1}, True),
        ("s NOT LIKE 'a%'", {"s": "ba"}, True),
        ("s LIKE 'a\\_'", {"s": "a\\b"}, True),
        ("s LIKE 'a\\_' ESCAPE '\\'", {"s": "a_"}, True),
        ("s NOT LIKE '50!%%' ESCAPE '!'", {"s": "50% off"}, False),
        ("s LIKE '_'", {"s": "\n"}, True),
        ("s ILIKE 'É%A'", {"s": "Éxa"}, True),
        ("s ILIKE 'é'", {"s": "É"}, False),
        ("s ILIKE 'A!%' ESCAPE '!'", {"s": "a%"}, True),
        ("mod(a, 3)", {"a": -7}, -1),
        ("a ** 2", {"a": 3}, 9.0),
        ("trim(LEADING 'x' FROM s)", {"s": "xax"}, "ax"),
        ("trim(BOTH FROM s)", {"s": " a "}, "a"),
        ("substring(s FROM 2 FOR 1)", {"s": "abc"}, "b"),
        ("substr(s, 2)", {"s": "abc"}, "bc"),
        ("position('c' IN s)", {"s": "abc"}, 3),
        ("concat(s, z, 'c')", {"s": "a"}, "ac"),
        ("iif(a > 0, 'p', 'n')", {"a": 1}, "p"),
        ("IF(a > 0, 1)", {"a": 0}, None),
        ("nvl(a, b)", {"b": 2}, 2),
        ("date_part('year', t)", {"t": -1}, 1969),
        ("extract(epoch FROM t)", {"t": 1_500_000}, 1.5),
        ("date_diff('day', t, TIMESTAMP '1970-01-01')", {"t": -1}, 1),
        ("epoch_us(t + INTERVAL 3 HOURS)", {"t": 0}, 10_800_000_000),
        ("epoch_us(t - INTERVAL '1' DAY)", {"t": 0}, -86_400_000_000),
        ("epoch_us(INTERVAL 2 SECONDS + t)", {"t": 0}, 2_000_000),
        ("epoch_us(date_add(d, INTERVAL (a) WEEKS))", {"d": 0, "a": 1}, 604_800_000_000),
        ("t + INTERVAL (a) DAYS", {"t": 0, "a": BIGINT_MAX}, None),
        ("bucket(a, 7) = pmod(hash64(a), 7)", {"a": 5}, True),
        ("CAST(s AS DOUBLE)", {"s": "1e-400"}, 0.0),
        ("CAST(s AS TIMESTAMP)", {"s": "1970-01-01 00:00:01"}, 1_000_000),
        ("CAST(t AS VARCHAR)", {"t": 10**6}, "1970-01-01 00:00:01"),
    ],
)
def test_a_value_is_what_the_rules_say(sql: str, values: dict[str, Any], expected: Any) -> None:
    assert bits(evaluator(sql)(**values)) == bits(expected)


@given(TRUTHS, TRUTHS)
def test_logic_has_three_values(p: bool | None, q: bool | None) -> None:
    order = {False: 0, None: 1, True: 2}
    assert evaluator("p AND q")(p=p, q=q) is min((p, q), key=order.__getitem__)
    assert evaluator("p OR q")(p=p, q=q) is max((p, q), key=order.__getitem__)
    assert evaluator("NOT p")(p=p) is (None if p is None else not p)


@pytest.mark.parametrize("op", ["+", "-", "*", "//", "%", "/", "=", "<>", "<", "<=", ">", ">="])
def test_a_null_makes_a_null(op: str) -> None:
    run = evaluator(f"a {op} b")
    assert [run(a=1, b=None), run(a=None, b=1), run(a=None, b=None)] == [None] * 3


@given(INTEGERS, INTEGERS)
def test_quotient_and_rest_make_the_number_again(a: int, b: int) -> None:
    quotient, rest = evaluator("a // b")(a=a, b=b), evaluator("a % b")(a=a, b=b)
    if b == 0:
        assert quotient is rest is None
    elif (a, b) == (BIGINT_MIN, -1):
        assert (quotient, rest) == (None, 0)
    else:
        assert quotient == math.trunc(Fraction(a, b))
        assert quotient * b + rest == a and abs(rest) < abs(b)


@given(NUMBERS, NUMBERS)
def test_doubles_have_one_order_with_nan_on_top(x: float, y: float) -> None:
    def place(v: float) -> tuple[bool, float]:
        return (True, 0.0) if math.isnan(v) else (False, v)

    a, b = place(x), place(y)
    found = [evaluator(f"x {op} y")(x=x, y=y) for op in ("<", "<=", "=", ">=", ">", "<>")]
    assert found == [a < b, a <= b, a == b, a >= b, a > b, a != b]
    assert bits(evaluator("LEAST(x, y)")(x=x, y=y)) == bits(min((x, y), key=place))
    assert bits(evaluator("GREATEST(x, y)")(x=x, y=y)) == bits(max((x, y), key=place))


@given(NUMBERS, NUMBERS)
def test_no_operation_raises_or_gives_a_negative_zero(x: float, y: float) -> None:
    forms = (
        "x + y",
        "x - y",
        "x * y",
        "x / y",
        "- x",
        "abs(x)",
        "floor(x)",
        "ceil(x)",
        "trunc(x)",
        "sqrt(x)",
        "ln(x)",
        "exp(x)",
    )
    for sql in forms:
        found = evaluator(sql)(x=x, y=y)
        assert found is None or (found, math.copysign(1.0, found)) != (0.0, -1.0), sql


@example(2.5)
@example(-0.5)
@example(2.0**53 + 2)
@example(9.223372036854775e18)
@given(NUMBERS)
def test_a_cast_to_an_integer_rounds_half_to_even(x: float) -> None:
    want = None
    if math.isfinite(x) and BIGINT_MIN <= x < 2.0**63:
        want = int(Decimal(x).to_integral_value(ROUND_HALF_EVEN))
    assert evaluator("CAST(x AS BIGINT)")(x=x) == want


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("-0", 0), ("+7", 7), ("007", 7), ("9223372036854775807", BIGINT_MAX),
        ("-9223372036854775808", BIGINT_MIN), ("0000000000000000001", 1),
        *[(wrong, None) for wrong in (
            "", " ", " 1", "1 ", "1_000", "1.0", "1e3", "0x10", "1d", "--1", "+", "٣", "²", "9223372036854775808",
            "00000000000000000001", "1\n", "\t1", "NaN", "1,000",
        )],
    ],
)  # fmt: skip
def test_a_number_in_text_follows_one_grammar(text: str, number: int | None) -> None:
    assert evaluator("CAST(s AS BIGINT)")(s=text) == number
    assert evaluator("TRY_CAST(s AS BIGINT)")(s=text) == number


@given(st.text(alphabet="0123456789+-_. e", max_size=21))
def test_text_is_a_number_or_null(text: str) -> None:
    found = evaluator("CAST(s AS BIGINT)")(s=text)
    digits = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if found is not None:
        assert found == int(text) and digits.isascii() and digits.isdigit() and len(digits) <= 19
    else:
        assert not (digits.isdigit() and digits.isascii() and len(digits) <= 18)


def test_value_errors_are_counted_and_nulls_are_not() -> None:
    errors = ValueErrors()
    run = evaluator("CAST(s AS BIGINT) + a * b + CAST(x AS BIGINT)", errors)
    run(s="1", a=1, b=2, x=3.0)
    run(s=None, a=None, b=2, x=None)
    assert errors.count == 0
    run(s="one", a=BIGINT_MAX, b=2, x=math.nan)
    assert errors.count == 3
