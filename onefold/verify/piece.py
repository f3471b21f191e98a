"""Some rows of the served log, verified together: values, late data, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.plans import ServicePlan
from onefold.offline.arrow import to_internal
from onefold.offline.engine import LATE, conform_spine, point_in_time
from onefold.verify.compare import Column, Mask, as_mask, differing
from onefold.verify.diagnose import Diagnosis, Work, WrongRow
from onefold.verify.report import Cause, Finding, Mismatch, Report
from onefold.verify.scores import Scores, Why
from onefold.verify.served import ERROR, PARTIAL, ServedRows

_TRIMMED = "its window reaches below what the state still held"


class Piece:
    """Rows of one service and fingerprint.

    plan: of the features that have not changed; changed: the others, each with what is known of it; files: the
    archive's, by source. What is found goes into the report.
    """

    def __init__(
        self, plan: ServicePlan, changed: Mapping[str, str], files: Mapping[str, Sequence[str]], rows: ServedRows,
        report: Report, work: Work,
    ) -> None:  # fmt: skip
        self._plan, self._changed, self._files, self._rows, self._report = plan, changed, files, rows, report
        self._work = work
        self._why: dict[int, Why] = {}
        self._judged = {
            f.name: ~rows.failed | rows.has_status(f.name, ERROR) for f in rows.inputs.features
        }  # a row that failed served nothing; it is judged for what could not be decoded

    def check(self, scores: Scores, advance: Callable[[int], None]) -> None:
        """Rebuild and compare; `advance` is called with 1 after each group."""
        rows, report, states = self._rows, self._report, [(g.source, g.entity) for g in self._plan.groups]
        report.rows += rows.count
        report.failed += int(rows.failed.sum())
        report.values += sum(int(mask.sum()) for mask in self._judged.values())
        self._report_changed()
        expected = None
        if self._plan.features:
            known = {state: rows.known(state) for state in states}
            expected = point_in_time(self._plan, self._files, rows.spine, known=known, advance=advance)
            self._compare(expected)
            self._report_late(expected)
        scores.check(rows, self._vectors(expected), self._why)

    # --- values ------------------------------------------------------------------------------------------------

    def _report_changed(self) -> None:
        for name, detail in self._changed.items():
            self._blame(name, self._judged[name], Cause.DEFINITION_CHANGED, _always(detail))

    def _compare(self, expected: pa.Table) -> None:
        """Report every value that differs: what the log itself gives away first, then what has to be looked into."""
        rows = self._rows
        unclear: dict[int, list[str]] = {}
        for feature in self._plan.features:
            name, served, should = feature.name, rows.feature(feature.name), expected.column(feature.name)
            undecoded = rows.has_status(name, ERROR)
            self._blame(name, undecoded, Cause.DECODE_ERROR, self._error_of, should)
            differs = differing(served, should, ulps=int(feature.inexact)) & self._judged[name] & ~undecoded
            trimmed = differs & rows.has_status(name, PARTIAL) & as_mask(served.is_null())
            self._blame(name, trimmed, Cause.STATE_PARTIAL, _always(_TRIMMED), should)
            for row in np.flatnonzero(differs & ~trimmed).tolist():
                unclear.setdefault(row, []).append(name)
        if unclear:
            self._look_into(unclear, expected)

    def _error_of(self, row: int) -> str:
        return self._rows.text("error", row) or "the state could not be decoded"

    def _blame(
        self, name: str, mask: Mask, cause: Cause, detail: Callable[[int], str], expected: Column | None = None
    ) -> None:
        """Report one feature's value in the rows of the mask under one cause."""
        numbers = np.flatnonzero(mask).tolist()

        def mismatches() -> Iterator[Mismatch]:
            served = self._rows.feature(name)
            for row in numbers:
                should = None if expected is None else expected[row].as_py()
                yield self._mismatch(row, name, served[row].as_py(), should, Finding(cause, detail(row)))

        self._report.add(mismatches(), cause=cause, total=len(numbers))
        if cause == Cause.STATE_PARTIAL:
            self._why |= {row: Why(Finding(cause, f"feature {name!r}: {detail(row)}"), {}) for row in numbers}

    def _mismatch(self, row: int, name: str, served: Any, expected: Any, finding: Finding) -> Mismatch:
        request_id = self._rows.text("request_id", row) or ""
        return Mismatch(request_id, self._plan.name, name, served, expected, finding.cause, finding.detail)

    def _look_into(self, unclear: Mapping[int, Sequence[str]], expected: pa.Table) -> None:
        diagnosis = Diagnosis(self._plan, self._files, self._work)
        for found in diagnosis.explain(list(self._wrong_rows(unclear, expected))):
            row = found.row.number
            for name, finding in found.findings.items():
                served, should = self._rows.feature(name)[row], expected.column(name)[row]
                mismatch = self._mismatch(row, name, served.as_py(), should.as_py(), finding)
                self._report.add([mismatch], cause=finding.cause)
                why = Why(Finding(finding.cause, f"feature {name!r}: {finding.detail}"), found.before)
                if row not in self._why or self._why[row].finding.cause == Cause.VALUE_ALTERED:
                    self._why[row] = why

    def _wrong_rows(self, unclear: Mapping[int, Sequence[str]], expected: pa.Table) -> Iterator[WrongRow]:
        rows, plan = self._rows, self._plan
        numbers = sorted(unclear)
        take = pa.array(numbers, pa.int64())
        spine = conform_spine(plan, rows.spine.take(take))
        values = _by_row({name: spine.column(name) for name in spine.column_names})
        served = _by_row({f.name: rows.feature(f.name).take(take) for f in plan.features})
        should = _by_row({f.name: expected.column(f.name).take(take) for f in plan.features})
        states = [(g.source, g.entity) for g in plan.groups]
        made = {f.name: self._made_of_events(f.name) for f in plan.features}
        for number, row, was, ought in zip(numbers, values, served, should, strict=True):
            judged = {n: v for n, v in was.items() if made[n][number]}
            yield WrongRow(
                number, row["event_timestamp"], row, judged, {n: ought[n] for n in unclear[number]},
                {state: rows.known_of(number, state) for state in states},
                {state: rows.held(number, state) for state in states},
            )  # fmt: skip

    def _made_of_events(self, name: str) -> Mask:
        """Rows whose value is not that of a state that was trimmed, or could not be decoded."""
        rows = self._rows
        trimmed = rows.has_status(name, PARTIAL) & as_mask(rows.feature(name).is_null())
        return self._judged[name] & ~rows.has_status(name, ERROR) & ~trimmed

    def _vectors(self, expected: pa.Table | None) -> dict[str, Column]:
        """What should have been scored, by feature: a changed feature as it was served, and one that is marked
        `<= 1 ulp` too, where it is no further off."""
        vectors: dict[str, Column] = {name: self._rows.feature(name) for name in self._changed}
        if expected is None:
            return vectors
        for feature in self._plan.features:
            should, served = expected.column(feature.name), self._rows.feature(feature.name)
            if feature.inexact:
                should = pc.if_else(pa.array(differing(served, should, ulps=1)), should, pa.chunked_array([served]))
            vectors[feature.name] = should
        return vectors

    # --- late data ---------------------------------------------------------------------------------------------

    def _report_late(self, expected: pa.Table) -> None:
        """Count what late events would have changed: a difference to `event_time`, and no mismatch."""
        late = expected.column(LATE).to_numpy()
        rows = np.flatnonzero(late)
        self._report.late_rows += len(rows)
        self._report.late_events += int(late.sum())
        if not len(rows):
            return
        take = pa.array(rows, pa.int64())
        whole = point_in_time(self._plan, self._files, self._rows.spine.take(take))
        for feature in self._plan.features:
            changed = int(differing(expected.column(feature.name).take(take), whole.column(feature.name)).sum())
            if changed:
                self._report.late_by_feature[feature.name] += changed


def _always(detail: str) -> Callable[[int], str]:
    return lambda row: detail


def _by_row(columns: Mapping[str, Column]) -> Iterable[dict[str, Any]]:
    """Rows as mappings of internal values."""
    lists = [to_internal(column) for column in columns.values()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]
