"""Lists: positions count from 1, or from the end where they are negative. NULL items equal one another, as NaN does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from onefold.features.catalogue.comparison import equal
from onefold.features.catalogue.entry import Function, Made, Maker, Overload
from onefold.features.catalogue.list_totals import WIDEST, List, mean, present, total
from onefold.features.types import BIGINT, BOOLEAN, NULL, VARCHAR, DataType, list_of

Types = Sequence[DataType]


def equal_lists(a: List, b: List) -> bool:
    """Whether lists have the same items, where NULL equals NULL and NaN equals NaN."""
    return len(a) == len(b) and all(
        x is y or (x is not None and y is not None and equal(x, y)) for x, y in zip(a, b, strict=True)
    )


def _items(types: Types, count: int) -> DataType | None:
    """The item type of the first of `count` arguments, where it is a list."""
    return types[0].item if len(types) == count else None


def _one(give: Callable[[DataType], Overload | None]) -> Maker:
    def make(types: Types) -> Overload | None:
        item = _items(types, 1)
        return None if item is None else give(item)

    return make


def _same(python: Callable[[List], List], duckdb: str, spark: str) -> Maker:
    return _one(lambda item: Overload((list_of(item),), list_of(item), python, duckdb, spark))


def _pair(make: Callable[[DataType], Overload]) -> Maker:
    """Two lists of one type."""

    def made(types: Types) -> Overload | None:
        known = [t for t in types if t != NULL]
        if len(types) != 2 or not known or known[0].item is None or any(t != known[0] for t in known):
            return None
        return make(known[0])

    return made


def _beside(other: Callable[[DataType], tuple[DataType, ...]], make: Callable[[DataType], Overload]) -> Maker:
    """A list and further arguments, of types that depend on its items."""

    def made(types: Types) -> Overload | None:
        item = types[0].item if types else None
        if item is None or len(types) != 1 + len(other(item)):
            return None
        fits = all(have in (want, NULL) for have, want in zip(types[1:], other(item), strict=True))
        return make(item) if fits else None

    return made


def _element(xs: List, i: int) -> Any:
    place = i - 1 if i > 0 else len(xs) + i
    return xs[place] if i and 0 <= place < len(xs) else None


def _position(xs: List, value: Any) -> int:
    return next((i for i, x in enumerate(xs, 1) if x is not None and equal(x, value)), 0)


def _slice(xs: List, low: int, high: int) -> List:
    first, last = (len(xs) + i + 1 if i < 0 else i for i in (low, high))
    return xs[max(first, 1) - 1 : max(last, 0)]


def _order(x: Any) -> tuple[bool, bool, Any]:
    return (x is None, x != x, 0 if x is None or x != x else x)


def _distinct(xs: List) -> List:
    found: dict[Any, Any] = {}
    for x in present(xs):
        found.setdefault("nan" if x != x else x, x)
    return tuple(found.values())


def _least(xs: List) -> Any:
    return min(present(xs), key=_order, default=None)


def _greatest(xs: List) -> Any:
    return max(present(xs), key=_order, default=None)


def _compared(name: str, python: Callable[[List, List], bool]) -> Made:
    sql = f"(({{0}}) {name} ({{1}}))"
    return Made(_pair(lambda kind: Overload((kind, kind), BOOLEAN, python, sql)), "")


def _extreme(python: Callable[[List], Any], name: str) -> Maker:
    return _one(
        lambda item: Overload(
            (list_of(item),), item, python, f"list_{name}({{0}})", f"array_{name}({{0}})", may_null=True
        )
    )


_STRICT = "(CASE WHEN ({{0}}) IS NOT NULL AND ({{1}}) IS NOT NULL THEN {} END)"
_INDEX = "CAST(CASE WHEN ({1}) BETWEEN -2147483647L AND 2147483647L THEN nullif({1}, 0L) END AS INT)"
_PLACE = "CASE WHEN ({{{i}}}) < 0 THEN {{size}} + ({{{i}}}) + 1 ELSE ({{{i}}}) END"
_LOW, _HIGH = (f"greatest({_PLACE.format(i=i)}, {least})" for i, least in ((1, 1), (2, 0)))


def _slice_sql(template: str, size: str) -> str:
    sliced = template.replace("LOW", _LOW).replace("HIGH", _HIGH).replace("{size}", size)
    return f"(CASE WHEN ({{1}}) IS NOT NULL AND ({{2}}) IS NOT NULL THEN {sliced} END)"


_DUCKDB_SLICE = _slice_sql("list_slice({0}, LOW, HIGH)", "len({0})")
_SPARK_SLICE = _slice_sql(
    "slice({0}, CAST(least(LOW, 2147483647L) AS INT), "
    "CAST(greatest(least(HIGH, array_size({0})) - least(LOW, 2147483647L) + 1, 0) AS INT))",
    "array_size({0})",
)
# DuckDB's own takes a constant separator only.
_DUCKDB_JOIN = (
    "substr(list_reduce(list_filter({0}, lambda _item: _item IS NOT NULL), "
    "lambda _a, _item: _a || ({1}) || _item, ''), length({1}) + 1)"
)
FUNCTIONS = (
    Function(
        "list_value", "list_value(x, y, ...)", "A list; also written [x, y, ...] and ARRAY[x, y, ...].", (),
        (("[1, NULL, 2]", (1, None, 2)), ("CAST([] AS BIGINT[])", ())), nulls="an item", takes="any of one type → LIST",
    ),
    Function(
        "list_extract", "list_extract(x, y)", "The item at a position, as x[y]; NULL where there is none.",
        (_beside(lambda item: (BIGINT,), lambda item: Overload(
            (list_of(item), BIGINT), item, _element, "list_extract({0}, {1})", f"try_element_at({{0}}, {_INDEX})",
            may_null=True,
        )),),
        (("[5, 6, 7][2]", 6), ("[5, 6, 7][-1]", 7), ("[5][2]", None)), aliases=("element_at", "list_element"),
        takes="(LIST, BIGINT) → its item",
    ),
    Function(
        "list_slice", "list_slice(x, y, z)", "The items from position y to z, as x[y:z].",
        (_beside(lambda item: (BIGINT, BIGINT), lambda item: Overload(
            (list_of(item), BIGINT, BIGINT), list_of(item), _slice, _DUCKDB_SLICE, _SPARK_SLICE
        )),),
        (("[5, 6, 7][2:]", (6, 7)), ("list_slice([5, 6, 7], -3, -2)", (5, 6))), aliases=("array_slice",),
        takes="(LIST, BIGINT, BIGINT) → LIST",
    ),
    Function(
        "list_contains", "list_contains(x, y)", "Whether an item is equal to y.",
        (_beside(lambda item: (item,), lambda item: Overload(
            (list_of(item), item), BOOLEAN, lambda xs, v: _position(xs, v) > 0,
            _STRICT.format("list_contains({0}, {1})"),
            "array_contains(filter({0}, _item -> _item IS NOT NULL), {1})",
        )),),
        (("list_contains([1, NULL], 2)", False),), aliases=("array_contains", "list_has"),
        takes="(LIST, its item) → BOOLEAN",
    ),
    Function(
        "list_position", "list_position(x, y)", "The first position of an item equal to y; 0 where there is none.",
        (_beside(lambda item: (item,), lambda item: Overload(
            (list_of(item), item), BIGINT, _position, _STRICT.format("coalesce(list_position({0}, {1}), 0)::BIGINT"),
            "array_position({0}, {1})",
        )),),
        (("list_position(['a', 'b'], 'b')", 2),), aliases=("array_position", "list_indexof"),
        takes="(LIST, its item) → BIGINT",
    ),
    Function(
        "list_concat", "list_concat(x, y)", "The items of x, then those of y.",
        (_pair(lambda kind: Overload(
            (kind, kind), kind, lambda a, b: a + b, _STRICT.format("list_concat({0}, {1})"), "concat({0}, {1})"
        )),),
        (("list_concat([1], [2, 1])", (1, 2, 1)),), aliases=("array_concat", "list_cat"),
        takes="two LISTs of one type → LIST",
    ),
    Function(
        "list_reverse", "list_reverse(x)", "The items from the last to the first.",
        (_same(lambda xs: xs[::-1], "list_reverse({0})", "reverse({0})"),), (("list_reverse([1, 2])", (2, 1)),),
        aliases=("array_reverse",), takes="(LIST) → LIST",
    ),
    Function(
        "list_sort", "list_sort(x)", "The items in rising order: NaN above all, then NULLs.",
        (_same(lambda xs: tuple(sorted(xs, key=_order)), "list_sort({0}, 'ASC', 'NULLS LAST')", "array_sort({0})"),),
        (("list_sort([3, NULL, 1])", (1, 3, None)),), aliases=("array_sort",), takes="(LIST) → LIST",
    ),
    Function(
        "list_distinct", "list_distinct(x)", "Each item once, where it stood first; NULLs are left out.",
        (_same(
            _distinct,
            "list_filter({0}, lambda _item, _i: _item IS NOT NULL AND list_position({0}, _item) = _i)",
            "array_distinct(filter({0}, _item -> _item IS NOT NULL))",
        ),),
        (("list_distinct([2, NULL, 1, 2])", (2, 1)),), aliases=("array_distinct",), takes="(LIST) → LIST",
    ),
    Function(
        "list_min", "list_min(x)", "The least item that is not NULL.", (_extreme(_least, "min"),),
        (("list_min([3, NULL, 1])", 1),), aliases=("array_min",), takes="(LIST) → its item",
    ),
    Function(
        "list_max", "list_max(x)", "The greatest item that is not NULL; NaN above all.", (_extreme(_greatest, "max"),),
        (("list_max(['a', 'B'])", "a"),), aliases=("array_max",), takes="(LIST) → its item",
    ),
    Function(
        "list_sum", "list_sum(x)", "The exact sum of the items that are not NULL; of DOUBLEs "
        "[as `sum` has it](exact-sums.md), NULL where magnitudes add up to 2^53.", (_one(total),),
        (("list_sum([3, NULL, 1])", 4),), aliases=("array_sum",),
        takes=f"(BIGINT[]) → BIGINT<br>(DECIMAL(p,s)[]) → DECIMAL(38,s), p up to {WIDEST}<br>(DOUBLE[]) → DOUBLE",
    ),
    Function(
        "list_avg", "list_avg(x)", "The exact sum as a DOUBLE, divided by the number of items that are not NULL.",
        (_one(mean),), (("list_avg([3, NULL, 2])", 2.5),),
        takes=f"(BIGINT[]) → DOUBLE<br>(DECIMAL(p,s)[]) → DOUBLE, p up to {WIDEST}<br>(DOUBLE[]) → DOUBLE",
    ),
    Function(
        "array_to_string", "array_to_string(x, y)", "The texts that are not NULL, with y between them.",
        (_beside(lambda item: (VARCHAR,) if item == VARCHAR else (NULL, NULL), lambda item: Overload(
            (list_of(VARCHAR), VARCHAR), VARCHAR, lambda xs, by: by.join(present(xs)),
            _DUCKDB_JOIN, "array_join({0}, {1})",
        )),),
        (("array_to_string(['a', NULL, 'b'], '-')", "a-b"),), aliases=("array_join", "list_to_string"),
        takes="(VARCHAR[], VARCHAR) → VARCHAR",
    ),
)  # fmt: skip
MAKERS: dict[str, Made] = {
    "=": _compared("=", equal_lists),
    "<>": _compared("<>", lambda a, b: not equal_lists(a, b)),
    "||": Made(FUNCTIONS[5].overloads[0], "two LISTs of one type → LIST", (("[1] || [2]", (1, 2)),)),  # type: ignore[arg-type]
    "length": Made(
        _one(lambda item: Overload((list_of(item),), BIGINT, len, "len({0})", "CAST(array_size({0}) AS BIGINT)")),
        "(LIST) → BIGINT, how many items", (("len([1, NULL])", 2),),
        aliases=("array_length", "list_length", "cardinality"),
    ),
}  # fmt: skip
