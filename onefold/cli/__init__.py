"""The command line. Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from onefold.cli import console
from onefold.cli.demo import demo
from onefold.cli.events import materialize
from onefold.cli.explain import explain
from onefold.cli.from_feast import import_feast
from onefold.cli.inspect import describe, list_
from onefold.cli.keys import keys_app
from onefold.cli.letters import dead_letters
from onefold.cli.models import serve, train, training_set
from onefold.cli.project import apply, init, plan
from onefold.cli.proof import verify
from onefold.cli.stream import stream_app
from onefold.cli.values import get
from onefold.features.errors import OnefoldError

DEBUG = "--debug"

app = typer.Typer(
    name="onefold",
    help="Write a feature once, as SQL over events; get the same bits in training and in serving.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn help imports 0.15 s of rich, and is to answer in 0.3 s all told
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from onefold.features import native

        print(f"onefold {version('onefold')} ({native.in_use()} kernel)")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error. Also: ONEFOLD_DEBUG=1.")] = False,
) -> None:
    pass


_COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "plan": plan,
    "apply": apply,
    "list": list_,
    "describe": describe,
    "explain": explain,
    "materialize": materialize,
    "dead-letters": dead_letters,
    "get": get,
    "training-set": training_set,
    "train": train,
    "serve": serve,
    "verify": verify,
    "import-feast": import_feast,
    "demo": demo,
}
for _name, _function in _COMMANDS.items():
    app.command(_name)(_function)
app.add_typer(stream_app, name="stream")
app.add_typer(keys_app, name="keys")


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 good, 1 failed, 2 misused, 3 difference found."""
    given = list(sys.argv[1:] if args is None else args)
    debug = DEBUG in given or os.environ.get("ONEFOLD_DEBUG", "") not in ("", "0")
    as_json = "--json" in given
    try:
        # Typer draws its own usage errors; with --json they are drawn here.
        sys.exit(app([a for a in given if a != DEBUG], prog_name="onefold", standalone_mode=not as_json))
    except typer.TyperException as error:
        console.say_failure("usage", error.format_message(), as_json=as_json)
        sys.exit(error.exit_code)
    except OnefoldError as error:
        if debug:
            raise
        console.say_error(error, as_json=as_json)
        sys.exit(console.exit_code(error))
    except Exception as error:
        if debug:
            raise
        message = f"{type(error).__name__}: {error}; this is a fault of Onefold's: `onefold --debug ...` shows where"
        console.say_failure("internal", message, as_json=as_json)
        sys.exit(console.FAILED)
