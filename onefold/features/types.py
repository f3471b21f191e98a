"""The types of values, and the plain Python value that stands for each inside Onefold.

| type      | Python value inside Onefold                                |
|-----------|------------------------------------------------------------|
| BOOLEAN   | bool                                                       |
| BIGINT    | int, -2^63 .. 2^63-1                                       |
| DOUBLE    | float; -0.0 is stored as 0.0, every NaN as one NaN         |
| VARCHAR   | str                                                        |
| TIMESTAMP | int, microseconds since 1970-01-01 UTC, years 0001-9999    |
| DATE      | int, days since 1970-01-01, years 0001-9999                |
| DECIMAL(p,s) | int, the value times 10^s, of at most p digits; p <= 38 |
| T[]       | tuple of values of the scalar type T, None for NULL items  |

NULL is None. A LIST is written `T[]` or `LIST(T)`, a DECIMAL with its digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from onefold.features.errors import DefinitionError, nearest

BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1
TIMESTAMP_MIN, TIMESTAMP_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
DATE_MIN, DATE_MAX = -719_162, 2_932_896
MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DataType:
    """A type; equal by name. Make a DECIMAL with `decimal`, a LIST with `list_of`.

    precision, scale: the digits of a DECIMAL in all, and of these the ones behind the point. item: the type of the
    items of a LIST, None for a scalar type.
    """

    name: str
    precision: int = field(default=0, compare=False, repr=False)
    scale: int = field(default=0, compare=False, repr=False)
    item: DataType | None = field(default=None, compare=False, repr=False)

    @property
    def is_decimal(self) -> bool:
        return self.precision > 0

    @property
    def is_list(self) -> bool:
        return self.item is not None

    @property
    def is_numeric(self) -> bool:
        return self.is_decimal or self in (BIGINT, DOUBLE)

    @property
    def is_key(self) -> bool:
        """Whether an entity key or an event id may have it: never DOUBLE, DECIMAL or LIST."""
        return self in (VARCHAR, BIGINT, BOOLEAN, DATE, TIMESTAMP)

    def __str__(self) -> str:
        return self.name


BOOLEAN = DataType("BOOLEAN")
BIGINT = DataType("BIGINT")
DOUBLE = DataType("DOUBLE")
VARCHAR = DataType("VARCHAR")
TIMESTAMP = DataType("TIMESTAMP")
DATE = DataType("DATE")
NULL = DataType("NULL")
"""The type of a bare NULL; it takes the type of what it stands beside, and none has it alone."""

MAX_PRECISION = 38
TYPES: Mapping[str, DataType] = {t.name: t for t in (BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE)}
"""The scalar types that have no parameters, by name."""
_SPELLINGS = {
    "BOOL": BOOLEAN, "INT": BIGINT, "INTEGER": BIGINT, "INT64": BIGINT, "LONG": BIGINT,
    "FLOAT64": DOUBLE, "STRING": VARCHAR, "TEXT": VARCHAR, "TIMESTAMPTZ": TIMESTAMP,
}  # fmt: skip
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC|DEC)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?", re.ASCII)
_LIST = re.compile(r"LIST\s*\((.*)\)|(.*?)\s*\[\s*\]", re.DOTALL)


def decimal(precision: int, scale: int) -> DataType:
    """DECIMAL(precision, scale): DefinitionError unless 1 <= precision <= 38 and 0 <= scale <= precision.

    >>> decimal(10, 2)
    DataType(name='DECIMAL(10,2)')
    """
    if not 1 <= precision <= MAX_PRECISION:
        raise DefinitionError(
            f"DECIMAL({precision},{scale}) has {precision} digits, and a DECIMAL has from 1 to {MAX_PRECISION}"
        )
    if not 0 <= scale <= precision:
        raise DefinitionError(
            f"DECIMAL({precision},{scale}) has {scale} digits behind the point, of {precision} in all; "
            f"write DECIMAL({min(max(precision, scale), MAX_PRECISION)},{scale})"
        )
    return DataType(f"DECIMAL({precision},{scale})", precision, scale)


def list_of(item: DataType) -> DataType:
    """The LIST of a scalar type; DefinitionError for a list of lists.

    >>> list_of(BIGINT)
    DataType(name='BIGINT[]')
    """
    if item.is_list:
        raise DefinitionError(f"{item.name}[] is a list of lists, and the items of a LIST are scalar; use {item.name}")
    return DataType(f"{item.name}[]", item=item)


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed column."""

    name: str
    type: DataType


def parse_type(text: str | DataType) -> DataType:
    """The type that a definition names.

    >>> parse_type("bigint"), parse_type("numeric(10, 2)"), parse_type("LIST(BIGINT)")
    (DataType(name='BIGINT'), DataType(name='DECIMAL(10,2)'), DataType(name='BIGINT[]'))
    """
    if isinstance(text, DataType):
        return text
    word = text.strip().upper()
    if word in TYPES:
        return TYPES[word]
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if found := _LIST.fullmatch(word):
        return list_of(parse_type(found[1] or found[2] or ""))
    if found := _DECIMAL.fullmatch(word):
        if found[1] is None:
            raise DefinitionError(
                f"type {text!r} does not say its digits; write them, as DECIMAL(18,2): 18 in all, 2 behind the point"
            )
        return decimal(int(found[1]), int(found[2] or 0))
    if word in ("LIST", "ARRAY"):
        raise DefinitionError(f"type {text!r} does not say of what; write BIGINT[] or another scalar type with []")
    raise DefinitionError(f"type {text!r} is not known{nearest(word, (*TYPES, 'DECIMAL(18,2)', 'BIGINT[]'))}")


def fields(columns: Mapping[str, str | DataType]) -> tuple[Field, ...]:
    """Fields of a mapping of name to type, in its order."""
    return tuple(Field(name, _type_of(name, kind)) for name, kind in columns.items())


def _type_of(column: str, kind: str | DataType) -> DataType:
    try:
        return parse_type(kind)
    except DefinitionError as error:
        raise DefinitionError(f"column {column!r}: {error.message}") from None
