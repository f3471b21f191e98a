"""`get`: online values of one key, each with its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefold.cli.console import JsonOption, ProjectOption, note, out, pairs, say_json, say_table

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.features.project import Project
    from onefold.features.types import DataType
    from onefold.online.lookup import ServedRow

_STYLES = {"fresh": "green", "stale": "yellow", "expired": "dim", "missing": "dim", "partial": "yellow", "error": "red"}
_MEANING = {
    "missing": "no event of this key has come: a count is 0, all else is NULL",
    "expired": "this key has had events, and no window reaches back to them: a count is 0, all else is NULL",
    "partial": "a window reaches back beyond what the state keeps, so there is no value; [online] reach keeps more",
    "stale": "the newest event is older than the view's freshness; the value stands all the same",
}
"""What a status that is worth a word says."""


def get(
    refs: Annotated[
        list[str] | None, typer.Argument(help="A service, views, or features as view.feature.", show_default=False)
    ] = None,
    key: Annotated[list[str] | None, typer.Option("--key", "-k", metavar="NAME=VALUE", help="A join key.")] = None,
    request: Annotated[
        list[str] | None, typer.Option("--request", "-r", metavar="NAME=VALUE", help="A request column.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", "-s", help="A service, by name.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="As of then, as 2026-01-31T08:30:00Z. Default: now.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Look up online values, each with its status.

    onefold get customer_spend --key customer_id=42
    """
    from onefold.features.clock import now_micros
    from onefold.online.lookup import Lookup
    from onefold.wiring import Workspace

    if not refs and service is None:
        raise typer.BadParameter("name a service, a view, or features as view.feature", param_hint="REFS")
    workspace = Workspace.find(project)
    plan = _plan(workspace.project, refs or [], service)
    row = _row(plan, pairs(key or (), option="--key"), pairs(request or (), option="--request"))
    moment = _moment(at) if at is not None else now_micros()
    with workspace.store(readonly=True) as store:
        served = Lookup(store, plan).read([row], [moment])[0]
    if json:
        say_json(_as_json(plan, row, moment, served))
    else:
        _show(plan, moment, served)


def _plan(project: Project, refs: Sequence[str], service: str | None) -> ServicePlan:
    from onefold.features.errors import NotFoundError, nearest

    if service is not None:
        if refs:
            raise typer.BadParameter("give a service or features, not both", param_hint="--service")
        return project.service(service)
    if len(refs) == 1 and refs[0] in project.services:
        return project.service(refs[0])
    views = {*project.views, *project.on_demand}
    for ref in refs:
        name = ref.replace(":", ".").partition(".")[0]
        if name not in views:
            raise NotFoundError(f"{name!r} is no view or service{nearest(name, views | set(project.services))}")
    return project.select(refs)


def _row(plan: ServicePlan, keys: Mapping[str, str], request: Mapping[str, str]) -> dict[str, object]:
    """Keys and request columns as internal values; InputError for one that is absent, unknown or of another type."""
    from onefold.features.errors import InputError, nearest

    row: dict[str, object] = {}
    for option, given, wanted in (("--key", keys, plan.keys), ("--request", request, plan.request)):
        known = {f.name: f.type for f in wanted}
        for name in given:
            if name not in known:
                raise InputError(f"{option} {name!r} is not asked for by these features{nearest(name, known)}")
        for name, kind in known.items():
            if name not in given:
                raise InputError(f"{option} {name!r} ({kind}) is absent; add {option} {name}=...")
            row[name] = _value(f"{option} {name}", given[name], kind)
    return row


def _value(what: str, text: str, kind: DataType) -> object:
    from onefold.features.errors import InputError
    from onefold.features.values import parse_json

    try:
        return parse_json(_json_of(text, kind), kind)
    except ValueError as error:
        raise InputError(f"{what}: {error}") from None


def _json_of(text: str, kind: DataType) -> object:
    """What JSON would say for a value typed on a command line; a LIST is typed as JSON."""
    if kind.is_list:
        import json

        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    match kind.name:
        case "BIGINT":
            return int(text) if text.lstrip("+-").isdecimal() else text
        case "DOUBLE":
            try:
                return text if text in ("NaN", "Infinity", "-Infinity") else float(text)
            except ValueError:
                return text
        case "BOOLEAN":
            return {"true": True, "false": False}.get(text.lower(), text)
        case _:
            return text


def _moment(text: str) -> int:
    from onefold.features.types import TIMESTAMP

    moment = _value("--at", text, TIMESTAMP)
    assert isinstance(moment, int)
    return moment


def _as_json(plan: ServicePlan, row: Mapping[str, object], moment: int, served: ServedRow) -> dict[str, Any]:
    from onefold.features.values import timestamp_text, to_json

    types = {f.name: f.type for f in (*plan.keys, *plan.request)}
    features = [
        {"name": f.name, "view": f.view, "type": f.type.name, "value": to_json(value, f.type), "status": status}
        for f, value, status in zip(plan.features, served.values, served.statuses, strict=True)
    ]
    return {
        "service": plan.name,
        "fingerprint": plan.fingerprint,
        "event_timestamp": timestamp_text(moment),
        "row": {name: to_json(value, types[name]) for name, value in row.items()},
        "features": features,
        "errors": list(served.errors),
    }


def _show(plan: ServicePlan, moment: int, served: ServedRow) -> None:
    from rich.text import Text

    from onefold.features.values import timestamp_text, to_json

    rows = [
        (f.name, Text("NULL", "dim") if value is None else str(to_json(value, f.type)), f.type.name,
         Text(status, _STYLES.get(status, "")))
        for f, value, status in zip(plan.features, served.values, served.statuses, strict=True)
    ]  # fmt: skip
    out().print(Text(f"as of {timestamp_text(moment)}", "dim"))
    say_table(("feature", "value", "type", "status"), rows)
    for status in dict.fromkeys(served.statuses):
        if status in _MEANING:
            note(f"{status}: {_MEANING[status]}")
    for error in served.errors:
        note(error)
