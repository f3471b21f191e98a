"""Finding causes: which faults of the states a row was read from would have given the values that were served?

A row is evaluated by the plain fold, from states in which one event is missing or doubled, until its values are the
served ones. What explained one row of a key is tried first on the others. The search is bounded (`WORK`): rows that
it does not reach take the cause of what is known of their key, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onefold.features import ir
from onefold.features.compile_python import ValueErrors, compile_expr
from onefold.features.fold import StateFold
from onefold.features.plans import ServicePlan
from onefold.verify.compare import same, ulps_apart
from onefold.verify.report import Cause, Finding
from onefold.verify.served import State
from onefold.verify.states import Fault, GroupStates, Held, Key

WORK = 20_000_000
"""What all trials of one search may cost; a million take about a second."""
ROW_WORK = 1_000_000
"""The same for one state of one row."""
TRIAL = 100
"""What a trial costs, besides 1 for each event that it folds."""
MARKED = 1_000
"""Units in the last place that a function marked `<= 1 ulp` may be off and still be the one to blame."""

Offsets = Mapping[int, int]
Faults = Mapping[int, tuple[Fault, ...]]
"""By number of the group."""


@dataclass(frozen=True, slots=True)
class WrongRow:
    """One row to explain. Values are internal ones.

    values: keys and request columns; served: by feature, what was served; expected: what it should have been, of
    those that differ.
    known: up to where each string must have held all events; held: the highest offsets that it did hold.
    """

    number: int
    t: int
    values: Mapping[str, Any]
    served: Mapping[str, Any]
    expected: Mapping[str, Any]
    known: Mapping[State, Offsets]
    held: Mapping[State, Offsets]


@dataclass(slots=True)
class Work:
    """What is left of the work that a search may cost."""

    left: int = WORK


@dataclass(frozen=True, slots=True)
class Explained:
    """A row with a finding for each wrong feature. before: altered ones as the faulty states gave them."""

    row: WrongRow
    findings: Mapping[str, Finding]
    before: Mapping[str, Any]


class Diagnosis:
    """Explains rows of one plan; `files` are the archive's, by source."""

    def __init__(self, plan: ServicePlan, files: Mapping[str, Sequence[str]], work: Work) -> None:
        self.plan, self.work = plan, work
        self.groups = [GroupStates(g, files[g.source]) for g in plan.groups]
        self.outputs = plan.outputter()
        self.ulps = {f.name: int(f.inexact) for f in plan.features}
        self.features = {f.name: _Feature.of(plan, i) for i, f in enumerate(plan.features)}
        self._culprits: dict[tuple[int, Key], dict[Fault, int]] = {}
        self._elsewhere: dict[str, list[Fault]] = {}
        self._value_errors: set[str] = set()

    def explain(self, rows: Sequence[WrongRow]) -> Iterator[Explained]:
        """A finding for each wrong feature of each row. Rows with several are first: a fault of a state shows there."""
        for number, states in enumerate(self.groups):
            reading = [r for r in rows if any(number in self.features[n].groups for n in r.expected)]
            states.load((states.key(r.values), r.t) for r in reading)
        for row in sorted(rows, key=lambda r: (len(r.expected) == 1, r.t)):
            yield self._explain(_Case(self, row))

    def _explain(self, case: _Case) -> Explained:
        row = case.row
        suspects = {n for n in row.expected if not self._is_marked(case, n)}
        affected = sorted({g for n in suspects for g in self.features[n].groups})
        faults: dict[int, tuple[Fault, ...]] = {g: lost for g in affected if (lost := case.lost(g))}
        for group in affected:
            own = [n for n in row.served if self.features[n].groups == {group}]
            self._settle(case, group, faults, own)
        shared = [n for n in suspects if len(self.features[n].groups) > 1]
        for group in affected:
            if group not in faults and case.wrong(faults, shared):
                self._settle(case, group, faults, [n for n in row.served if group in self.features[n].groups])
        findings = {name: self._finding(case, faults, name) for name in row.expected}
        altered = [n for n, f in findings.items() if f.cause == Cause.VALUE_ALTERED]
        return Explained(row, findings, case.made(faults, altered) if faults and not case.assumed else {})

    def _settle(self, case: _Case, group: int, faults: dict[int, tuple[Fault, ...]], names: Sequence[str]) -> None:
        """Add the group's faults that make the named features what was served, where some do."""
        suspects = [n for n in names if n in case.row.expected]
        if self.work.left <= 0:
            self._assume(case, group, faults)
        if not suspects or self.work.left <= 0 or case.held(group) is None:
            return
        before = case.wrong(faults, names)
        best, left = faults.get(group, ()), before
        for tried in self._trials(case, group, best, suspects) if before else ():
            after = case.wrong({**faults, group: tried}, names)
            if after < before and len(after) < len(left):
                best, left = tried, after
            if not after:
                break
        if len(before) - len(left) > len(left):
            faults[group] = best
            self._note(case, group, best)

    def _assume(self, case: _Case, group: int, faults: dict[int, tuple[Fault, ...]]) -> None:
        """What is known of the key, untried."""
        known = self._known(case, group)
        if known:
            faults[group] = (*faults.get(group, ()), *known)
            case.assumed = True

    def _trials(
        self, case: _Case, group: int, base: tuple[Fault, ...], suspects: Sequence[str]
    ) -> Iterator[tuple[Fault, ...]]:
        """Sets of faults, likely ones first: what is known of the key, then each event in the suspects' windows."""
        held = case.held(group)
        assert held is not None
        known = [f for f in self._known(case, group) if f not in base]
        if len(known) > 1:
            yield (*base, *known)
        yield from ((*base, f) for f in known)
        stop = max(self.work.left - ROW_WORK, 0)
        for fault in self._candidates(case, group, held, suspects):
            if self.work.left <= stop:
                case.unsearched = True
                return
            if known:
                yield (*base, *known, fault)
            yield (*base, fault)

    def _candidates(self, case: _Case, group: int, held: Held, suspects: Sequence[str]) -> Iterator[Fault]:
        """Events in the windows of most suspects first, the newest of them first."""
        elsewhere = self._elsewhere.get(self.groups[group].group.source, ())
        yield from [f for f in elsewhere if f.position in held.places]
        touched = np.zeros(len(held.ts), dtype=np.int64)
        for name in suspects:
            mask = np.zeros(len(held.ts), dtype=bool)
            for window in self.features[name].windows[group]:
                mask[held.inside(window, case.row.t)] = True
            touched += mask
        for i in np.lexsort((-np.arange(len(touched)), -touched))[: np.count_nonzero(touched)].tolist():
            yield Fault(Cause.MISSING_EVENT, held.positions[i])
            if not self.groups[group].group.layout.has_ids:  # a copy with the same id counts once
                yield Fault(Cause.DOUBLED_EVENT, held.positions[i])

    def _known(self, case: _Case, group: int) -> list[Fault]:
        """Culprits of the row's key that its string knew, and its windows reach."""
        states, row = self.groups[group], case.row
        known, reach = case.known(group), states.group.reach
        low = None if reach is None else row.t - reach

        def reached(fault: Fault, ts: int) -> bool:
            sequence, offset = fault.position
            return offset <= known.get(sequence, -1) and ts <= row.t and (low is None or ts >= low)

        culprits = self._culprits.get((group, states.key(row.values)), {})
        return [fault for fault, ts in culprits.items() if reached(fault, ts)]

    def _note(self, case: _Case, group: int, faults: Iterable[Fault]) -> None:
        held, states = case.held(group), self.groups[group]
        assert held is not None
        known = self._culprits.setdefault((group, states.key(case.row.values)), {})
        elsewhere = self._elsewhere.setdefault(states.group.source, [])
        for fault in faults:
            known[fault] = held.ts[held.places[fault.position]]
            if fault not in elsewhere:
                elsewhere.insert(0, fault)
        del elsewhere[10:]

    # --- findings ----------------------------------------------------------------------------------------------

    def _finding(self, case: _Case, faults: Faults, name: str) -> Finding:
        feature = self.features[name]
        found = [(g, f) for g in sorted(feature.groups) for f in faults.get(g, ())]
        if found and (case.assumed or not case.wrong(faults, [name])):
            return self._of_faults(case, feature, found)
        if self._is_marked(case, name):
            apart = ulps_apart(case.row.served[name], case.row.expected[name])
            return Finding(Cause.FLOAT_MARK, f"{apart} units in the last place off; its function is marked for one")
        if (case.row.served[name] is None) != (case.row.expected[name] is None) and self._has_value_error(case, name):
            return Finding(Cause.VALUE_ERROR, "an overflow or a failed cast, whose value is NULL")
        return Finding(Cause.VALUE_ALTERED, self._unexplained(case, feature, name))

    def _of_faults(self, case: _Case, feature: _Feature, found: Sequence[tuple[int, Fault]]) -> Finding:
        """The faults that lie in the feature's own windows, the first three by name."""
        touching = found if case.assumed else [(g, f) for g, f in found if case.touches(feature, g, f)] or found
        said = [self.groups[g].place(f) for g, f in touching[:3]]
        if len(touching) > 3:
            said.append(f"and {len(touching) - 3:,} more")
        if case.assumed:
            said.append("taken from other rows of its key: there are too many to try each")
        return Finding(touching[0][1].cause, "; ".join(said))

    def _is_marked(self, case: _Case, name: str) -> bool:
        """Whether it differs no further than a function marked `<= 1 ulp` may be blamed for."""
        served, expected = case.row.served[name], case.row.expected[name]
        if not self.ulps[name] or served is None or expected is None:
            return False
        return 1 < ulps_apart(served, expected) <= MARKED

    def _has_value_error(self, case: _Case, name: str) -> bool:
        if self.work.left > 0 and self.features[name].has_value_error(self, case):
            self._value_errors.add(name)
            return True
        return self.work.left <= 0 and name in self._value_errors

    def _unexplained(self, case: _Case, feature: _Feature, name: str) -> str:
        if not feature.groups:
            return "it is made of the request alone"
        if any(case.held(g) is None for g in feature.groups) or case.unsearched or self.work.left <= 0:
            return "too many mismatches: not every event was tried as the one that is missing or doubled"
        if not case.wrong({}, [name]):
            return "the plain fold gives what was served, the offline engine does not: a fault of Onefold's"
        return "no missing or doubled event explains it"


@dataclass(frozen=True, slots=True)
class _Feature:
    """What one output is made of: the groups, and in each the windows and the slots that it reads."""

    number: int
    output: ir.Expr
    groups: frozenset[int]
    windows: Mapping[int, Sequence[ir.Window]]
    slots: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, plan: ServicePlan, number: int) -> _Feature:
        needs = set(plan.dependencies[number])
        windows, slots = {}, {}
        for i, group in enumerate(plan.groups):
            used = {slot for f in group.features if f.ref in needs for slot in f.slots}
            if any(f.ref in needs for f in group.features):
                slots[i] = sorted(used)
                windows[i] = [group.slots[s].window for s in slots[i]]
        return cls(number, plan.outputs[number], frozenset(slots), windows, slots)

    def has_value_error(self, diagnosis: Diagnosis, case: _Case) -> bool:
        """Whether its evaluation, without any fault, meets a value error."""
        errors, row = ValueErrors(), case.row
        columns: dict[str, Any] = {f"request.{f.name}": row.values[f.name] for f in diagnosis.plan.request}
        columns["event_timestamp"] = row.t
        for number, slots in self.slots.items():
            states, held = diagnosis.groups[number], case.held(number)
            if held is None:
                return False
            group = states.group
            fold = StateFold(group.layout, [group.slots[s] for s in slots], errors=errors)
            values = fold.of_events(held.events, row.t, states.own(row.values, row.t))
            diagnosis.work.left -= TRIAL + len(held.ts)
            positions = {ir.NOW: len(slots), **{f"s{s}": i for i, s in enumerate(slots)}}
            for f in group.features:
                if {c.name for c in ir.columns(f.expr)} <= positions.keys():
                    columns[f.ref] = compile_expr(f.expr, positions, errors=errors)([*values, row.t])
        compile_expr(self.output, {name: i for i, name in enumerate(columns)}, errors=errors)(list(columns.values()))
        return errors.count > 0


@dataclass
class _Case:
    """One row under examination, with what was worked out for it."""

    diagnosis: Diagnosis
    row: WrongRow
    assumed: bool = False
    unsearched: bool = False
    _held: dict[int, Held | None] = field(default_factory=dict)
    _base: dict[int, Sequence[Any]] = field(default_factory=dict)

    def held(self, group: int) -> Held | None:
        """The events that the group's string should have held; None where they are not loaded."""
        if group not in self._held:
            states = self.diagnosis.groups[group]
            self._held[group] = states.held(states.key(self.row.values), self.row.t, self.known(group))
        return self._held[group]

    def known(self, group: int) -> Offsets:
        states = self.diagnosis.groups[group].group
        return self.row.known.get((states.source, states.entity), {})

    def lost(self, group: int) -> tuple[Fault, ...]:
        """Events above what the string held, and not above the marker that was read with it: it lacks them for sure."""
        states = self.diagnosis.groups[group].group
        highest = self.row.held.get((states.source, states.entity), {})
        if all(highest.get(s, -1) >= o for s, o in self.known(group).items()) or (held := self.held(group)) is None:
            return ()
        return tuple(Fault(Cause.MISSING_EVENT, (s, o)) for s, o in held.positions if o > highest.get(s, -1))

    def wrong(self, faults: Faults, names: Iterable[str]) -> frozenset[str]:
        """Which of the named features would, with these faults, not be what was served."""
        served, ulps = self.row.served, self.diagnosis.ulps
        made = self.made(faults, names)
        return frozenset(n for n, value in made.items() if not same(value, served[n], ulps=ulps[n]))

    def made(self, faults: Faults, names: Iterable[str]) -> dict[str, Any]:
        """The named features with these faults."""
        features = {n: self.diagnosis.features[n] for n in names}
        values = self._outputs(faults, {g for f in features.values() for g in f.groups})
        return {n: values[f.number] for n, f in features.items()}

    def touches(self, feature: _Feature, group: int, fault: Fault) -> bool:
        held = self.held(group)
        assert held is not None
        place = held.places[fault.position]
        insides = [held.inside(w, self.row.t) for w in feature.windows[group]]
        return any(inside.start <= place < inside.stop for inside in insides)

    def _outputs(self, faults: Faults, needed: Set[int]) -> tuple[Any, ...]:
        """The service's values, as far as they are made of the groups needed."""
        plan, columns = self.diagnosis.plan, list[Any]()
        for number, group in enumerate(plan.groups):
            columns += self._values(number, faults) if number in needed else [None] * len(group.features)
        columns += [self.row.values[f.name] for f in plan.request]
        return self.diagnosis.outputs([*columns, self.row.t])

    def _values(self, group: int, faults: Faults) -> Sequence[Any]:
        found = faults.get(group, ())
        if not found and group in self._base:
            return self._base[group]
        states, held = self.diagnosis.groups[group], self.held(group)
        if held is None:
            return [None] * len(states.group.features)
        self.diagnosis.work.left -= TRIAL + len(held.ts)
        values = states.values(held, self.row.values, self.row.t, found)
        if not found:
            self._base[group] = values
        return values
