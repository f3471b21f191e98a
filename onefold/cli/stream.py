"""`stream`: events from topics or files into the archive and the online state; `stream status`: how far it has come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, say_done, say_json

if TYPE_CHECKING:
    from onefold.features.protocols import DeadLetterSink, FeedGroup
    from onefold.online.opening import OpenStore
    from onefold.streaming.feeds import FileFeed
    from onefold.streaming.report import StepReport
    from onefold.streaming.running import Runner
    from onefold.streaming.worker import Worker
    from onefold.wiring import Workspace

stream_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)

FeedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--feed", "-f", metavar="SOURCE=FILE",
        help="JSON lines of a source, in place of its topic; SOURCE@NAME=FILE names the feed.",
    ),
]  # fmt: skip


_ASKED_FOR = 10.0
"""Seconds for which `stream status` waits for a broker."""


@stream_app.callback(invoke_without_command=True)
def stream(
    context: typer.Context,
    feed: FeedOption = None,
    once: Annotated[bool, typer.Option("--once", help="Stop where there is no more. Default: follow.")] = False,
    engine: Annotated[str, typer.Option(help="What takes the events: worker, or spark as [spark] says.")] = "worker",
    build: Annotated[bool, typer.Option(help="Build states from the archive where that is needed, and go on.")] = True,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on where a topic no longer has what was not taken yet.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Answer Prometheus at 127.0.0.1:PORT/metrics.")
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log lines on stderr as JSON objects.")] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Take events as they come: from the topics of the sources, as one worker of a group, or from files of JSON lines.

    A feed's name tells where reading goes on; of a file it is its path unless one is given. Ctrl-C and SIGTERM end it
    in good order: what was taken is flushed and committed.
    """
    if context.invoked_subcommand is not None:
        return
    from onefold.cli.logs import log_to_stderr
    from onefold.wiring import Workspace

    log_to_stderr(as_json=log_json)
    workspace = Workspace.find(project)
    with _until_stopped() as stopped:
        if engine == "spark":
            total = _by_spark(workspace, stopped, once=once, accept_loss=accept_loss, build=build)
        else:
            options = {"accept_loss": accept_loss}
            total = _by_worker(workspace, feed or [], stopped, options, once=once, build=build, port=metrics_port)
    _say(workspace, total, as_json=json)


@stream_app.command("status")
def status(project: ProjectOption = None, json: JsonOption = False) -> None:
    """How far each feed is in the archive and in the state, and what still waits in its topic.

    Exits with 1 where no broker answers within ten seconds: what waits is unknown then, all else is shown.
    """
    from onefold.cli.console import FAILED, say_table
    from onefold.features.errors import StoreError
    from onefold.streaming.status import feed_statuses
    from onefold.wiring import Workspace

    workspace, silent = Workspace.find(project), None
    try:
        ends = workspace.topic_ends(patience=_ASKED_FOR)
    except StoreError as error:
        ends, silent = {}, error
    with workspace.store(readonly=True) as store:
        found = feed_statuses(workspace.project, store=store, archive=workspace.archive, ends=ends)
    if json:
        say_json([asdict(f) for f in found])
    else:
        say_table(
            ("feed", "sequence", "archived", "in state", "end", "waiting", "state"),
            [
                (f"{f.source}: {f.feed}", *map(_shown, (f.sequence, f.archived, f.held, f.end, f.waiting)), f.condition)
                for f in found
            ],
        )  # fmt: skip
    if silent is not None:
        note(str(silent))
        raise typer.Exit(FAILED)


def _shown(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _by_worker(
    workspace: Workspace, files: list[str], stopped: threading.Event, options: dict[str, Any], *, once: bool,
    build: bool, port: int | None,
) -> StepReport:  # fmt: skip
    from onefold.progress import on_stderr

    with ExitStack() as opened:
        store = opened.enter_context(workspace.store())
        group = _feeds(workspace, files, once=once)
        letters = opened.enter_context(workspace.open_dead_letters())
        tracker = opened.enter_context(on_stderr()("stream", None))
        runner = _runner(workspace, store, group, letters, stopped, options, tracker.advance, build=build, port=port)
        try:
            return runner.run(once=once)
        finally:
            store.flush()


def _runner(
    workspace: Workspace, store: OpenStore, group: FeedGroup, letters: DeadLetterSink, stopped: threading.Event,
    options: dict[str, Any], advance: Callable[[int], None], *, build: bool, port: int | None,
) -> Runner:  # fmt: skip
    from onefold.streaming.materialize import materialize
    from onefold.streaming.metrics import WorkerMetrics
    from onefold.streaming.running import Runner
    from onefold.streaming.worker import Worker

    settings, metrics = workspace.settings, WorkerMetrics()
    if port is not None:
        metrics.listen(port)

    def stepped(worker: Worker, report: StepReport) -> None:
        advance(report.records)
        metrics.stepped(worker, report)

    parts: dict[str, Any] = {"store": store, "archive": workspace.archive, "reach": settings.reach}
    make = partial(
        Worker, workspace.project, feeds=group, dead_letters=letters, batch=settings.stream.batch, background=True,
        archive_every=settings.stream.archive_every, archive_seconds=settings.archive_within,
        on_acknowledged=metrics.acknowledged, **parts, **options,
    )  # fmt: skip
    return Runner(
        make, stopped, build=partial(materialize, workspace.project, **parts) if build else None,
        patience=settings.patience, on_step=stepped, on_retry=metrics.retried,
    )  # fmt: skip


def _feeds(workspace: Workspace, files: list[str], *, once: bool) -> FeedGroup:
    from onefold.features.errors import InputError
    from onefold.streaming.feeds import FixedGroup

    if files:
        group = FixedGroup(_file(workspace, text, complete=once) for text in files)
        if not once:
            note(f"following {', '.join(f.name for f in group.feeds(0))}; stop with Ctrl-C")
        return group
    if not workspace.has_topics:
        raise InputError(
            'no source has a topic; name one, as EventSource(topic="orders", ..), '
            "or give files, as --feed orders=new.jsonl"
        )
    if not once:
        note("following the topics; stop with Ctrl-C")
    return workspace.topics()


def _by_spark(
    workspace: Workspace, stopped: threading.Event, *, once: bool, accept_loss: bool, build: bool
) -> StepReport:
    from onefold.progress import on_stderr
    from onefold.streaming.spark_stream import stream_with_spark

    with on_stderr()("stream", None) as tracker:
        return stream_with_spark(
            workspace, once=once, stopped=stopped, progress=tracker.advance, accept_loss=accept_loss, build=build
        )


def _say(workspace: Workspace, total: StepReport, *, as_json: bool) -> None:
    if as_json:
        say_json(asdict(total))
        return
    if total.records:
        taken = "event taken" if total.events == 1 else "events taken"
        say_done(f"{total.events:,} {taken} of {total.records:,} records, into {total.appended:,} appends to state")
    else:
        say_done("nothing new")
    if total.refused:
        note(f"{total.refused:,} records are dead letters: `onefold dead-letters` shows them, each with its reason")
    if total.value_errors:
        note(f"{total.value_errors:,} value errors (overflows, failed casts): those values are NULL; see docs/sql.md")
    if total.corrupt:
        note(f"{total.corrupt:,} states could not be read: `onefold materialize --full` builds them again")
    if total.hot:
        note(f"{total.hot:,} appends went to states above 1 MB: shorten the longest window of their views")
    if total.too_old:
        note(f"{total.too_old:,} events are older than every window reaches: archived, and of no effect on values")


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


def _file(workspace: Workspace, text: str, *, complete: bool) -> FileFeed:
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
