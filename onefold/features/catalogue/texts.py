"""Text: counted in Unicode code points, compared by them; case is mapped for ASCII letters alone."""

from __future__ import annotations

from onefold.features.catalogue.entry import B1, V1, V2, V3, Function, Overload
from onefold.features.types import BIGINT, BOOLEAN, VARCHAR

LONGEST = 65_536
"""How many code points `lpad`, `rpad` and `repeat` make at most."""
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_UPPER, _TO_LOWER = str.maketrans(_LOWER, _UPPER), str.maketrans(_UPPER, _LOWER)
_VB, _VBV, _VVB, _VBB = (
    (VARCHAR, BIGINT),
    (VARCHAR, BIGINT, VARCHAR),
    (VARCHAR, VARCHAR, BIGINT),
    (VARCHAR, BIGINT, BIGINT),
)
_MOST = 2**31 - 1


def lower(s: str) -> str:
    return s.translate(_TO_LOWER)


def upper(s: str) -> str:
    return s.translate(_TO_UPPER)


def _substring(s: str, start: int, length: int) -> str:
    """The characters at positions start <= p < start + length, the first being 1."""
    first, end = max(start, 1), start + length
    return s[first - 1 : max(end, first) - 1]


def _padding(s: str, n: int, fill: str) -> str | None:
    """What `s` lacks of n code points."""
    lacks = max(n - len(s), 0) if fill else 0
    return None if n > LONGEST else (fill * lacks)[:lacks]


def _lpad(s: str, n: int, fill: str) -> str | None:
    padding = _padding(s, n, fill)
    return None if padding is None else (padding + s[: max(n, 0)])


def _rpad(s: str, n: int, fill: str) -> str | None:
    padding = _padding(s, n, fill)
    return None if padding is None else (s[: max(n, 0)] + padding)


def _repeat(s: str, n: int) -> str | None:
    return s * n if max(n, 0) * max(len(s), 1) <= LONGEST else None


def _split_part(s: str, separator: str, n: int) -> str:
    parts = s.split(separator) if separator else [s]
    at = n - 1 if n > 0 else len(parts) + n
    return parts[at] if n != 0 and 0 <= at < len(parts) else ""


def _translate(s: str, old: str, new: str) -> str:
    table: dict[str, str] = {}
    for i, c in enumerate(old):
        table.setdefault(c, new[i : i + 1])
    return "".join(table.get(c, c) for c in s)


def _chr(n: int) -> str | None:
    return chr(n) if 0 <= n <= 0x10FFFF and not 0xD800 <= n <= 0xDFFF else None


def _count(at: int, suffix: str = "", most: int = _MOST) -> str:
    """Argument `at` between 0 and `most`, for functions whose count is 32 bits wide; NULL stays NULL."""
    x = f"{{{at}}}"
    return f"(CASE WHEN ({x}) < 0{suffix} THEN 0{suffix} WHEN ({x}) > {most}{suffix} THEN {most}{suffix} ELSE {x} END)"


def _pad(name: str) -> tuple[str, str]:
    duckdb = (
        f"(CASE WHEN ({{1}}) <= {LONGEST} THEN CASE WHEN ({{2}}) = '' THEN left({{0}}, {_count(1)})"
        f" ELSE {name}({{0}}, CAST({_count(1)} AS INTEGER), {{2}}) END END)"
    )
    spark = f"(CASE WHEN ({{1}}) <= {LONGEST}L THEN {name}({{0}}, try_cast({_count(1, 'L')} AS INT), {{2}}) END)"
    return duckdb, spark


def _trim(name: str, where: str, side: str, python: str, *values: str) -> Function:
    def strip(s: str, characters: str = " ") -> object:
        return getattr(s, python)(characters) if characters else s

    spark = f"trim({side} {{1}} FROM {{0}})"
    return Function(
        name, f"{name}(x, y)", f"x without the characters of y (without y: spaces) {where}.",
        (
            Overload(V1, VARCHAR, strip, f"{name}({{0}}, ' ')", f"trim({side} ' ' FROM {{0}})"),
            Overload(V2, VARCHAR, strip, f"{name}({{0}}, {{1}})", spark),
        ),
        tuple(zip((f"{name}(' a ')", f"{name}('xyax', 'xy')"), values, strict=True)),
    )  # fmt: skip


_FIRST = "(CASE WHEN ({1}) < 1 THEN 1 ELSE {1} END)"
_PLACE = f"(CASE WHEN ({{1}}) < 1 THEN 1 WHEN ({{1}}) > {_MOST} THEN {_MOST} ELSE {{1}} END)"
_SPARK_FIRST = f"(CASE WHEN ({{1}}) < 1L THEN 1L WHEN ({{1}}) > {_MOST}L THEN {_MOST}L ELSE {{1}} END)"
_SPARK_REST = f"try_subtract(coalesce(try_add({{1}}, greatest({{2}}, 0L)), {2**63 - 1}L), {_SPARK_FIRST})"
_DUCKDB_REST = f"({{1}})::HUGEINT + ({{2}}) - {_FIRST}"
CUTTING = (
    Function(
        "substring", "substring(x, y, z)", "z code points from position y on (without z: all); the first is 1.",
        (
            Overload(
                _VB, VARCHAR, lambda s, y: s[max(y, 1) - 1 :], f"substring({{0}}, {_PLACE})",
                f"substring({{0}}, CAST({_SPARK_FIRST} AS INT))",
            ),
            Overload(
                _VBB, VARCHAR, _substring,
                f"substring({{0}}, {_PLACE}, CAST(CASE WHEN {_DUCKDB_REST} < 0 THEN 0"
                f" WHEN {_DUCKDB_REST} > {_MOST} THEN {_MOST} ELSE {_DUCKDB_REST} END AS BIGINT))",
                f"(CASE WHEN ({{1}}) IS NOT NULL AND ({{2}}) IS NOT NULL THEN"
                f" substring({{0}}, CAST({_SPARK_FIRST} AS INT),"
                f" CAST(least(greatest({_SPARK_REST}, 0L), {_MOST}L) AS INT)) END)",
            ),
        ),
        (("substring('abcd', 2, 2)", "bc"), ("substring('abcd', 3)", "cd"), ("substring('abcd', 0, 2)", "a")),
        aliases=("substr",),
    ),
    Function(
        "left", "left(x, y)", "The first y code points; none where y is below 1.",
        (
            Overload(
                _VB, VARCHAR, lambda s, n: s[: max(n, 0)], f"left({{0}}, {_count(1)})",
                f"left({{0}}, CAST({_count(1, 'L')} AS INT))",
            ),
        ),
        (("left('abc', 2)", "ab"),),
    ),
    Function(
        "right", "right(x, y)", "The last y code points; none where y is below 1.",
        (
            Overload(
                _VB, VARCHAR, lambda s, n: s[max(len(s) - n, 0) :] if n > 0 else "", f"right({{0}}, {_count(1)})",
                f"right({{0}}, CAST({_count(1, 'L')} AS INT))",
            ),
        ),
        (("right('abc', 2)", "bc"),),
    ),
    _trim("trim", "at both ends", "BOTH", "strip", "a", "a"),
    _trim("ltrim", "at its start", "LEADING", "lstrip", "a ", "ax"),
    _trim("rtrim", "at its end", "TRAILING", "rstrip", " a", "xya"),
    Function(
        "split_part", "split_part(x, y, z)",
        "The part z of x between separators y, counted from 1, or from the end where z is negative;"
        " '' where there is none.",
        (
            Overload(
                _VVB, VARCHAR, _split_part,
                "(CASE WHEN ({1}) = '' THEN CASE WHEN abs({2}::HUGEINT) = 1 THEN {0}"
                " WHEN ({2}) IS NOT NULL THEN left({0}, 0) END ELSE split_part({0}, {1}, {2}) END)",
                "(CASE WHEN ({2}) = 0L THEN left(concat({0}, {1}), 0) ELSE split_part({0}, {1}, CAST(CASE WHEN ({2}) <"
                f" -{_MOST}L THEN -{_MOST}L WHEN ({{2}}) > {_MOST}L THEN {_MOST}L ELSE {{2}} END AS INT)) END)",
            ),
        ),
        (("split_part('a,b,c', ',', 2)", "b"), ("split_part('a,b,c', ',', -1)", "c")),
    ),
)  # fmt: skip
MAKING = (
    Function(
        "||", "x || y", "One text behind the other.", (Overload(V2, VARCHAR, lambda a, b: a + b, "(({0}) || ({1}))"),),
        (("'ab' || 'c'", "abc"),),
    ),
    Function(
        "lower", "lower(x)", "ASCII letters as small ones.",
        (Overload(V1, VARCHAR, lower, f"translate({{0}}, '{_UPPER}', '{_LOWER}')"),),
        (("lower('AÉ')", "aÉ"),), aliases=("lcase",),
    ),
    Function(
        "upper", "upper(x)", "ASCII letters as capitals.",
        (Overload(V1, VARCHAR, upper, f"translate({{0}}, '{_LOWER}', '{_UPPER}')"),),
        (("upper('aé')", "Aé"),), aliases=("ucase",),
    ),
    Function(
        "lpad", "lpad(x, y, z)", f"x of y code points, filled with z from the left, or cut. NULL above {LONGEST}.",
        (Overload(_VBV, VARCHAR, _lpad, *_pad("lpad"), may_null=True, overflows=True),),
        (("lpad('7', 3, '0')", "007"),),
    ),
    Function(
        "rpad", "rpad(x, y, z)", f"x of y code points, filled with z to the right, or cut. NULL above {LONGEST}.",
        (Overload(_VBV, VARCHAR, _rpad, *_pad("rpad"), may_null=True, overflows=True),),
        (("rpad('ab', 5, 'xy')", "abxyx"),),
    ),
    Function(
        "repeat", "repeat(x, y)", f"x, y times. NULL where that is above {LONGEST} code points.",
        (
            Overload(
                _VB, VARCHAR, _repeat,
                f"(CASE WHEN ({{1}}) <= 0 THEN left({{0}}, 0) WHEN ({{1}}) <= {LONGEST} // greatest(length({{0}}), 1)"
                " THEN repeat({0}, {1}) END)",
                f"(CASE WHEN ({{1}}) <= 0L THEN left({{0}}, 0) WHEN ({{1}}) <= {LONGEST} div greatest(length({{0}}), 1)"
                " THEN repeat({0}, try_cast({1} AS INT)) END)", may_null=True, overflows=True,
            ),
        ),
        (("repeat('ab', 3)", "ababab"),),
    ),
    Function(
        "replace", "replace(x, y, z)", "x with z for every y; x where y is ''.",
        (Overload(V3, VARCHAR, lambda s, y, z: s.replace(y, z) if y else s, "replace({0}, {1}, {2})"),),
        (("replace('aba', 'a', 'xy')", "xybxy"),),
    ),
    Function(
        "reverse", "reverse(x)", "The code points from last to first.",
        (
            Overload(
                V1, VARCHAR, lambda s: s[::-1], "array_to_string(list_reverse(string_split({0}, '')), '')",
                "reverse({0})",
            ),
        ),
        (("reverse('abc')", "cba"),),
    ),
    Function(
        "translate", "translate(x, y, z)", "Each character that is in y as the one at its place in z, or left out.",
        (Overload(V3, VARCHAR, _translate, "translate({0}, {1}, {2})"),),
        (("translate('abcd', 'abc', 'xy')", "xyd"),),
    ),
    Function(
        "chr", "chr(x)", "The character of a code point. NULL where there is none.",
        (
            Overload(
                B1, VARCHAR, _chr,
                "(CASE WHEN ({0}) BETWEEN 0 AND 55295 OR ({0}) BETWEEN 57344 AND 1114111"
                " THEN chr(CAST({0} AS INTEGER)) END)",
                "(CASE WHEN ({0}) = 65279L THEN decode(unhex('EFBBBF'), 'UTF-8')"
                " WHEN ({0}) BETWEEN 0L AND 55295L OR ({0}) BETWEEN 57344L AND 1114111L"
                " THEN decode(unhex(lpad(hex({0}), 8, '0')), 'UTF-32') END)", may_null=True,
            ),
        ),
        (("chr(233)", "é"), ("chr(-1)", None)),
    ),
)  # fmt: skip
ASKING = (
    Function(
        "length", "length(x)", "Number of code points.",
        (Overload(V1, BIGINT, len, "length({0})", "bigint(length({0}))"),),
        (("length('aé')", 2),), aliases=("char_length", "character_length", "len"),
    ),
    Function(
        "strlen", "strlen(x)", "Number of bytes in UTF-8.",
        (Overload(V1, BIGINT, lambda s: len(s.encode()), "strlen({0})", "bigint(octet_length({0}))"),),
        (("strlen('aé')", 3),), aliases=("octet_length",),
    ),
    Function(
        "ord", "ord(x)", "The code point of the first character; 0 of ''.",
        (Overload(V1, BIGINT, lambda s: ord(s[0]) if s else 0, "CAST(ascii({0}) AS BIGINT)", "bigint(ascii({0}))"),),
        (("ord('é')", 233),), aliases=("ascii", "unicode"),
    ),
    Function(
        "strpos", "strpos(x, y)",
        "Position of the first y in x, counted from 1; 0 where there is none, 1 of ''. Also `position(y IN x)`.",
        (Overload(V2, BIGINT, lambda a, b: a.find(b) + 1, "strpos({0}, {1})", "bigint(instr({0}, {1}))"),),
        (("strpos('abc', 'c')", 3), ("position('x' IN 'abc')", 0)), aliases=("instr", "str_position"),
    ),
    Function(
        "contains", "contains(x, y)", "Whether y is in x.",
        (Overload(V2, BOOLEAN, lambda a, b: b in a, "contains({0}, {1})"),),
        (("contains('abc', 'b')", True),),
    ),
    Function(
        "starts_with", "starts_with(x, y)", "Whether x begins with y.",
        (Overload(V2, BOOLEAN, lambda a, b: a.startswith(b), "starts_with({0}, {1})", "startswith({0}, {1})"),),
        (("starts_with('abc', 'ab')", True),), aliases=("startswith", "prefix"),
    ),
    Function(
        "ends_with", "ends_with(x, y)", "Whether x ends with y.",
        (Overload(V2, BOOLEAN, lambda a, b: a.endswith(b), "ends_with({0}, {1})", "endswith({0}, {1})"),),
        (("ends_with('abc', 'bc')", True),), aliases=("endswith", "suffix"),
    ),
)  # fmt: skip
FUNCTIONS = (*CUTTING, *MAKING, *ASKING)
FORMS = (
    Function(
        "concat", "concat(x, y, ...)", "The texts one behind the other.", (), (("concat('a', NULL, 'b')", "ab"),),
        nulls="passed over; '' where all are", takes="any of VARCHAR → VARCHAR",
    ),
)  # fmt: skip
