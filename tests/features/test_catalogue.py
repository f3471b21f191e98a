"""Every function of the catalogue is worth the same on every engine: its examples, and a table of nasty values."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import struct
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from onefold.features import exactness, ir, rules
from onefold.features.casts import CASTS
from onefold.features.errors import DefinitionError
from onefold.features.functions import FUNCTIONS, GROUPS, Overload
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)
from onefold.features.values import to_json

from .scalar_engines import by_duckdb, by_python, by_spark, expression

EXAMPLES = [(sql, value) for entries in GROUPS.values() for entry in entries for sql, value in entry.examples]
_DAY = 86_400_000_000
_POWERS = [2.0**e for e in (-1074, -1022, -961, -960, -928, -100, -72, 0, 31, 52, 53, 62, 63, 64, 992, 1023)]
VALUES: dict[DataType, list[Any]] = {
    BOOLEAN: [True, False, None],
    BIGINT: [
        0, 1, -1, 2, 3, -3, 7, 12, 28, 31, 59, 60, 63, 64, 65, 255, 1000, 2013, 9999, -719_162, 2_932_897,
        55_296, 65_279,
        65_535, 65_537, 128_747, 1_114_112, 2**31 - 1, 2**31, -(2**31), 2**32, -(2**32) + 1, 2**53 + 1, 10**18,
        TIMESTAMP_MIN,
        TIMESTAMP_MAX + 1, BIGINT_MAX, BIGINT_MAX - 1, BIGINT_MIN, BIGINT_MIN + 1, 122_881, -253_953, 253_954, None,
    ],
    DOUBLE: [
        0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, -0.3, 3.0, 10.0, 0.1, -7.25, 35.55, 1e6,
        1e-5, 1.7e9,
        4503599627370495.5, -4503599627370495.5, 2.0**53 - 1, 1e15 + 0.3, 1e300, -1e300, 1.7976931348623157e308,
        5e-324,
        -5e-324, 3.5e-310, 2.2250738585072014e-308, 1e-290, 1e-300, 253402300799.9999, -62135596800.0, 1e12,
        709.8, -745.2,
        math.nan, math.inf, -math.inf, None, *_POWERS, *(math.nextafter(x, 0) for x in _POWERS),
        *(-math.nextafter(x, math.inf) for x in _POWERS),
    ],
    VARCHAR: [
        "", "a", "A", "abc", "aBc", "ab,c,,d", "aé", "ae\u0301", "ß", "İ", "🛫", "x🛫y", "\uffff", " a ", "\ta\n",
        "a\nb", "%",
        "_", "a%", "%b%", "a_c", "\\", "\\%", "a\\b", "a'b", "${x}", "{0}", "\0", "aaaa", ",", "12", "+7", "-0",
        "1_0", " 1",
        "0x10", "1e3", "1.", ".5", "-1.5E-3", "1e400", "-1e400", "1e-400", "NaN", "nan", "Infinity",
        "-Infinity", "inf", "1d",
        "9223372036854775807", "9223372036854775808", "-9223372036854775808", "00000000000000000001", "7\n",
        "٣", "0.1",
        "2.2250738585072011e-308", "9007199254740993", "8.5e-324", "179769313486231580793e289", "true", "FALSE",
        "T", "0",
        "yes", "2013-12-01", "2013-02-29", "2012-02-29", "0000-01-01", "0001-01-01", "9999-12-31",
        "10000-01-01", "2013-1-1",
        "2013-12-01 08:30", "2013-12-01T08:30:15.25Z", "2013-12-01 24:00:00", "2013-12-01 08:30:60",
        "1969-12-31 23:59:59.999999",
        "2013-12-01 08:30:00+01:00", "2013-12-01 08:30:00.1234567", "2013-12-01Z", "infinity", "epoch", None,
    ],
    TIMESTAMP: [
        0, 1, -1, 999, -1000, -1001, 999_999, -1_000_000, -60_000_001, TIMESTAMP_MIN, TIMESTAMP_MAX,
        TIMESTAMP_MIN + 1,
        951_782_399_999_999, 951_782_400_000_000, -2_208_988_800_000_001, 1_385_886_615_250_000,
        1_356_998_400_000_000,
        -12_219_292_800_000_000, -12_219_292_800_000_001, 253_402_214_400_000_000, 1_230_768_000_000_000 - _DAY, None,
    ],
    DATE: [0, -1, 15_775, DATE_MIN, DATE_MAX, DATE_MIN + 1, DATE_MAX - 30, 11_016, 11_017, -25_509, -141_428,
    14_245, None],
}  # fmt: skip
"""Numbers at the borders of their types, times before 1970 and at year ends, text of every plane; and NULL."""
_TEXT = [
    "",
    "a",
    "abc",
    "ab,c,,d",
    "ae\u0301",
    "x🛫y",
    " a ",
    "a\nb",
    "%b%",
    "a_c",
    "\\%",
    "a'b",
    "aaaa",
    "🛫",
    ",",
    None,
]
_COUNTS = [0, 1, 2, 3, -1, -2, 5, 40, 65_536, 65_537, 2**31, -(2**31) - 1, 2**32 + 2, BIGINT_MAX, BIGINT_MIN, None]
_CLOCK = [0, 1, 2, 12, 13, 23, 24, 28, 29, 30, 31, 59, 60, -1, 2012, 2013, 9999, 10_000, BIGINT_MAX, BIGINT_MIN, None]
_MOST = 1500


def bits(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(bits, value))
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return type(value).__name__, value


def _usual(draw: random.Random) -> float:
    """A number of a size that features have; the last bits of functions differ on many of them."""
    return draw.choice((draw.uniform(-1, 1), draw.uniform(-10, 10), draw.uniform(0, 1000), 10 ** draw.uniform(-30, 30)))


def rows(kinds: tuple[DataType, ...]) -> list[tuple[Any, ...]]:
    """Values for arguments of these types: every combination, or many of them drawn."""
    choices = [VALUES[k] for k in kinds]
    if len(kinds) > 1 and VARCHAR in kinds:
        short: dict[DataType, list[Any]] = {VARCHAR: _TEXT, BIGINT: _COUNTS}
        choices = [short.get(k, VALUES[k]) for k in kinds]
    if len(kinds) > 2 and VARCHAR not in kinds:
        choices = [_CLOCK for _ in kinds]
    draw = random.Random(4)
    usual = [tuple(_usual(draw) for _ in kinds) for _ in range(_MOST)] if {*kinds} == {DOUBLE} else []
    if math.prod(map(len, choices)) <= 9000:
        return [*itertools.product(*choices), *usual]
    return usual + [tuple(draw.choice(c) for c in choices) for _ in range(_MOST)]


def forms() -> dict[tuple[DataType, ...], list[tuple[str, ir.Expr, bool]]]:
    """By types of arguments: each typed form and cast over columns a, b, c, ... of these types."""
    found: dict[tuple[DataType, ...], list[tuple[str, ir.Expr, bool]]] = defaultdict(list)
    for function in FUNCTIONS.values():
        if function.name == "like_escaped":
            continue
        for overload in function.listed:
            expr = rules.call(function.name, *columns(overload))
            found[overload.args].append((function.name, expr, overload.inexact))
    for have, want in CASTS:
        found[have,].append((f"CAST AS {want}", rules.cast(ir.Column("request.a", have), want), False))
    return found


def columns(overload: Overload) -> list[ir.Expr]:
    return [ir.Column(f"request.{name}", kind) for name, kind in zip("abcdef", overload.args, strict=False)]


FORMS = forms()


def same(found: Any, expected: Any, inexact: bool) -> bool:
    if inexact and isinstance(found, float) and isinstance(expected, float) and math.isfinite(found):
        return abs(found - expected) <= math.ulp(expected)
    return bool(bits(found) == bits(expected))


def test_every_function_has_an_example_and_a_meaning() -> None:
    entries = [entry for group in GROUPS.values() for entry in group]
    assert not [e.name for e in entries if not e.examples or not e.meaning.endswith(".")]


@pytest.mark.parametrize("engine", ["python", "duckdb", "spark"])
def test_examples_give_what_they_say(engine: str, request: pytest.FixtureRequest) -> None:
    exprs = [expression(sql, {}) for sql, _ in EXAMPLES]
    if engine == "python":
        found = by_python(exprs, {}, [()])
    elif engine == "duckdb":
        found = by_duckdb(exprs, {}, [()])
    else:
        found = by_spark(request.getfixturevalue("spark"), exprs, {}, [()])
    values = [to_json(column[0], e.type) for column, e in zip(found, exprs, strict=True)]
    wrong = [
        f"{sql}: found {value!r}, the catalogue says {expected!r}"
        for (sql, expected), value in zip(EXAMPLES, values, strict=True)
        if bits(value) != bits(expected)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kinds", FORMS, ids=lambda kinds: "-".join(k.name for k in kinds) or "none")
@pytest.mark.parametrize("engine", ["duckdb", "spark", "spark without ansi"])
def test_nasty_values_are_worth_what_they_are_in_python(
    engine: str, kinds: tuple[DataType, ...], request: pytest.FixtureRequest
) -> None:
    given, asked = rows(kinds), FORMS[kinds]
    exprs, held = [e for _, e, _ in asked], dict(zip("abcdef", kinds, strict=False))
    if engine == "duckdb":
        found = by_duckdb(exprs, held, given)
    else:
        session = request.getfixturevalue("spark").newSession()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.conf.set("spark.sql.ansi.enabled", str(engine == "spark").lower())
        found = by_spark(session, exprs, held, given)
    wrong = [
        f"{name}{row!r}: found {value!r}, expected {want!r}"
        for (name, _, inexact), got, expected in zip(asked, found, by_python(exprs, held, given), strict=True)
        for row, value, want in zip(given, got, expected, strict=True)
        if not same(value, want, inexact)
    ]
    shown = sorted(wrong, key=lambda line: line.split("(")[0])
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(
        line for _, lines in itertools.groupby(shown, lambda line: line.split("(")[0]) for line in list(lines)[:4]
    )


def constants(kinds: tuple[DataType, ...], many: int) -> list[ir.Expr]:
    """The typed forms over literals, which engines work out before they run a query."""
    drawn = random.Random(5).sample(rows(kinds), min(many, len(rows(kinds))))
    return [_filled(expr, dict(zip("abcdef", row, strict=False))) for row in drawn for _, expr, _ in FORMS[kinds]]


def _filled(expr: ir.Expr, values: dict[str, Any]) -> ir.Expr:
    match expr:
        case ir.Column(name=name, type=kind):
            return ir.Literal(values[name.removeprefix("request.")], kind)
        case ir.Cast(arg=arg):
            return dataclasses.replace(expr, arg=_filled(arg, values))
        case ir.Call(args=args):
            return dataclasses.replace(expr, args=tuple(_filled(a, values) for a in args))
    raise AssertionError(expr)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_constants_are_worth_the_same(engine: str, request: pytest.FixtureRequest) -> None:
    exprs = [e for kinds in FORMS for e in constants(kinds, 4)]
    run = by_duckdb if engine == "duckdb" else partial(by_spark, request.getfixturevalue("spark"))
    wrong = [
        f"{expr}: found {found[0]!r}, expected {expected[0]!r}"
        for expr, found, expected in zip(exprs, run(exprs, {}, [()]), by_python(exprs, {}, [()]), strict=True)
        if not same(found[0], expected[0], exactness.inexact(expr))
    ]
    assert not wrong, "\n".join(wrong[:5])


def test_every_value_is_written_as_a_literal_that_reads_back() -> None:
    for kind, values in VALUES.items():
        literals = [ir.Literal(v, kind) for v in values]
        assert [bits(v[0]) for v in by_duckdb(literals, {}, [()])] == [bits(v) for v in values]


def test_every_value_is_written_as_a_literal_of_spark_that_reads_back(spark: Any) -> None:
    for kind, values in VALUES.items():
        literals = [ir.Literal(v, kind) for v in values]
        assert [bits(v[0]) for v in by_spark(spark, literals, {}, [()])] == [bits(v) for v in values]


@pytest.mark.parametrize(("sql", "text", "value"), [
    ("a LIKE '50!%' ESCAPE '!'", "50%", True), ("a LIKE '50!%' ESCAPE '!'", "501", False),
    ("a LIKE '%.(x)' ESCAPE '#'", "\n.(x)", True), ("a LIKE '.' ESCAPE '#'", "x", False),
    ("a LIKE '#_🛫_' ESCAPE '#'", "_🛫é", True), ("a ILIKE 'A#%B' ESCAPE '#'", "a%b", True),
    ("a LIKE '\\_' ESCAPE '\\'", "_", True), ("a LIKE '\\_'", "_", False), ("a LIKE '$1^%' ESCAPE '#'", "$1^", True),
])  # fmt: skip
def test_escaped_patterns_mean_the_same(sql: str, text: str, value: bool, spark: Any) -> None:
    expr = expression(sql, {"a": VARCHAR})
    asked: Any = ([expr], {"a": VARCHAR}, [(text,)])
    assert [by_python(*asked), by_duckdb(*asked), by_spark(spark, *asked)] == [[[value]]] * 3


@pytest.mark.parametrize("sql", ["floor(ln(a))", "ln(a) > 1", "hash64(exp(a))", "to_timestamp(ln(a))"])
def test_no_last_bit_decides(sql: str) -> None:
    with pytest.raises(DefinitionError, match="exact to 1 ulp only"):
        expression(sql, {"a": DOUBLE})
    assert expression("CASE WHEN ln(a) IS NULL THEN 0.0 ELSE ln(a) END", {"a": DOUBLE}).type == DOUBLE


def test_an_expression_that_grows_too_long_is_refused() -> None:
    deep = expression("sqrt(" * 30 + "a" + ")" * 30, {"a": DOUBLE})
    with pytest.raises(DefinitionError, match="characters long as SQL of duckdb"):
        by_duckdb([deep], {"a": DOUBLE}, [(1.0,)])
