"""`materialize`: files into the archive, and the online state from it."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import EngineOption, JsonOption, ProjectOption, note, say_done, say_json, say_next, say_table

if TYPE_CHECKING:
    from onefold.features.definitions import EventSource
    from onefold.streaming.materialize import BuiltState
    from onefold.wiring import Workspace


def materialize(
    full: Annotated[bool, typer.Option("--full", help="Build every state again, also those that are whole.")] = False,
    engine: EngineOption = "duckdb",
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Import the sources' files and build the online state."""
    from onefold.importing import import_sources
    from onefold.progress import counted, on_stderr
    from onefold.streaming.materialize import materialize as build
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    spark = workspace.engine(engine)
    rows = import_sources(workspace, workspace.project, partial(counted, on_stderr()))
    with workspace.store() as store, counted(on_stderr(), "build state") as report:
        built = build(
            workspace.project, store=store, archive=workspace.archive, full=full, reach=workspace.settings.reach,
            progress=report if spark is None else None, spark=spark, tasks=report,
        )  # fmt: skip
        store.flush()
    refused = {name: workspace.dead_letters.count(name) for name in rows}
    if json:
        say_json({"imported": rows, "dead_letters": refused, "built": [_built_json(b) for b in built]})
        return
    _say_refused(workspace, refused)
    _say_built(rows, built)
    _say_example(workspace)


def _built_json(built: BuiltState) -> dict[str, Any]:
    names = ("source", "entity", "epoch", "layout", "strings", "events")
    return {name: getattr(built, name) for name in names}


def _say_built(rows: dict[str, int], built: Sequence[BuiltState]) -> None:
    new = ", ".join(f"{n:,} rows of {name}" for name, n in rows.items() if n)
    say_done(f"imported {new}" if new else "no new rows to import")
    if built:
        say_table(
            ("state", "keys", "events"),
            [(f"{b.source} by {b.entity}", f"{b.strings:,}", f"{b.events:,}") for b in built],
        )
    else:
        note("all states are whole; --full builds them again")


def _say_refused(workspace: Workspace, refused: dict[str, int]) -> None:
    for name, count in refused.items():
        if count:
            path = workspace.dead_letters.path(name)
            note(f"{count:,} events of {name} are dead letters, each with its reason in {path}")


def _say_example(workspace: Workspace) -> None:
    """How to ask for a value, with a key that has one where the files tell."""
    view = next(iter(workspace.project.views.values()), None)
    if view is None:
        return
    keys = _some_key(workspace, view.definition.source, view.definition.entity.key_names)
    options = " ".join(f"--key {name}={value}" for name, value in keys.items())
    say_next(f"onefold get {view.name} {options}", "see it online")


def _some_key(workspace: Workspace, source: EventSource, names: Sequence[str]) -> dict[str, str]:
    """The key of some event without a NULL in it."""
    import pyarrow.parquet as pq

    for file in workspace.archive.files(source.name):
        for row in pq.ParquetFile(file).read_row_group(0, columns=list(names)).slice(0, 100).to_pylist():
            if all(row[n] is not None for n in names):
                return {n: row[n] if isinstance(row[n], str) else json_.dumps(row[n], default=str) for n in names}
    return dict.fromkeys(names, "...")
