"""LIKE: `%` is any text, `_` is any one code point, newlines too; there is no escape but a declared one."""

from __future__ import annotations

import re
from functools import lru_cache

from onefold.features.catalogue.entry import V2, Function, Overload
from onefold.features.types import BOOLEAN

_WILD = {"%": ".*", "_": "."}
_SPECIAL = r"\.[](){}*+?^$|"


@lru_cache(maxsize=1024)
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


def regex(pattern: str, escape: str = "") -> str | None:
    """A LIKE pattern as a regular expression of Python, RE2 and Java; None for an escape before nothing special.

    >>> regex("50!%_", "!")
    '(?s:50%.)'
    """
    made, characters = "", iter(pattern)
    for c in characters:
        wild = _WILD
        if c == escape:
            c, wild = next(characters, ""), {}
            if c not in ("%", "_", escape):
                return None
        made += wild.get(c) or (f"\\{c}" if c in _SPECIAL else c)
    return f"(?s:{made})"


def _like(text: str, pattern: str) -> bool:
    return _compiled(regex(pattern) or "").fullmatch(text) is not None


# Spark's own LIKE quotes the two halves of a code point beyond U+FFFF apart, and then finds none.
_SPARK_REGEX = (
    r"replace(replace(regexp_replace({1}, '([\\\\.\\[\\](){{}}*+?^\u0024|])', '\\\\\u00241'), '%', '.*'), '_', '.')"
)
FUNCTIONS = (
    Function(
        "like", "x LIKE y", "Whether all of x fits the pattern y; also NOT LIKE.",
        (
            Overload(
                V2, BOOLEAN, _like, "(({0}) LIKE ({1}))", rf"rlike({{0}}, concat('\\A(?s:', {_SPARK_REGEX}, ')\\z'))"
            ),
        ),
        (("'abc' LIKE 'a_%'", True), ("'abc' NOT LIKE 'b%'", True)),
    ),
    Function(
        "like_escaped", "x LIKE y ESCAPE z",
        "As LIKE; the character z before a %, _ or z in y means just that. y and z are constants.",
        (
            Overload(
                V2, BOOLEAN, lambda s, p: _compiled(p).fullmatch(s) is not None, "regexp_full_match({0}, {1})",
                r"rlike({0}, concat('\\A', {1}, '\\z'))",
            ),
        ),
        (("'50%' LIKE '50!%' ESCAPE '!'", True), ("'501' LIKE '50!%' ESCAPE '!'", False)),
    ),
)  # fmt: skip
FORMS = (
    Function(
        "ilike", "x ILIKE y", "LIKE with ASCII letters of both cases alike.", (), (("'ABC' ILIKE 'a%'", True),),
        takes="(VARCHAR, VARCHAR) → BOOLEAN",
    ),
)  # fmt: skip
