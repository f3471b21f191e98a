"""Verification: rebuild every served vector offline, from what it knew, and compare bit by bit; the scores too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from onefold.features.contract import ModelInput
from onefold.features.errors import ModelError, NotFoundError, OnefoldError
from onefold.features.plans import Group, ServiceFeature, ServicePlan
from onefold.features.project import Project
from onefold.features.protocols import Archive
from onefold.offline.arrow import ARROW, to_internal
from onefold.offline.engine import LATE, point_in_time
from onefold.offline.served import ServedLog
from onefold.serving.scorer import Model
from onefold.verify.compare import Mask, differing
from onefold.verify.diagnose import Diagnosis, Finding
from onefold.verify.report import Cause, Mismatch, Report
from onefold.verify.served import ServedTable

Advance = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def verify(
    project: Project,
    archive: Archive,
    log: ServedLog,
    *,
    models: Path | None = None,
    service: str | None = None,
    advance: Advance | None = None,
) -> Report:
    """Compare all that was served (of one service, or of all) with what the archive says it should have been.

    models: the folder of models, to compare scores too. Raises NotFoundError where nothing was served.
    """
    tables = [t for t in log.tables() if service is None or t.service == service]
    if not tables:
        raise NotFoundError(
            f"nothing was served{f' by service {service!r}' if service else ''}; score something, then verify"
        )
    report = Report()
    for inputs in tables:
        served = ServedTable.load(log, inputs)
        provable = served.provable(archive)
        report.unprovable += provable.count(False)
        _Verification(project, archive, served.keep(provable), models, report, advance).run()
    return report


@dataclass
class _Verification:
    """Verifies one table of the log; what it finds goes into `report`."""

    project: Project
    archive: Archive
    served: ServedTable
    models: Path | None
    report: Report
    advance: Advance | None
    diagnoses: dict[tuple[str, str], Diagnosis] = field(default_factory=dict)
    findings: dict[tuple[int, tuple[str, str]], Finding] = field(default_factory=dict)

    def run(self) -> None:
        inputs, report, count = self.served.inputs, self.report, self.served.table.num_rows
        report.rows += count
        report.features = max(report.features, len(inputs.features))
        report.values += count * len(inputs.features)
        plan = self._plan()
        changed = self._changed(plan)
        for feature, detail in changed.items():
            self._all_wrong(feature, detail)
        if plan is None or count == 0:
            return
        expected = self._expected(plan)
        kept = [f for f in plan.features if f.name not in changed and f.name in {i.name for i in inputs.features}]
        wrong = self._compare(plan, kept, expected)
        self._late(plan, kept, expected)
        if not changed:
            self._scores(plan, expected, wrong)

    def _plan(self) -> ServicePlan | None:
        try:
            return self.project.service(self.served.inputs.service)
        except NotFoundError:
            return None

    def _changed(self, plan: ServicePlan | None) -> dict[str, str]:
        """Features whose definition is no longer the one that was served, with both fingerprints."""
        now: dict[str, ModelInput] = {i.name: i for i in plan.inputs} if plan is not None else {}
        found = {}
        for was in self.served.inputs.features:
            have = now.get(was.name)
            if have is None:
                found[was.name] = f"served with fingerprint {was.fingerprint}, no longer defined"
            elif have != was:
                found[was.name] = f"served with fingerprint {was.fingerprint}, defined with {have.fingerprint}"
        return found

    def _all_wrong(self, feature: str, detail: str) -> None:
        values = to_internal(self.served.feature(feature))
        for request_id, value in zip(self.served.request_ids, values, strict=True):
            self._add(request_id, feature, value, None, Finding(Cause.DEFINITION_CHANGED, detail))

    def _add(self, request_id: str, feature: str | None, served: Any, expected: Any, finding: Finding) -> None:
        service = self.served.inputs.service
        self.report.mismatches.append(
            Mismatch(request_id, service, feature, served, expected, finding.cause, finding.detail)
        )

    def _expected(self, plan: ServicePlan) -> pa.Table:
        known = {(g.source, g.entity): self.served.known((g.source, g.entity)) for g in plan.groups}
        files = {s: self.archive.files(s) for s in plan.sources}
        return point_in_time(
            plan, files, self.served.spine, known=known, advance=self._stage("rebuild", len(plan.groups))
        )

    def _stage(self, stage: str, total: int) -> Callable[[int], None]:
        done = 0

        def step(n: int) -> None:
            nonlocal done
            done += n
            if self.advance is not None:
                self.advance(stage, done, total)

        return step

    # --- values ------------------------------------------------------------------------------------------------

    def _compare(self, plan: ServicePlan, kept: Iterable[ServiceFeature], expected: pa.Table) -> set[int]:
        """Report every value that differs; the rows that have one."""
        names = [i.name for i in self.served.inputs.features]
        wrong: dict[int, list[ServiceFeature]] = {}
        for feature in kept:
            differs = self._differs(feature, expected.column(feature.name), names.index(feature.name))
            for row in np.flatnonzero(differs).tolist():
                wrong.setdefault(row, []).append(feature)
        spine = self.served.spine.take(pa.array(sorted(wrong), pa.int64())).to_pylist()
        for (row, features), values in zip(sorted(wrong.items()), spine, strict=True):
            self._explain_row(plan, row, features, values, expected)
        return set(wrong)

    def _differs(self, feature: ServiceFeature, expected: pa.ChunkedArray, index: int) -> Mask:
        differs = differing(self.served.feature(feature.name), expected, ulps=1 if feature.inexact else 0)
        failed = [index < len(s) and s[index] in ("error", "partial") for s in self.served.statuses]
        lost = [e is not None for e in self.served.errors]
        found: Mask = differs | np.array(failed, dtype=bool) | np.array(lost, dtype=bool)
        return found

    def _explain_row(
        self, plan: ServicePlan, row: int, features: list[ServiceFeature], values: dict[str, Any], expected: pa.Table
    ) -> None:
        for feature in features:
            served = self.served.feature(feature.name)[row].as_py()
            finding = self._finding(plan, row, feature, values)
            self._add(
                self.served.request_ids[row], feature.name, served, expected.column(feature.name)[row].as_py(), finding
            )

    def _finding(self, plan: ServicePlan, row: int, feature: ServiceFeature, values: dict[str, Any]) -> Finding:
        index = [i.name for i in self.served.inputs.features].index(feature.name)
        statuses, error = self.served.statuses[row], self.served.errors[row]
        status = statuses[index] if index < len(statuses) else ""
        if status == "error" or (error is not None and status not in ("partial",)):
            return Finding(Cause.DECODE_ERROR, error or "the state could not be decoded")
        if status == "partial":
            return Finding(Cause.STATE_PARTIAL, "its window reaches below what the state still held")
        if feature.inexact:
            return Finding(Cause.FLOAT_MARK, "differs by more than 1 ulp")
        needs = plan.dependencies[[f.name for f in plan.features].index(feature.name)]
        for group in plan.groups:
            if any(f.ref in needs for f in group.features):
                finding = self._group_finding(plan, group, row, values)
                if finding.cause != Cause.VALUE_ALTERED or len(needs) == 1:
                    return finding
        return Finding(Cause.VALUE_ALTERED, "its state gives another value")

    def _group_finding(self, plan: ServicePlan, group: Group, row: int, values: dict[str, Any]) -> Finding:
        """The cause in one group's state; the same for all its features in a row."""
        state = group.source, group.entity
        if (row, state) not in self.findings:
            diagnosis = self.diagnoses.setdefault(state, Diagnosis(group, self.archive))
            refs = {f.ref for f in group.features}
            served = {
                f.ref: to_internal(self.served.feature(f.name).slice(row, 1))[0] for f in plan.features if f.ref in refs
            }
            t = to_internal(self.served.table.column("event_timestamp").slice(row, 1))[0]
            self.findings[row, state] = diagnosis.explain(
                _internal_keys(group, values), t, served,
                known=self.served.known(state)[row], markers=self.served.markers(row, state),
            )  # fmt: skip
        return self.findings[row, state]

    # --- late data ---------------------------------------------------------------------------------------------

    def _late(self, plan: ServicePlan, kept: Iterable[ServiceFeature], expected: pa.Table) -> None:
        """Count what late events would have changed: a difference to `event_time`, and no mismatch."""
        late = np.asarray(expected.column(LATE).to_numpy())
        rows = np.flatnonzero(late)
        self.report.late_rows += len(rows)
        self.report.late_events += int(late.sum())
        if not len(rows):
            return
        take = pa.array(rows, pa.int64())
        files = {s: self.archive.files(s) for s in plan.sources}
        whole = point_in_time(plan, files, self.served.spine.take(take), few=True)
        for feature in kept:
            served = expected.column(feature.name).take(take)
            self.report.late_values += int(differing(served, whole.column(feature.name)).sum())

    # --- scores ------------------------------------------------------------------------------------------------

    def _scores(self, plan: ServicePlan, expected: pa.Table, wrong: set[int]) -> None:
        """Score the rebuilt vectors with the models that were served, and compare."""
        if self.models is None:
            return
        scores = self.served.table.column("score").to_pylist()
        versions = list(
            zip(*(self.served.table.column(c).to_pylist() for c in ("model", "model_version")), strict=True)
        )
        for name, version in sorted({v for v, s in zip(versions, scores, strict=True) if s is not None}):
            rows = [i for i, v in enumerate(versions) if v == (name, version) and scores[i] is not None]
            self.report.scores += len(rows)
            made = self._score(plan, expected, rows, self.models / name / version)
            for row, score in zip(rows, made, strict=True):
                if score != scores[row] and not (score != score and scores[row] != scores[row]):
                    self._wrong_score(row, scores[row], score, row in wrong)

    def _score(self, plan: ServicePlan, expected: pa.Table, rows: list[int], folder: Path) -> list[float]:
        try:
            model = Model.load(folder, plan)
        except OnefoldError as error:
            raise ModelError(f"scores cannot be verified: {error}") from error
        vectors = expected.take(pa.array(rows, pa.int64()))
        return model.score(list(zip(*(to_internal(vectors.column(f.name)) for f in plan.features), strict=True)))

    def _wrong_score(self, row: int, served: float, expected: float, vector_wrong: bool) -> None:
        detail = "its vector differs" if vector_wrong else "the rebuilt vector scores differently"
        cause = Cause.VALUE_ALTERED if vector_wrong else Cause.SCORE_ALTERED
        self._add(self.served.request_ids[row], None, served, expected, Finding(cause, detail))


def _internal_keys(group: Group, values: dict[str, Any]) -> dict[str, Any]:
    """Key values as Onefold holds them."""
    return {f.name: to_internal(pa.array([values[f.name]], ARROW[f.type]))[0] for f in group.layout.key_fields}
