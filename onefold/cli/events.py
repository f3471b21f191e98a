"""`materialize` and `stream`: events into the archive and the online state."""

from __future__ import annotations

import json as json_
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import EngineOption, JsonOption, ProjectOption, note, say_done, say_json, say_next, say_table

if TYPE_CHECKING:
    from onefold.features.definitions import EventSource
    from onefold.progress import Tracker
    from onefold.streaming.feeds import FileFeed
    from onefold.streaming.materialize import BuiltState
    from onefold.streaming.report import StepReport
    from onefold.streaming.worker import Worker
    from onefold.wiring import Workspace

_PAUSE = 0.2
"""Seconds between two polls of feeds that had nothing."""


def materialize(
    full: Annotated[bool, typer.Option("--full", help="Build every state again, also those that are whole.")] = False,
    engine: EngineOption = "duckdb",
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Import the sources' files and build the online state."""
    from onefold.progress import counted, on_stderr
    from onefold.streaming.materialize import materialize as build
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    spark = workspace.engine(engine)
    rows = {source.name: _import(workspace, source) for source in workspace.project.sources.values()}
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


def stream(
    feed: Annotated[
        list[str],
        typer.Option(
            "--feed", "-f", metavar="SOURCE=FILE", help="JSON lines of a source; SOURCE@NAME=FILE names the feed."
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of the files. Default: follow them.")] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Take events from files of JSON lines, as they come.

    A feed's name tells where reading goes on; it is the file's path unless one is given.
    """
    from onefold.progress import on_stderr
    from onefold.streaming.feeds import FixedGroup
    from onefold.streaming.report import StepReport
    from onefold.streaming.worker import Worker
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    feeds = [_feed(workspace, text, complete=once) for text in feed]
    total = StepReport()
    if not once:
        names = ", ".join(f.name for f in feeds)
        note(f"following {names}; stop with Ctrl-C")
    with workspace.store() as store, _until_stopped() as stopped, on_stderr()("stream", None) as tracker:
        worker = Worker(
            workspace.project, store=store, archive=workspace.archive, feeds=FixedGroup(feeds),
            dead_letters=workspace.dead_letters, batch=workspace.settings.stream.batch,
            archive_every=workspace.settings.stream.archive_every,
            reach=workspace.settings.reach,
        )  # fmt: skip
        try:
            _run(worker, total, tracker, stopped, once=once)
        finally:
            worker.close()
            store.flush()
    counts = {name: getattr(total, name) for name in StepReport.__slots__ if name != "archived"}
    if json:
        say_json(counts)
        return
    if total.records:
        taken = "event taken" if total.events == 1 else "events taken"
        say_done(f"{total.events:,} {taken} of {total.records:,} lines, into {total.appended:,} appends to state")
    else:
        say_done(f"nothing new in {', '.join(f.name for f in feeds)}")
    _say_troubles(total)
    _say_refused(workspace, {f.source: workspace.dead_letters.count(f.source) for f in feeds} if total.refused else {})


def _say_troubles(total: StepReport) -> None:
    if total.value_errors:
        note(f"{total.value_errors:,} value errors (overflows, failed casts): those values are NULL; see docs/sql.md")
    if total.corrupt:
        note(f"{total.corrupt:,} states could not be read: `onefold materialize --full` builds them again")
    if total.hot:
        note(f"{total.hot:,} appends went to states above 1 MB: shorten the longest window of their views")


def _run(worker: Worker, total: StepReport, tracker: Tracker, stopped: threading.Event, *, once: bool) -> None:
    """Step until stopped or, with `once`, until nothing more comes; what was taken is archived whenever it is quiet."""
    quiet = False
    while not stopped.is_set():
        report = worker.step()
        total.add(report)
        tracker.advance(report.records)
        if report.records:
            quiet = False
            continue
        if once:
            return
        if not quiet:
            worker.flush()
            quiet = True
        stopped.wait(_PAUSE)


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a step is finished before the process ends."""
    stopped = threading.Event()
    before = {s: signal.signal(s, lambda *_: stopped.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _import(workspace: Workspace, source: EventSource) -> int:
    """Import what is new of a source's files; how many rows."""
    from onefold.progress import counted, on_stderr

    rows = 0
    for branch in source.branches or (None,):
        path = source.path if branch is None else branch.path
        if path is not None:
            name = source.name if branch is None else f"{source.name}.{branch.name}"
            with counted(on_stderr(), f"import {name}") as report:
                files = _files(workspace, name, path)
                rows += workspace.archive.import_files(source, files, branch=branch, progress=report)
    return rows


def _files(workspace: Workspace, source: str, path: str) -> list[Path]:
    """The Parquet files of a path: a file, a folder of them, or a pattern as `data/orders-*.parquet`."""
    from onefold.features.errors import InputError

    root = workspace.settings.root
    if any(c in path for c in "*?["):
        found = sorted(Path(root.anchor).glob(str((root / path).relative_to(root.anchor))))
    elif (root / path).is_dir():
        found = sorted((root / path).glob("*.parquet"))
    else:
        return [root / path]
    if not found:
        raise InputError(f"source {source!r}: no Parquet file at {root / path}; give its path relative to {root}")
    return found


def _feed(workspace: Workspace, text: str, *, complete: bool) -> FileFeed:
    from onefold.features.errors import InputError
    from onefold.streaming.feeds import FileFeed

    source, equals, path = text.partition("=")
    source, _, name = source.partition("@")
    if not (source and equals and path):
        raise typer.BadParameter(f"{text!r} is not SOURCE=FILE", param_hint="--feed")
    file, root = Path(path).resolve(), workspace.settings.root
    if complete and not file.exists():
        raise InputError(f"feed of source {source!r}: there is no file {str(file)!r}; without --once it is waited for")
    default = str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
    return FileFeed(file, source=source, name=name or default, complete=complete)


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
