"""A plan as text: one paragraph an object, SQL as a diff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from onefold.features.windows import describe
from onefold.registry.models import AffectedModel
from onefold.registry.plan import ADDED, CHANGED, REMOVED, Change, FieldChange, Plan, sql_diff

if TYPE_CHECKING:
    from rich.console import Console

_SIGNS = {ADDED: ("+", "green"), REMOVED: ("-", "red"), CHANGED: ("~", "yellow")}
KIND_NAMES = {"on_demand": "on-demand view"}


def models_json(models: Sequence[AffectedModel]) -> list[dict[str, Any]]:
    return [asdict(m) for m in models]


def show(plan: Plan, models: Sequence[AffectedModel], console: Console) -> None:
    """Print the plan; says so where there is nothing to change."""
    for change in plan.changes:
        for line in _change(plan, change):
            console.print(line)
    for model in models:
        console.print(Text(f"! model {model.name} version {model.version} no longer fits", "bold red"))
        for difference in model.differences:
            console.print(Text(f"    {difference}"))
    console.print(_summary(plan, models))


def _summary(plan: Plan, models: Sequence[AffectedModel]) -> Text:
    if not plan.changes:
        text = "no changes: the registry holds these definitions"
    else:
        counts = {a: sum(c.action == a for c in plan.changes) for a in _SIGNS}
        text = ", ".join(f"{n} {action}" for action, n in counts.items() if n)
    if models:
        text += f"; {len(models)} model{'s' if len(models) > 1 else ''} to train again"
    return Text(text, "bold")


def _change(plan: Plan, change: Change) -> Iterator[Text]:
    sign, style = _SIGNS[change.action]
    head = Text(f"{sign} {KIND_NAMES.get(change.kind, change.kind)} {change.name}", f"bold {style}")
    if change.action == CHANGED and not change.logic:
        head.append("  text only, same values", "dim")
    yield head
    if change.action == ADDED and change.new is not None:
        yield from _added(change.new.body)
    for field in change.fields:
        yield from _field(field)
    services = plan.services_of(change)
    if services and change.action != ADDED:
        yield Text(f"    used by service {', '.join(services)}", "dim")
    if change.kind == "state" and change.action == CHANGED:
        yield Text("    `onefold materialize` builds the new one; what is there serves until then", "dim")


def _added(body: dict[str, Any] | Any) -> Iterator[Text]:
    if "features" in body:
        yield Text("    " + ", ".join(f"{f['name']} {f['type']}" for f in body["features"]), "dim")
    elif "keys" in body or "schema" in body:
        yield Text("    " + ", ".join(f"{n} {t}" for n, t in body.get("keys") or body["schema"]), "dim")
    elif "retention_us" in body:
        yield Text(f"    {body['columns']} columns, kept {retention(body['retention_us'])}", "dim")


def retention(micros: int | None) -> str:
    return "for ever" if micros is None else describe(micros)


def _field(change: FieldChange) -> Iterator[Text]:
    match change.field:
        case "sql":
            for line in sql_diff(change.old or "", change.new or ""):
                yield Text(f"    {line}", {"-": "red", "+": "green"}.get(line[0], "dim"))
        case "windows_us":
            return
        case "retention_us":
            yield _arrow("kept", retention(change.old), retention(change.new))
        case _:
            yield _arrow(change.field, _short(change.old), _short(change.new))


def _arrow(field: str, old: str, new: str) -> Text:
    return Text.assemble(f"    {field}: ", (old, "red"), " -> ", (new, "green"))


def _short(value: Any) -> str:
    """A value in a line: of a feature, its type and fingerprint."""
    if value is None:
        return "none"
    if isinstance(value, dict) and "fingerprint" in value:
        return f"{value['type']} {value['fingerprint']}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
