"""Hashes of a value's canonical text, the same on every engine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

from onefold.features.catalogue.binary64 import DUCKDB, LEAST, SPARK, Steps, double
from onefold.features.catalogue.entry import V1, Function, Overload
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType

_TINY_UP = 128


def hash64(text: str) -> int:
    """The first 8 bytes of the text's MD5, read as a signed number, highest byte first.

    >>> hash64("a")
    919145239626757800
    """
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)


def double_text(x: float) -> str:
    """A DOUBLE as sign, 53 bits of mantissa and exponent, exact.

    >>> double_text(1.0), double_text(-math.inf), double_text(0.0)
    ('4503599627370496p-52', '-inf', '0')
    """
    if x != x or math.isinf(x) or x == 0:
        return "nan" if x != x else "0" if x == 0 else "inf" if x > 0 else "-inf"
    half, exponent = math.frexp(abs(x))
    return f"{'-' if x < 0 else ''}{int(half * 2**53)}p{exponent - 53}"


def _double_text(steps: Steps, text: str) -> str:
    """SQL of `double_text`; a subnormal is moved up first."""
    tiny = f"abs({{0}}) < {double(2.0**LEAST)}"
    magnitude = f"(CASE WHEN {tiny} THEN abs({{0}}) * {double(2.0**_TINY_UP)} ELSE abs({{0}}) END)"
    exponent = f"({steps.exponent(magnitude)} - CASE WHEN {tiny} THEN {52 + _TINY_UP} ELSE 52 END)"
    finite = f"concat({{sign}}, CAST({steps.mantissa(magnitude)} AS {text}), 'p', CAST({exponent} AS {text}))"
    return (
        f"(CASE WHEN ({{0}}) = 0 THEN '0' WHEN ({{0}}) = {double(math.nan)} THEN 'nan'"
        f" WHEN ({{0}}) = {double(math.inf)} THEN 'inf' WHEN ({{0}}) = {double(-math.inf)} THEN '-inf'"
        f" WHEN ({{0}}) IS NOT NULL THEN {finite.replace('{sign}', sign('{0}'))} END)"
    )


def sign(x: str) -> str:
    return f"CASE WHEN ({x}) < 0 THEN '-' ELSE '' END"


_DUCKDB_TEXTS = {
    VARCHAR: "{0}", BIGINT: "CAST({0} AS VARCHAR)", BOOLEAN: "CAST({0} AS VARCHAR)",
    TIMESTAMP: "CAST(epoch_us({0}) AS VARCHAR)", DATE: "CAST(({0}) - DATE '1970-01-01' AS VARCHAR)",
    DOUBLE: _double_text(DUCKDB, "VARCHAR"),
}  # fmt: skip
_SPARK_TEXTS = {
    VARCHAR: "{0}", BIGINT: "CAST({0} AS STRING)", BOOLEAN: "CAST({0} AS STRING)",
    TIMESTAMP: "CAST(unix_micros({0}) AS STRING)", DATE: "CAST(unix_date({0}) AS STRING)",
    DOUBLE: _double_text(SPARK, "STRING"),
}  # fmt: skip
_TEXTS: dict[DataType, Callable[[Any], str]] = {
    VARCHAR: lambda v: v, BIGINT: str, BOOLEAN: lambda v: "true" if v else "false", TIMESTAMP: str, DATE: str,
    DOUBLE: double_text,
}  # fmt: skip


def canonical_text(value: object, kind: DataType) -> str:
    """What is hashed of a value of a type: decimal digits, `true`, microseconds, days, or `double_text`."""
    return _TEXTS[kind](value)


def _hash(kind: DataType) -> Overload:
    text = _TEXTS[kind]
    return Overload(
        (kind,), BIGINT, lambda v: hash64(text(v)),
        f"CAST(CAST(unhex(left(md5({_DUCKDB_TEXTS[kind]}), 16)) AS BIT) AS BIGINT)",
        f"bigint(conv(left(md5({_SPARK_TEXTS[kind]}), 16), 16, -10))",
    )  # fmt: skip


def _digest(name: str, spark: str, value: str) -> Function:
    return Function(
        name, f"{name}(x)", f"{name.upper()} of the text's UTF-8, in hexadecimal digits.",
        (Overload(V1, VARCHAR, lambda s: hashlib.new(name, s.encode(), usedforsecurity=False).hexdigest(),
                  f"{name}({{0}})", spark),),
        ((f"{name}('a')", value),),
    )  # fmt: skip


FUNCTIONS = (
    _digest("md5", "md5({0})", "0cc175b9c0f1b6a831c399e269772661"),
    _digest("sha1", "sha1({0})", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    _digest("sha256", "sha2({0}, 256)", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    Function(
        "hash64", "hash64(x)",
        "The first 8 bytes of the MD5 of x's canonical text: text as it is, a BIGINT in digits, true or false, a"
        " TIMESTAMP in microseconds, a DATE in days, a DOUBLE as mantissa and exponent.",
        tuple(map(_hash, (BIGINT, VARCHAR, TIMESTAMP, DATE, BOOLEAN, DOUBLE))),
        (("hash64('a')", 919145239626757800), ("hash64(1) = hash64('1')", True)), takes="any type → BIGINT",
    ),
)  # fmt: skip
FORMS = (
    Function(
        "bucket", "bucket(x, y)", "pmod(hash64(x), y): one of y buckets, from 0 to y - 1.", (),
        (("bucket('a', 10)", 0),), takes="(any type, BIGINT) → BIGINT",
    ),
)  # fmt: skip
