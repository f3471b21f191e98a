"""`onefold.explain`: what a view or service means, what it costs, and the SQL that each engine runs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from onefold.features import duckdb_plans, spark_plans
from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError, nearest
from onefold.features.explain import Explanation
from onefold.features.explain import explain as facts
from onefold.features.plans import ServicePlan
from onefold.features.print_sql import scalar
from onefold.features.project import Project

if TYPE_CHECKING:
    from onefold.offline.archive import DeltaArchive

Listing = Iterator[tuple[str, str]]


def _duckdb(plan: ServicePlan) -> Listing:
    for group in plan.groups:
        what = f"{group.source} by {group.entity}"
        events = quote(group.source)
        if not group.request_row:
            yield f"{what}: prefix plan, for many rows", duckdb_plans.prefix_plan(group, events=events, spine="spine")
            yield f"{what}: sorted plan", duckdb_plans.sorted_plan(group, events=events, spine="spine")
        joined = "rows are events themselves" if group.request_row else "for few rows"
        yield f"{what}: joined plan, {joined}", duckdb_plans.joined_plan(group, events=events, spine="spine")
    groups = [f"g{i}" for i in range(len(plan.groups))]
    yield "all together", duckdb_plans.output_sql(plan, spine="spine", groups=groups)


def _spark(plan: ServicePlan) -> Listing:
    for group in plan.groups:
        what, size = f"{group.source} by {group.entity}", spark_plans.bucket_size(group)
        events = f"`{group.source}`"
        if not group.request_row:
            yield f"{what}: framed plan", spark_plans.framed_plan(group, events=events, rows="spine", size=size)
        yield f"{what}: joined plan", spark_plans.joined_plan(group, events=events, rows="spine", size=size)


def _python(plan: ServicePlan) -> Listing:
    """The stream and the request path have no SQL; what they do is said in its words."""
    for group in plan.groups:
        what = f"{group.source} by {group.entity}"
        yield f"{what}: stream, an event", "\n".join(f"c{i} = {scalar(c)}" for i, c in enumerate(group.layout.columns))
        yield f"{what}: request, a key", "\n".join(f"{f.ref} = {scalar(f.expr)}" for f in group.features)
    pairs = zip(plan.features, plan.outputs, strict=True)
    yield "request, a row", "\n".join(f"{f.name} = {scalar(o)}" for f, o in pairs)


ENGINES: Mapping[str, Callable[[ServicePlan], Listing]] = {"duckdb": _duckdb, "spark": _spark, "python": _python}
"""How each engine's work is shown."""


def explain(
    project: Project, name: str, *, engine: str | None = None, archive: DeltaArchive | None = None
) -> dict[str, Any]:
    """What a view or service means: a document of plain values, as `onefold explain --json` prints it.

    engine: only this one's SQL (duckdb, spark, python). archive: measures how large the states are. NotFoundError.
    """
    if engine is not None and engine not in ENGINES:
        raise InputError(f"engine {engine!r} is not known{nearest(engine, ENGINES)}")
    found: Explanation = facts(project, name)
    document = asdict(replace(found, plan=None, sql=dict(found.sql)))  # type: ignore[arg-type]
    del document["plan"]
    for state, facts_ in zip(document["states"], found.states, strict=True):
        state["events_a_read"] = {str(rate): n for rate, n in facts_.reads.items()}
        state["warnings"] = list(facts_.warnings)
        state["measured"] = _measured(project, facts_.source, facts_.entity, archive)
    document["engines"] = {
        e: [{"what": what, "text": text} for what, text in show(found.plan)]
        for e, show in ENGINES.items()
        if engine in (None, e)
    }
    return document


def _measured(project: Project, source: str, entity: str, archive: DeltaArchive | None) -> dict[str, Any] | None:
    if archive is None:
        return None
    from onefold.offline.measured import measure

    found = measure(project.layouts[source, entity], archive.files(source))
    return None if found is None else asdict(found)
