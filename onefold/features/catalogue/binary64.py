"""The exponent and leading bits of a DOUBLE, by exact steps that every SQL engine has.

A magnitude is brought into [2^19, 2^53] by a power of two from a list, cut to a whole number, and its bits are
counted. A logarithm says which power is taken; where it is off by a little, another one is, and the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

LEAST = -960
"""The least exponent that the steps are for."""
_STEP, _UP = 32, 20
_BASES = range(LEAST, 1024, _STEP)


@dataclass(frozen=True, slots=True)
class Steps:
    """How an engine spells the steps: SQL in, SQL out; all of them give NULL of NULL, and none raises.

    pick: of powers of two, by their exponents, the one at an index.
    """

    whole: Callable[[str], str]
    left: Callable[[str, str], str]
    right: Callable[[str, str], str]
    pick: Callable[[Iterable[int], str], str]
    divide: str

    def _base(self, magnitude: str) -> str:
        """The index of the base that lies at a magnitude (DOUBLE, from 2^-960 on), or a little above or below it."""
        place = self.whole(f"floor((log2({magnitude}) + {double(-LEAST)}) / {double(_STEP)})")
        return f"least(greatest({place}, 0), {len(_BASES) - 1})"

    def _scaled(self, magnitude: str) -> str:
        return f"(({magnitude}) * {self.pick((_UP - base for base in _BASES), self._base(magnitude))})"

    def _width(self, magnitude: str) -> str:
        return f"length(bin({self.whole(f'floor({self._scaled(magnitude)})')}))"

    def exponent(self, magnitude: str) -> str:
        """BIGINT e with 2^e <= magnitude < 2^(e+1)."""
        return f"({self._base(magnitude)} * {_STEP} + {LEAST - _UP - 1} + {self._width(magnitude)})"

    def leading(self, magnitude: str) -> str:
        """The first 8 bits, BIGINT from 128 to 255."""
        return self.right(self.whole(f"floor({self._scaled(magnitude)})"), f"({self._width(magnitude)} - 8)")

    def mantissa(self, magnitude: str) -> str:
        """All 53 bits, BIGINT from 2^52 to 2^53 - 1."""
        power = f"CAST({self.left('CAST(1 AS BIGINT)', f'(53 - {self._width(magnitude)})')} AS DOUBLE)"
        return self.whole(f"{self._scaled(magnitude)} * {power}")

    def times_power(self, whole: str, exponent: str) -> str:
        """DOUBLE whole * 2^exponent, exact, for a BIGINT below 2^20 and -967 <= exponent."""
        low = LEAST - 7
        place = f"(({exponent} + {-low}) {self.divide} {_STEP})"
        moved = self.left(whole, f"(({exponent} + {-low}) % {_STEP})")
        return f"CAST({moved} AS DOUBLE) * {self.pick(range(low, 1024, _STEP), place)}"


def double(value: float) -> str:
    return f"CAST('{float(value)!r}' AS DOUBLE)"


DUCKDB = Steps(
    whole=lambda x: f"TRY_CAST({x} AS BIGINT)",
    left=lambda x, n: f"({x} << {n})",
    right=lambda x, n: f"({x} >> {n})",
    pick=lambda powers, at: f"([{', '.join(f'{2.0**e!r}' for e in powers)}])[{at} + 1]",
    divide="//",
)
SPARK = Steps(
    whole=lambda x: f"try_cast({x} AS BIGINT)",
    left=lambda x, n: f"shiftleft({x}, try_cast({n} AS INT))",
    right=lambda x, n: f"shiftright({x}, try_cast({n} AS INT))",
    pick=lambda powers, at: f"get(array({', '.join(f'{2.0**e!r}D' for e in powers)}), try_cast({at} AS INT))",
    divide="div",
)
