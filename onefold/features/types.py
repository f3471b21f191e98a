"""The types of values, and the plain Python value that stands for each inside Onefold.

| type      | Python value inside Onefold                                |
|-----------|------------------------------------------------------------|
| BOOLEAN   | bool                                                       |
| BIGINT    | int, -2^63 .. 2^63-1                                       |
| DOUBLE    | float; -0.0 is stored as 0.0, every NaN as one NaN         |
| VARCHAR   | str                                                        |
| TIMESTAMP | int, microseconds since 1970-01-01 UTC, years 0001-9999    |
| DATE      | int, days since 1970-01-01, years 0001-9999                |

NULL is None. DECIMAL and LIST are named so that a definition which asks for them is refused by
name, and not misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onefold.features.errors import DefinitionError, nearest

BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1
TIMESTAMP_MIN, TIMESTAMP_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
DATE_MIN, DATE_MAX = -719_162, 2_932_896
MICROS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DataType:
    """A scalar type; equal by name."""

    name: str

    @property
    def is_numeric(self) -> bool:
        return self in (BIGINT, DOUBLE)

    @property
    def is_key(self) -> bool:
        """Whether an entity key may have it (never DOUBLE)."""
        return self != DOUBLE

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

TYPES: Mapping[str, DataType] = {t.name: t for t in (BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE)}
_SPELLINGS = {
    "BOOL": BOOLEAN, "INT": BIGINT, "INTEGER": BIGINT, "INT64": BIGINT, "LONG": BIGINT,
    "FLOAT64": DOUBLE, "STRING": VARCHAR, "TEXT": VARCHAR, "TIMESTAMPTZ": TIMESTAMP,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed column."""

    name: str
    type: DataType


def parse_type(text: str | DataType) -> DataType:
    """The type that a definition names.

    >>> parse_type("bigint")
    DataType(name='BIGINT')
    """
    if isinstance(text, DataType):
        return text
    word = text.strip().upper()
    if word in TYPES:
        return TYPES[word]
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if word.startswith(("DECIMAL", "NUMERIC", "LIST")) or word.endswith("[]"):
        raise DefinitionError(f"type {text!r} is not supported yet; use DOUBLE, BIGINT or VARCHAR")
    raise DefinitionError(f"type {text!r} is not known{nearest(word, TYPES)}")


def fields(columns: Mapping[str, str | DataType]) -> tuple[Field, ...]:
    """Fields of a mapping of name to type, in its order."""
    return tuple(Field(name, _type_of(name, kind)) for name, kind in columns.items())


def _type_of(column: str, kind: str | DataType) -> DataType:
    try:
        return parse_type(kind)
    except DefinitionError as error:
        raise DefinitionError(f"column {column!r}: {error.message}") from None
