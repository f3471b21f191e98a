"""`init`, `plan`, `apply`: from nothing to definitions that are on record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import (
    DIFFERENT,
    JsonOption,
    ProjectOption,
    note,
    out,
    say_done,
    say_json,
    say_next,
)

if TYPE_CHECKING:
    from onefold.wiring import Workspace


def init(
    name: Annotated[str, typer.Argument(help="Name of the project: letters, digits and '_'.")],
    folder: Annotated[str | None, typer.Option(metavar="DIR", help="Where to make it. Default: ./NAME.")] = None,
) -> None:
    """Make a project that works as it stands."""
    from onefold.scaffold import create

    made = create(name, Path(folder or name))
    say_done(f"project {name!r} in {made}: {made.name}/features/definitions.py holds its features")
    say_next(f"cd {folder or name} && onefold apply", "put the definitions on record")


def plan(
    project: ProjectOption = None,
    json: JsonOption = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 where there is a difference.")] = False,
) -> None:
    """Show what apply would change, object by object."""
    from onefold.cli.plan_text import models_json, show
    from onefold.registry.models import affected_models
    from onefold.registry.of_project import records_of
    from onefold.registry.plan import Plan
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    found = Plan.between(workspace.registry.applied(), records_of(workspace.project))
    models = affected_models(workspace.settings.models, workspace.project)
    if json:
        say_json({"changes": [c.to_json() for c in found.changes], "models": models_json(models)})
    else:
        show(found, models, out())
        if found.changes:
            say_next("onefold apply", "put this on record")
    raise typer.Exit(DIFFERENT if exit_code and found.changes else 0)


def apply(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Check the definitions and put them on record."""
    from onefold.registry.of_project import records_of
    from onefold.registry.plan import Plan
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    wanted = records_of(workspace.project)
    registry = workspace.registry
    if not json and Plan.between(registry.applied(), wanted).changes:
        note(f"writing to {registry.place} through Feast, which takes some seconds to load")
    done = registry.apply(wanted)
    if json:
        say_json({"changes": [c.to_json() for c in done.changes]})
        return
    _say_applied(workspace, [c.to_json() for c in done.changes])


def _say_applied(workspace: Workspace, changes: list[dict[str, Any]]) -> None:
    from onefold.registry.models import affected_models

    counts = {a: sum(c["action"] == a for c in changes) for a in ("added", "changed", "removed")}
    if not changes:
        say_done("nothing to apply: the registry holds these definitions already")
    else:
        say_done("registry: " + ", ".join(f"{n} {action}" for action, n in counts.items() if n))
    for model in affected_models(workspace.settings.models, workspace.project):
        note(
            f"model {model.name} version {model.version} no longer fits: train it again, or `onefold serve` refuses it"
        )
    if any(c["kind"] in ("state", "source") and c["logic"] for c in changes):
        say_next("onefold materialize", "bring the events in and build the online state")
    else:
        say_next("onefold list", "see what there is")
