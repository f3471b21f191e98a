"""`explain`: what a view or service means, what it keeps and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from onefold.cli.console import JsonOption, ProjectOption, out, say_json


def explain(
    name: Annotated[str, typer.Argument(help="Name of a view, on-demand view or service.")],
    engine: Annotated[
        str | None, typer.Option("--engine", help="Show what this engine runs: duckdb, spark or python.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a view or service means: IR, SQL of each engine, state, cost of a read."""
    from onefold.explaining import explain as explained
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    document = explained(workspace.project, name, engine=engine, archive=workspace.archive)
    if json:
        import json as json_

        say_json(json_.loads(json_.dumps(document, default=str)))
        return
    _show(document, engine)


def _show(document: Mapping[str, Any], engine: str | None) -> None:
    from rich.text import Text

    console = out()
    for style, line in _lines(document, engine):
        console.print(Text(line, style), soft_wrap=True)


def _lines(document: Mapping[str, Any], engine: str | None) -> Iterator[tuple[str, str]]:
    """(style, line)"""
    if engine is None:
        for view, sql in document["sql"].items():
            yield "bold", f"{view} as portable SQL"
            yield from (("", f"  {line}") for line in sql.splitlines())
        for feature in document["features"]:
            yield from _feature(feature)
        for state in document["states"]:
            yield from _state(state)
        yield "dim", "the SQL of an engine: --engine duckdb, spark or python"
        return
    for part in document["engines"][engine]:
        yield "bold", f"-- {engine}: {part['what']}"
        yield from (("", line) for line in part["text"].splitlines())


def _feature(feature: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    marks = [feature["type"], "may be NULL" if feature["nullable"] else "never NULL"]
    if feature["inexact"]:
        marks.append(f"<= 1 ulp, by {', '.join(feature['inexact'])}")
    yield "bold", f"feature {feature['ref']}: {', '.join(marks)}, fingerprint {feature['fingerprint']}"
    yield from (("", f"  {line}") for line in feature["tree"])


def _state(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from onefold.cli.plan_text import retention
    from onefold.features.windows import describe

    low, high = state["event_bytes"]
    yield "bold", f"state {state['source']} by {state['entity']}: layout {state['fingerprint']}"
    yield "", f"  shared by views {', '.join(state['shared'])}; kept {retention(state['retention'])}"
    yield "", f"  {low:.0f} to {high:.0f} bytes an event, and its texts and lists"
    if state["resolution"] is not None:
        yield "", f"  events older than two buckets of {describe(state['resolution'])} are one entry a bucket"
    yield from (("", f"  {c['name']} {c['type']} = {c['sql']}") for c in state["columns"])
    yield "", f"  a read folds {len(state['slots'])} slots over {len(state['windows'])} windows{_kernel(state)}:"
    yield from (("", f"    {slot}") for slot in state["slots"])
    if state["request_row"]:
        yield "", f"  a request is one more event at its time, with the columns {', '.join(state['request_row'])}"
    for rate, events in state["events_a_read"].items():
        size = f"{events:,} events, {events * high / 1000:,.1f} kB at most"
        yield "", f"  at {rate} events a key and day it decodes {size}"
    for warning in state["warnings"]:
        yield "yellow", f"  {warning}"
    yield from _measured(state["measured"])


def _kernel(state: Mapping[str, Any]) -> str:
    """Who folds them."""
    from onefold.features import native

    slow = state["in_python"]
    if native.in_use() == "python" or slow == len(state["slots"]):
        return ", in Python"
    return f", {slow} of them in Python" if slow else ", natively"


def _measured(found: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if found is None:
        yield "dim", "  not measured: the archive has no events for it"
        return
    largest = f"{found['largest_bytes'] / 1000:,.1f} kB"
    yield (
        "",
        (
            f"  measured on the archive: {found['keys']:,} keys; events a key: median {found['median']:,}, "
            f"p99 {found['p99']:,}, most {found['most']:,}; the largest state has {largest}"
        ),
    )
    for key in found["hot"]:
        yield "red", f"  hot key, above 1 MB: {', '.join(map(str, key))}"
