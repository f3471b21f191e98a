"""Verification: rebuild every served vector offline, from what it knew, and compare bit by bit; the scores too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from onefold.features.errors import NotFoundError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.protocols import Archive
from onefold.offline.served import ServedInputs, ServedLog
from onefold.verify.diagnose import WORK, Work
from onefold.verify.piece import Piece
from onefold.verify.report import Report
from onefold.verify.scores import Scores
from onefold.verify.served import Flushed, Refused, ServedRows

ROWS = 50_000
"""Rows that are verified at a time, so that a long log needs no more memory than a short one."""

Advance = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def verify(
    project: Project,
    archive: Archive,
    log: ServedLog,
    *,
    models: Path | None = None,
    refused: Refused | None = None,
    service: str | None = None,
    work: int = WORK,
    advance: Advance | None = None,
) -> Report:
    """Compare all that was served (of one service, or of all) with what the archive says it should have been.

    models: the folder of models, to compare scores too. refused: the dead letters of a source, by (sequence, offset),
    which the archive will never have. work: what the search for causes may cost; a million is about a second.
    advance: called with (stage, done, total). Raises NotFoundError where nothing was served.
    """
    tables = [t for t in log.tables() if service is None or t.service == service]
    if not tables:
        raise NotFoundError(
            f"nothing was served{f' by service {service!r}' if service else ''}; score something, then verify"
        )
    report, flushed, search = Report(), Flushed(archive, refused), Work(work)
    for inputs in tables:
        step = _stepper(advance, f"{inputs.service} {inputs.fingerprint[:8]}")
        table = _Table(project, archive, inputs, Scores(models, inputs, report), report, search)
        table.check(log, flushed, step)
    return report


class _Table:
    """What one service served under one fingerprint. `plan` has those of its features that have not changed."""

    def __init__(
        self, project: Project, archive: Archive, inputs: ServedInputs, scores: Scores, report: Report, work: Work
    ) -> None:
        self._archive, self._inputs, self._scores, self._report, self._work = archive, inputs, scores, report, work
        self._changed = changed_features(project, inputs)
        self._plan = _unchanged(project, inputs, self._changed)
        report.features = max(report.features, len(inputs.features))

    def check(self, log: ServedLog, flushed: Flushed, step: Callable[[int, int], None]) -> None:
        """Verify it piece by piece; `step` is called with groups done and groups in all."""
        inputs, groups = self._inputs, len(self._plan.groups)
        total, done = -(-log.count(inputs.service, inputs.fingerprint) // ROWS) * groups, 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            step(done, max(total, done))

        for table in log.batches(inputs.service, inputs.fingerprint, rows=ROWS):
            rows = ServedRows.of(inputs, table)
            provable = rows.provable(flushed)
            self._report.unprovable += int((~provable).sum())
            if provable.any():
                files = {s: self._archive.files(s) for s in self._plan.sources}
                piece = Piece(self._plan, self._changed, files, rows.keep(provable), self._report, self._work)
                piece.check(self._scores, advance)


def _stepper(advance: Advance | None, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: None if advance is None else advance(stage, done, total)


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
