"""What an entry of the catalogue says: a function's names, meaning and examples, and its typed forms.

Python meanings are strict: they are called with no NULL among their arguments, and may return None for a
value error. No function raises, and none returns -0.0, on any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onefold.features.types import BIGINT, BIGINT_MAX, BIGINT_MIN, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType

B1, B2, B3 = (BIGINT,), (BIGINT, BIGINT), (BIGINT, BIGINT, BIGINT)
D1, D2 = (DOUBLE,), (DOUBLE, DOUBLE)
V1, V2, V3 = (VARCHAR,), (VARCHAR, VARCHAR), (VARCHAR, VARCHAR, VARCHAR)
SCALARS = (BIGINT, VARCHAR, TIMESTAMP, DATE, BOOLEAN, DOUBLE)


@dataclass(frozen=True, slots=True)
class Overload:
    """One typed form. `duckdb` and `spark` have {0}, {1} for its arguments; without `spark`, that of DuckDB is taken.

    may_null: it may give NULL of values; overflows: that NULL is a value error, and counted.
    inexact: marks `<= 1 ulp`.
    """

    args: tuple[DataType, ...]
    result: DataType
    python: Callable[..., object]
    duckdb: str
    spark: str = ""
    may_null: bool = False
    overflows: bool = False
    inexact: bool = False

    def __post_init__(self) -> None:
        if not self.spark:
            object.__setattr__(self, "spark", self.duckdb)


Maker = Callable[[Sequence[DataType]], Overload | None]
"""Makes the overload for argument types that no list can hold, as DECIMAL(p,s) and T[]; None where it has none."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a file of another type adds to an entry: a maker, its types in words, and examples."""

    maker: Maker
    signature: str
    examples: tuple[tuple[str, object], ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function or operator of the SQL subset.

    written: how it is used, with x, y, z for its arguments. examples: SQL and the JSON form of its value, a LIST as a
    tuple. nulls: what NULL arguments give. takes: its types in words, where there are no overloads or too many to list;
    made: those of its makers.
    Without overloads it is spelled out by each compiler, or read as other functions (see `functions.FORMS`).
    """

    name: str
    written: str
    meaning: str
    overloads: tuple[Overload | Maker, ...]
    examples: tuple[tuple[str, object], ...]
    aliases: tuple[str, ...] = ()
    nulls: str = "NULL"
    takes: str = ""
    made: tuple[str, ...] = ()

    def beside(self, more: Made | None) -> Function:
        """The entry with a maker beside its overloads."""
        if more is None:
            return self
        return replace(
            self, overloads=(*self.overloads, more.maker), examples=(*self.examples, *more.examples),
            aliases=(*self.aliases, *more.aliases), made=(*self.made, *([more.signature] if more.signature else [])),
        )  # fmt: skip

    @property
    def listed(self) -> tuple[Overload, ...]:
        """The overloads that can be listed."""
        return tuple(o for o in self.overloads if isinstance(o, Overload))

    @property
    def is_called(self) -> bool:
        """Whether SQL calls it by its name."""
        return self.written.startswith(f"{self.name}(")


def bigint(value: int) -> int | None:
    """The number, or None where it is outside BIGINT."""
    return value if BIGINT_MIN <= value <= BIGINT_MAX else None
