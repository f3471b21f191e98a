"""Writes the parts of the pages here that the code itself knows, between their markers.

    python docs/reference.py

A test holds the pages against what this would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from onefold.cli import app
from onefold.features.aggregates import AGGREGATES, ALIASES, AggregateSpec
from onefold.features.functions import GROUPS, Function, Overload
from onefold.features.rules import casts_to
from onefold.features.types import TYPES, decimal

DOCS = Path(__file__).resolve().parent
_MARKER = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NUMBERS = ("port", "days")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def functions() -> Iterator[str]:
    """A table a group: how each function is written, its types, what it means, and what a call of it gives."""
    for group, entries in GROUPS.items():
        yield f"### {group.capitalize()}"
        yield from _table(("function", "types", "meaning", "NULL", "example"), map(_function_row, entries))
        yield ""


def _function_row(entry: Function) -> tuple[str, ...]:
    others = [f"`{alias}`" for alias in entry.aliases]
    marks = ["`<= 1 ulp`"] if any(o.inexact for o in entry.listed) else []
    also = f"Also {', '.join(others)}." if others else ""
    shown = "<br>".join(f"`{sql}` is `{_shown(value)}`" for sql, value in entry.examples)
    meaning = " ".join(part for part in (*marks, entry.meaning, also) if part)
    return f"`{entry.written}`", _signatures(entry), meaning, entry.nulls, shown


def _signatures(entry: Function) -> str:
    return "<br>".join([*([entry.takes] if entry.takes else map(_signature, entry.listed)), *entry.made])


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return "NULL" if value is None else str(value).upper() if isinstance(value, bool) else repr(value)


def _signature(overload: Overload) -> str:
    return f"({', '.join(t.name for t in overload.args)}) → {overload.result.name}"


def aggregates() -> Iterator[str]:
    rows = [
        (f"`{spec.usage}`", _takes(spec),
         _gives(spec), _over_nothing(spec), _aliases(spec.name))
        for spec in AGGREGATES.values()
    ]  # fmt: skip
    return _table(("aggregate", "takes", "gives", "over no value", "other names"), rows)


def _takes(spec: AggregateSpec) -> str:
    also = ["DECIMAL"] if spec.takes_decimals else []
    kinds = ["any type" if k is None else " or ".join([*(t.name for t in k), *also]) for k in spec.args]
    return ", ".join(kinds) or "rows"


def _over_nothing(spec: AggregateSpec) -> str:
    return "NULL" if spec.nullable else "empty" if spec.many else "0"


def _gives(spec: AggregateSpec) -> str:
    kind = spec.gives.name if spec.gives else "as x; of DECIMAL(p,s) DECIMAL(38,s)" if spec.name == "sum" else "as x"
    return kind if not spec.many else "a LIST of x" if spec.gives is None else f"{kind}[]"


def _aliases(name: str) -> str:
    return ", ".join(f"`{alias}`" for alias, real in ALIASES.items() if real == name)


def casts() -> Iterator[str]:
    named = {**TYPES, "DECIMAL": decimal(18, 2)}
    kinds = sorted(named)
    rows = [[have, *("yes" if casts_to(named[have], named[want]) else "" for want in kinds)] for have in kinds]
    return _table(("from \\ to", *kinds), rows)


def commands() -> Iterator[str]:
    """Each command with its arguments and options, as `--help` knows them."""
    for name, command in _named(typer.main.get_command(app)):
        yield f"### onefold {name}"
        yield " ".join((command.help or "").split())
        yield ""
        rows = [_parameter(p) for p in command.params if p.name != "help"]
        if rows:
            yield from _table(("argument or option", "what"), rows)
            yield ""


def _named(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield before + name, command
        if hasattr(command, "commands"):
            yield from _named(command, f"{before}{name} ")


def _parameter(parameter: Any) -> tuple[str, str]:
    about = parameter.help or ""
    if parameter.param_type_name == "argument":
        word = parameter.metavar or parameter.name.upper()
        return f"`{word if parameter.required else f'[{word}]'}`", about
    names = ", ".join([*sorted(parameter.opts, key=len), *parameter.secondary_opts])
    if parameter.is_flag:
        return f"`{names}`", about
    if parameter.default not in (None, False) and "Default" not in about:
        about = f"{about.removesuffix('.')}. Default: {parameter.default}."
    word = parameter.metavar or (
        "NUMBER" if isinstance(parameter.default, int) or parameter.name in _NUMBERS else parameter.name.upper()
    )
    return f"`{names} {word}`", about


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "functions": functions, "aggregates": aggregates, "casts": casts, "commands": commands
}  # fmt: skip


def rendered(text: str) -> str:
    """A page with its generated parts as they are now."""
    return _MARKER.sub(lambda m: m[1] + "\n".join(PARTS[m[2]]()).rstrip() + "\n" + m[3], text)


def pages() -> list[Path]:
    return [path for path in sorted(DOCS.glob("*.md")) if _MARKER.search(path.read_text(encoding="utf-8"))]


def main() -> None:
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = rendered(old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
