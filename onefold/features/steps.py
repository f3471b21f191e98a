"""Straight-line programs in SQL: each step has a name and may use earlier ones; steps of one depth share a SELECT.

`Number` takes part in Python arithmetic and records it, so that an algorithm over floats, such as
`exact.variance`, is written once and becomes SQL by being run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Number:
    """A value of a program: SQL text that names it, and the depth at which it is there."""

    program: Program
    sql: str
    depth: int

    def __add__(self, other: Operand) -> Number:
        return self.program.let("({0} + {1})", self, other)

    def __sub__(self, other: Operand) -> Number:
        return self.program.let("({0} - {1})", self, other)

    def __mul__(self, other: Operand) -> Number:
        return self.program.let("({0} * {1})", self, other)

    def __truediv__(self, other: Operand) -> Number:
        return self.program.let("({0} / {1})", self, other)

    def __le__(self, other: Operand) -> Number:
        return self.program.let("({0} <= {1})", self, other)


Operand = Number | float


class Program:
    """Collects steps; `render` nests them around a base query. Equal steps are one.

    double: how the engine writes a DOUBLE literal.
    """

    def __init__(self, double: Callable[[float], str]) -> None:
        self._double = double
        self._levels: list[list[str]] = []
        self._known: dict[str, Number] = {}

    def column(self, name: str) -> Number:
        """A column of the base query."""
        return Number(self, name, 0)

    def let(self, template: str, *args: Operand) -> Number:
        """A new step: `template` with {0}, {1} for its arguments."""
        sql = template.format(*(a.sql if isinstance(a, Number) else self._double(float(a)) for a in args))
        if sql not in self._known:
            depth = max((a.depth for a in args if isinstance(a, Number)), default=0)
            name = f"_{len(self._known)}"
            while len(self._levels) <= depth:
                self._levels.append([])
            self._levels[depth].append(f"{sql} AS {name}")
            self._known[sql] = Number(self, name, depth + 1)
        return self._known[sql]

    def where(self, condition: Operand, a: Operand, b: Operand) -> Number:
        return self.let("CASE WHEN {0} THEN {1} ELSE {2} END", condition, a, b)

    def render(self, base: str, outputs: Sequence[str]) -> str:
        """SELECT the outputs over all steps over the base query."""
        query = base
        for level in self._levels:
            query = f"SELECT *, {', '.join(level)}\nFROM ({query})"
        return f"SELECT {', '.join(outputs)}\nFROM ({query})"
