"""`verify`: the proof that what was served is what training would have seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onefold.cli.console import DIFFERENT, JsonOption, ProjectOption, note, out, say_json, say_table

if TYPE_CHECKING:
    from onefold.verify import Report

_LISTED = 20


def verify(
    service: Annotated[str | None, typer.Argument(help="Only this service.", show_default=False)] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Rebuild what was served offline and compare bit by bit.

    Exits with 3 where a value differs; the last line is the verdict.
    """
    from onefold.features.errors import NotFoundError, nearest
    from onefold.progress import on_stderr, stages
    from onefold.verify import verify as run
    from onefold.wiring import Workspace

    workspace = Workspace.find(project)
    known = {*workspace.project.services, *(table.service for table in workspace.served_log.tables())}
    if service is not None and service not in known:
        raise NotFoundError(f"service {service!r} is not defined and was never served{nearest(service, known)}")
    with stages(on_stderr(), "verify") as advance:
        report = run(
            workspace.project, workspace.archive, workspace.served_log,
            models=workspace.settings.models, service=service, advance=advance,
        )  # fmt: skip
    if json:
        say_json(report.to_dict())
    else:
        show(report)
    raise typer.Exit(0 if report.ok else DIFFERENT)


def show(report: Report) -> None:
    """Mismatches by cause, the first of them one by one, late data, and the verdict as the last line."""
    if report.mismatches:
        say_table(("cause", "mismatches"), report.causes.most_common())
        rows = [
            (m.request_id, m.service, m.feature or "score", repr(m.served), repr(m.expected), str(m.cause), m.detail)
            for m in report.mismatches[:_LISTED]
        ]
        say_table(("request", "service", "feature", "served", "expected", "cause", "detail"), rows)
        if len(report.mismatches) > _LISTED:
            note(f"{len(report.mismatches) - _LISTED:,} more; --json lists up to 100")
    if report.unprovable:
        note(f"{report.unprovable:,} rows are not yet provable: the archive has not flushed all that they were made of")
    if report.late_rows:
        note(
            f"late data: {report.late_events:,} events came too late for {report.late_rows:,} rows, and would have "
            f"changed {report.late_values:,} values; that is no mismatch"
        )
    out().print(report.verdict(), markup=False)
