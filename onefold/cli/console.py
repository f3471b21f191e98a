"""What the commands share: their options, and how they answer. Results go to stdout, all else to stderr.

rich is imported when there is something to draw, so that a `--json` answer does not wait for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.features.errors import OnefoldError

if TYPE_CHECKING:
    from rich.console import Console

GOOD, FAILED, MISUSED, DIFFERENT = 0, 1, 2, 3
"""Exit codes."""

_MISUSE = {"config", "not-found", "input"}

ProjectOption = Annotated[
    str | None,
    typer.Option("--project", "-p", metavar="DIR", help="The project's folder. Default: found from here upwards."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON, errors too.")]
EngineOption = Annotated[str, typer.Option(help="What computes it: duckdb, or spark as [spark] says.")]


_PIPE_WIDTH = 200
"""Columns of a table that goes to a file or a pipe."""


def out() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def err() -> Console:
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


def say_json(answer: object) -> None:
    """One JSON document on stdout; NaN and infinities must be texts already."""
    print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=None, header_style="dim")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    out().print(table)


def say_done(text: str) -> None:
    err().print(f"[green]done[/green]  {_plain(text)}")


def say_next(command: str, why: str) -> None:
    """The command that comes next, and what it gives."""
    err().print(f"[dim]next[/dim]  [bold]{_plain(command)}[/bold]  [dim]{_plain(why)}[/dim]")


def note(text: str) -> None:
    err().print(f"[dim]{_plain(text)}[/dim]")


def exit_code(error: OnefoldError) -> int:
    return MISUSED if error.code in _MISUSE else FAILED


def say_error(error: OnefoldError, *, as_json: bool) -> None:
    say_failure(error.code, str(error), as_json=as_json)


def say_failure(code: str, message: str, *, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """An error on stderr: a red line, or `{"error": {"code", "message"}}`."""
    if as_json:
        document = {"error": {"code": code, "message": message, **(more or {})}}
        print(json.dumps(document, ensure_ascii=False), file=sys.stderr)
    else:
        err().print(f"[bold red]error[/bold red]  {_plain(message)}")


def pairs(values: Sequence[str], *, option: str) -> dict[str, str]:
    """`name=value` options as a mapping; misuse where one has no '=' or a name comes twice."""
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
        found[name] = value
    return found


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
