"""`verify`: the proof that what was served is what training would have seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onefold.cli.console import DIFFERENT, FAILED, GOOD, JsonOption, ProjectOption, note, out, say_json, say_table

if TYPE_CHECKING:
    from onefold.verify import Report

_LISTED = 20


def verify(
    service: Annotated[str | None, typer.Argument(help="Only this service.", show_default=False)] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Rebuild what was served offline and compare bit by bit.

    Exits with 3 where a value or score differs, and with 1 where scores could not be compared; the last line is the
    verdict.
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
            models=workspace.settings.models, refused=workspace.refused, service=service, advance=advance,
        )  # fmt: skip
    if json:
        say_json(report.to_dict())
    else:
        show(report)
    raise typer.Exit(status(report))


def status(report: Report) -> int:
    """The exit status that a report asks for."""
    if report.causes:
        return DIFFERENT
    return FAILED if report.unscored else GOOD


def show(report: Report) -> None:
    """Mismatches by cause, some of each one by one, late data, and the verdict as the last line."""
    if report.causes:
        say_table(("cause", "mismatches"), [(c, f"{n:,}") for c, n in report.causes.most_common()])
        _show_some(report)
    for why, count in report.unscored.items():
        note(f"{count:,} scores were not compared: {why}")
    if report.failed:
        note(f"{report.failed:,} requests were answered with an error, and served nothing")
    if report.unprovable:
        note(f"{report.unprovable:,} rows are not yet provable: the archive has not flushed all that they were made of")
    if report.late_rows:
        features = ", ".join(f"{name} {count:,}" for name, count in report.late_by_feature.most_common(5))
        note(
            f"late data: for {report.late_rows:,} rows events came too late; they would have changed "
            f"{report.late_values:,} values{f' ({features})' if features else ''}; that is no mismatch"
        )
    out().print(report.verdict(), markup=False)


def _show_some(report: Report) -> None:
    some = report.examples(_LISTED)
    rows = [
        (m.request_id, m.service, m.feature or "score", repr(m.served), repr(m.expected), str(m.cause), m.detail)
        for m in some
    ]
    say_table(("request", "service", "feature", "served", "expected", "cause", "detail"), rows)
    if report.causes.total() > len(some):
        note(f"{report.causes.total() - len(some):,} more; --json lists up to 100")
