"""Choosing between values, all of one type."""

from __future__ import annotations

from onefold.features.catalogue.entry import Function

FUNCTIONS = (
    Function(
        "coalesce", "coalesce(x, y, ...)", "The first that is not NULL.", (), (("coalesce(NULL, 2, 3)", 2),),
        nulls="passed over; NULL where all are", takes="any of one type → that type",
    ),
    Function(
        "least", "least(x, y, ...)", "The least.", (), (("least(3, NULL, 2)", 2),),
        nulls="passed over; NULL where all are", takes="any of one type → that type",
    ),
    Function(
        "greatest", "greatest(x, y, ...)", "The greatest; NaN above all.", (), (("greatest('a', 'B')", "a"),),
        nulls="passed over; NULL where all are", takes="any of one type → that type",
    ),
)  # fmt: skip
FORMS = (
    Function(
        "case", "CASE WHEN x THEN y ELSE z END",
        "The value of the first branch whose condition is true; NULL without ELSE.", (),
        (("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"), ("CASE 3 WHEN 3 THEN 'c' END", "c")),
        nulls="a condition that is NULL is not true", takes="values of one type → that type",
    ),
    Function(
        "if", "if(x, y, z)", "y where x is true, else z.", (), (("if(2 > 1, 'a', 'b')", "a"), ("if(NULL, 1, 2)", 2)),
        aliases=("iif",), nulls="a condition that is NULL is not true", takes="(BOOLEAN, two of one type) → that type",
    ),
    Function(
        "ifnull", "ifnull(x, y)", "y where x is NULL, else x.", (), (("ifnull(CAST(NULL AS BIGINT), 3)", 3),),
        aliases=("nvl",), nulls="as `coalesce`", takes="two of one type → that type",
    ),
    Function(
        "nullif", "nullif(x, y)", "NULL where both are equal, else x.", (),
        (("nullif(3, 3)", None), ("nullif(3, 4)", 3)), nulls="x", takes="two of one type → that type",
    ),
)  # fmt: skip
