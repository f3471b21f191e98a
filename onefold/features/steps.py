"""Straight-line programs in SQL: each step has a name and may use earlier ones; steps of one depth share a SELECT.

`Number` takes part in Python arithmetic and records it, so that an algorithm over floats, such as
`exact.variance`, is written once and becomes SQL by being run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
_PLACE = re.compile(r"\{(\d+)\}")


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
        self._known: dict[str, Number] = {}
        self._steps: dict[str, _Step] = {}

    def column(self, name: str) -> Number:
        """A column of the base query."""
        return Number(self, name, 0)

    def let(self, template: str, *args: Operand) -> Number:
        """A new step: `template` with {0}, {1} for its arguments."""
        words = [a.sql if isinstance(a, Number) else self._double(float(a)) for a in args]
        sql = template.format(*words)
        if sql not in self._known:
            depth = max((a.depth for a in args if isinstance(a, Number)), default=0)
            name = f"_{len(self._known)}"
            self._steps[name] = _Step(template, tuple(words), depth)
            self._known[sql] = Number(self, name, depth + 1)
        return self._known[sql]

    def where(self, condition: Operand, a: Operand, b: Operand) -> Number:
        return self.let("CASE WHEN {0} THEN {1} ELSE {2} END", condition, a, b)

    def render(self, base: str, outputs: Sequence[str]) -> str:
        """SELECT the outputs over all steps over the base query."""
        query = base
        for level in _levels(self._steps):
            query = f"SELECT *, {', '.join(f'{step.sql} AS {name}' for name, step in level)}\nFROM ({query})"
        return f"SELECT {', '.join(outputs)}\nFROM ({query})"

    def render_slim(self, base: str, outputs: Sequence[str], *, columns: Sequence[str]) -> str:
        """The same, with less for the engine to plan: what is used once stands where it is used, and each SELECT
        passes on what is used above it. columns: those of the base query."""
        asked = _names(*outputs)
        steps = _inlined(self._steps, asked)
        levels = _levels(steps)
        used = [_names(*(step.sql for _, step in level)) for level in levels]
        query, held = base, [*columns]
        for i, level in enumerate(levels):
            needed = asked.union(*used[i + 1 :])
            held = [name for name in held if name in needed]
            items = [*held, *(f"{step.sql} AS {name}" for name, step in level)]
            query = f"SELECT {', '.join(items)}\nFROM ({query})"
            held += [name for name, _ in level]
        return f"SELECT {', '.join(outputs)}\nFROM ({query})"


@dataclass(frozen=True, slots=True)
class _Step:
    template: str
    words: tuple[str, ...]
    depth: int

    @property
    def sql(self) -> str:
        return self.template.format(*self.words)


def _levels(steps: Mapping[str, _Step]) -> list[list[tuple[str, _Step]]]:
    """The steps by depth."""
    levels: list[list[tuple[str, _Step]]] = []
    for name, step in steps.items():
        while len(levels) <= step.depth:
            levels.append([])
        levels[step.depth].append((name, step))
    return levels


def _names(*sql: str) -> set[str]:
    return {name for text in sql for name in _WORD.findall(text)}


def _inlined(steps: Mapping[str, _Step], asked: set[str]) -> dict[str, _Step]:
    """The steps but for those that one other step alone uses, once: these stand in it."""
    uses = Counter(
        word for step in steps.values() for i in _PLACE.findall(step.template) for word in [step.words[int(i)]]
    )
    kept: dict[str, _Step] = {}
    inside: dict[str, str] = {}
    depth: dict[str, int] = {}
    for name, step in steps.items():
        words = tuple(inside.get(word, word) for word in step.words)
        depth[name] = max((depth[word] for word in step.words if word in depth), default=0)
        if uses[name] == 1 and name not in asked:
            inside[name] = f"({step.template.format(*words)})"
        else:
            kept[name] = _Step(step.template, words, depth[name])
            depth[name] += 1
    return kept
