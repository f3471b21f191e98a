"""Operations on the 64 bits of a BIGINT in two's complement."""

from __future__ import annotations

from onefold.features.catalogue.entry import B1, B2, Function, Overload, bigint
from onefold.features.types import BIGINT, VARCHAR

_MASK = 2**64 - 1


def _shift_left(x: int, n: int) -> int | None:
    return bigint(x << n) if 0 <= n <= 63 else None


def _shift_right(x: int, n: int) -> int | None:
    return x >> n if 0 <= n <= 63 else None


_SPARK_LEFT = (
    "(CASE WHEN ({1}) BETWEEN 0L AND 62L THEN try_multiply({0}, shiftleft(1L, try_cast({1} AS INT)))"
    " WHEN ({1}) = 63L THEN CASE {0} WHEN 0L THEN 0L WHEN -1L THEN -9223372036854775808L END END)"
)
FUNCTIONS = (
    Function(
        "&", "x & y", "The bits that both have.", (Overload(B2, BIGINT, lambda a, b: a & b, "(({0}) & ({1}))"),),
        (("12 & 10", 8),),
    ),
    Function(
        "|", "x | y", "The bits that one of them has.", (Overload(B2, BIGINT, lambda a, b: a | b, "(({0}) | ({1}))"),),
        (("12 | 10", 14),),
    ),
    Function(
        "xor", "xor(x, y)", "The bits that just one of them has.",
        (Overload(B2, BIGINT, lambda a, b: a ^ b, "xor({0}, {1})", "(({0}) ^ ({1}))"),),
        (("xor(12, 10)", 6),),
    ),
    Function(
        "~", "~x", "The bits that x has not.", (Overload(B1, BIGINT, lambda a: ~a, "(~({0}))"),), (("~12", -13),),
    ),
    Function(
        "<<", "x << y", "x times 2^y. NULL where it overflows, and where y is not 0 to 63.",
        (
            Overload(
                B2, BIGINT, _shift_left,
                "(CASE WHEN ({1}) BETWEEN 0 AND 63 THEN"
                " TRY_CAST(({0})::HUGEINT * (1::HUGEINT << ({1})) AS BIGINT) END)", _SPARK_LEFT,
                may_null=True, overflows=True,
            ),
        ),
        (("3 << 4", 48), ("1 << 63", None)),
    ),
    Function(
        ">>", "x >> y", "x divided by 2^y and rounded down. NULL where y is not 0 to 63.",
        (
            Overload(
                B2, BIGINT, _shift_right, "(CASE WHEN ({1}) BETWEEN 0 AND 63 THEN ({0}) >> ({1}) END)",
                "(CASE WHEN ({1}) BETWEEN 0L AND 63L THEN shiftright({0}, try_cast({1} AS INT)) END)", may_null=True,
            ),
        ),
        (("-5 >> 1", -3), ("1 >> 64", None)),
    ),
    Function(
        "bit_count", "bit_count(x)", "How many bits are set.",
        (
            Overload(
                B1, BIGINT, lambda a: (a & _MASK).bit_count(), "CAST(bit_count({0}) AS BIGINT)",
                "bigint(bit_count({0}))",
            ),
        ),
        (("bit_count(-1)", 64),),
    ),
    Function(
        "hex", "hex(x)", "The bits as hexadecimal digits, capitals, without leading zeros.",
        (Overload(B1, VARCHAR, lambda a: f"{a & _MASK:X}", "to_hex({0})", "hex({0})"),),
        (("hex(255)", "FF"),), aliases=("to_hex",),
    ),
    Function(
        "bin", "bin(x)", "The bits as 0 and 1, without leading zeros.",
        (Overload(B1, VARCHAR, lambda a: f"{a & _MASK:b}", "bin({0})"),), (("bin(5)", "101"),), aliases=("to_binary",),
    ),
)  # fmt: skip
