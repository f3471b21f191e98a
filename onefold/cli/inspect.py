"""`list` and `describe`: what a project holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, out, say_json, say_next, say_table

if TYPE_CHECKING:
    from onefold.features.definition_records import Record, Records
    from onefold.features.project import Project

_PLURALS = {
    "entities": "entity",
    "sources": "source",
    "views": "view",
    "on-demand": "on_demand",
    "services": "service",
}
_SHOWN = ("entity", "source", "view", "on_demand", "service")


def list_(
    kind: Annotated[
        str | None, typer.Argument(help="Only entities, sources, views, on-demand or services.", show_default=False)
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """List the definitions, and whether each is applied."""
    from onefold.registry.of_project import records_of
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    applied = workspace.registry.applied()
    wanted = [r for r in records_of(workspace.project).values() if r.kind in _kinds(kind)]
    if json:
        say_json([{**_row(r), "applied": _applied(r, applied)} for r in wanted])
        return
    rows = [(_words(r.kind), r.name, _summary(r), r.fingerprint or "", _applied(r, applied)) for r in wanted]
    say_table(("kind", "name", "what", "fingerprint", "applied"), rows)
    if any(_applied(r, applied) != "yes" for r in wanted):
        say_next("onefold plan", "see what is not applied yet")


def describe(
    name: Annotated[str, typer.Argument(help="Name of a view, service, source or entity.")],
    compiled: Annotated[
        bool, typer.Option("--compiled", help="The SQL that DuckDB runs for a view or service, and nothing else.")
    ] = False,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show one definition: SQL, features, fingerprints, state."""
    from onefold.features.errors import NotFoundError, nearest
    from onefold.registry.of_project import records_of
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    records = records_of(workspace.project)
    found = [r for r in records.values() if r.name == name and r.kind in _SHOWN]
    if not found:
        known = [r.name for r in records.values() if r.kind in _SHOWN]
        raise NotFoundError(f"nothing is named {name!r}{nearest(name, known)}")
    if compiled:
        print(_compiled(workspace.project, name))
        return
    if json:
        documents = [_row(r) | {"body": dict(r.body), "state": _state(r, records)} for r in found]
        say_json(documents[0] if len(documents) == 1 else documents)
        return
    for record in found:
        _show(record, records)


def _compiled(project: Project, name: str) -> str:
    """One query a (source, entity), each with a line that says so. `spine` and the sources are relations of DuckDB."""
    from onefold.features.duckdb_plans import prefix_plan
    from onefold.features.duckdb_scalar import quote

    plan = project.service(name) if name in project.services else project.select([name])
    return "\n\n".join(
        f"-- {g.source} by {g.entity}\n{prefix_plan(g, events=quote(g.source), spine='spine')};" for g in plan.groups
    )


def _kinds(word: str | None) -> tuple[str, ...]:
    if word is None:
        return _SHOWN
    for plural, kind in _PLURALS.items():
        if word in (plural, kind):
            return (kind,)
    from onefold.features.errors import nearest

    raise typer.BadParameter(f"{word!r} is no kind of definition{nearest(word, _PLURALS)}", param_hint="KIND")


def _words(kind: str) -> str:
    return "on-demand view" if kind == "on_demand" else kind


def _row(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "name": record.name,
        "fingerprint": record.fingerprint,
        "features": [f["name"] for f in record.body.get("features", ())],
        "description": record.body["description"],
    }


def _applied(record: Record, applied: Records) -> str:
    found = applied.get(record.key)
    if found is None:
        return "no"
    return "yes" if found.to_json() == record.to_json() else "changed"


def _summary(record: Record) -> str:
    body = record.body
    match record.kind:
        case "entity":
            return ", ".join(f"{n} {t}" for n, t in body["keys"])
        case "source":
            return f"{len(body['schema'])} columns, time {body['event_time']}"
        case "view":
            return f"{len(body['features'])} features of {body['source']} by {body['entity']}"
        case _:
            return f"{len(body['features'])} features"


def _state(record: Record, records: Records) -> dict[str, Any] | None:
    """The state that a view reads."""
    if record.kind != "view":
        return None
    return dict(records["state", f"{record.body['source']}.{record.body['entity']}"].body)


def _show(record: Record, records: Records) -> None:
    from rich.text import Text

    console = out()
    console.print(Text.assemble((f"{_words(record.kind)} {record.name}", "bold"), f"  {record.body['description']}"))
    for line in _facts(record, records):
        console.print(Text(f"  {line}"))
    if "sql" in record.body:
        _show_sql(record.body["sql"])
    if "features" in record.body:
        say_table(("feature", "type", "fingerprint", ""), [_feature(f, record.kind) for f in record.body["features"]])
    if record.kind == "view":
        keys = records["entity", record.body["entity"]].body["keys"]
        options = " ".join(f"--key {name}=..." for name, _ in keys)
        say_next(f"onefold get {record.name} {options}", "its values online")
    elif record.kind == "service":
        asked = [f"--key {n}=..." for n, _ in record.body["keys"]]
        asked += [f"--request {n}=..." for n, _ in record.body["request"]]
        say_next(f"onefold get {record.name} {' '.join(asked)}", "its values online")
    elif record.kind == "source":
        note("events come in with `onefold materialize` (files) or `onefold stream` (JSON lines)")


def _feature(feature: Mapping[str, Any], kind: str) -> tuple[str, str, str, str]:
    marks = [f"of {feature['view']}"] if kind == "service" else []
    if feature.get("inexact"):
        marks.append("<= 1 ulp")
    return feature["name"], feature["type"], feature["fingerprint"], ", ".join(marks)


def _facts(record: Record, records: Records) -> list[str]:
    from onefold.cli.plan_text import retention

    body = record.body
    said = ("source", "entity", "freshness", "resolution", "path", "event_time", "event_id")
    facts = [f"{field}: {value}" for field in said if (value := body.get(field))]
    for field in ("keys", "request", "schema"):
        if body.get(field):
            facts.append(f"{field}: " + ", ".join(f"{n} {t}" for n, t in body[field]))
    if body.get("windows_us"):
        facts.append("windows: " + ", ".join(_window(low, high) for low, high in body["windows_us"]))
    if record.fingerprint:
        facts.append(f"fingerprint: {record.fingerprint}")
    state = _state(record, records)
    if state is not None:
        facts.append(
            f"state: {state['columns']} prepared columns an event, kept {retention(state['retention_us'])}, "
            f"layout {state['fingerprint']} (shared by all views of {state['source']} by {state['entity']})"
        )
    return facts


def _window(lower: int | None, upper: int) -> str:
    from onefold.features.windows import describe as length

    start = "lifetime" if lower is None else length(lower)
    if upper == 0:
        return start
    return f"{start} before t" if upper == 1 else f"{start} ending {length(upper)} before t"


def _show_sql(sql: str) -> None:
    import textwrap

    from rich.padding import Padding
    from rich.syntax import Syntax

    text = textwrap.dedent(sql).strip()
    if sys.stdout.isatty():
        out().print(Padding(Syntax(text, "sql", background_color="default", word_wrap=True), (0, 0, 0, 2)))
    else:
        print(textwrap.indent(text, "  "))
