"""Verification: rebuild every served vector offline, from what it knew, and compare bit by bit; the scores too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from onefold.features.errors import NotFoundError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.protocols import Archive
from onefold.offline.dead_letters import DeadLetters
from onefold.offline.served import ServedInputs, ServedLog
from onefold.verify.piece import Piece
from onefold.verify.report import Report
from onefold.verify.scores import Scores
from onefold.verify.served import Flushed, ServedRows

ROWS = 100_000
"""Rows that are verified at a time, so that a long log needs no more memory than a short one."""

Advance = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def verify(
    project: Project,
    archive: Archive,
    log: ServedLog,
    *,
    models: Path | None = None,
    dead_letters: DeadLetters | None = None,
    service: str | None = None,
    advance: Advance | None = None,
) -> Report:
    """Compare all that was served (of one service, or of all) with what the archive says it should have been.

    models: the folder of models, to compare scores too. dead_letters: events that the archive will never have.
    Raises NotFoundError where nothing was served.
    """
    tables = [t for t in log.tables() if service is None or t.service == service]
    if not tables:
        raise NotFoundError(
            f"nothing was served{f' by service {service!r}' if service else ''}; score something, then verify"
        )
    report = Report()
    for inputs in tables:
        _verify_table(project, archive, log, inputs, Scores(models, inputs, report), report, dead_letters, advance)
    return report


def _verify_table(
    project: Project, archive: Archive, log: ServedLog, inputs: ServedInputs, scores: Scores, report: Report,
    dead_letters: DeadLetters | None, advance: Advance | None,
) -> None:  # fmt: skip
    """Verify what one service served under one fingerprint, piece by piece."""
    changed = changed_features(project, inputs)
    plan = _unchanged(project, inputs, changed)
    pieces = -(-log.count(inputs.service, inputs.fingerprint) // ROWS)
    step = _stepper(advance, f"{inputs.service} {inputs.fingerprint[:8]}", pieces * len(plan.groups))
    flushed = Flushed(archive, dead_letters)
    report.features = max(report.features, len(inputs.features))
    for table in log.batches(inputs.service, inputs.fingerprint, rows=ROWS):
        rows = ServedRows.of(inputs, table)
        provable = rows.provable(flushed)
        report.unprovable += int((~provable).sum())
        if provable.any():
            files = {s: archive.files(s) for s in plan.sources}
            Piece(plan, changed, files, rows.keep(provable), report).check(scores, step)


def _stepper(advance: Advance | None, stage: str, total: int) -> Callable[[int], None]:
    done = 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        if advance is not None:
            advance(stage, done, total)

    return step


def changed_features(project: Project, inputs: ServedInputs) -> dict[str, str]:
    """Features whose definition is no longer the one that was served, with both fingerprints."""
    try:
        now = {i.name: i for i in project.service(inputs.service).inputs}
    except NotFoundError:
        now = {}
    found = {}
    for was in inputs.features:
        have = now.get(was.name)
        if have is None:
            found[was.name] = f"served with fingerprint {was.fingerprint}, no longer defined"
        elif have != was:
            found[was.name] = f"served with fingerprint {was.fingerprint}, defined with {have.fingerprint}"
    return found


def _unchanged(project: Project, inputs: ServedInputs, changed: Mapping[str, str]) -> ServicePlan:
    """A plan of the features that have not changed."""
    names = {i.name for i in inputs.features} - changed.keys()
    whole = project.service(inputs.service).features if names else ()
    kept = [(project.view(f.view), f.name) for f in whole if f.name in names]
    return project.plan(inputs.service, [(view, view.feature(name)) for view, name in kept])
