"""The demo, step by step: data, registry, archive, training set, model, state, a lived-through December, the proof."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import onefold.examples.flights as example
from onefold.config import Settings
from onefold.demo.embedded import Embedded
from onefold.demo.processes import apply_in_background, serving
from onefold.demo.replay import Living, Replayed, ScoringClient
from onefold.examples.flights import model as flights
from onefold.examples.flights.data import CUT, FlightsData, prepare
from onefold.features.errors import InputError
from onefold.offline.arrow import to_internal
from onefold.online.lookup import Lookup
from onefold.progress import Progress, counted, stages
from onefold.streaming.materialize import materialize
from onefold.training.dataset import TrainingSet, build
from onefold.training.metrics import auc
from onefold.training.pipeline import TrainedModel, train
from onefold.training.plots import plot_calibration, plot_over_time
from onefold.training.tracking import Tracking
from onefold.verify import Report, verify
from onefold.wiring import Workspace

LOOKUPS = 3_000


@dataclass
class DemoResult:
    """What the demo found. `seconds`: by step; `replayed`: scores and times of December's requests.

    lookups: seconds of each lookup, in this process, of the last of those requests.
    """

    folder: Path
    trained: TrainedModel
    replayed: Replayed
    labels: list[bool | None]
    report: Report
    plots: list[Path] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    lookups: list[float] = field(default_factory=list)
    training_rows: int = 0

    @property
    def december_auc(self) -> float:
        """Over the requests that have a label and got a score; NaN where there is one kind of label only."""
        return auc(*self.scored())

    def scored(self) -> tuple[np.ndarray, np.ndarray]:
        """(labels 0/1, scores) of December's requests that have both, [n] each."""
        pairs = [
            (y, s) for y, s in zip(self.labels, self.replayed.scores, strict=True) if y is not None and s is not None
        ]
        found = np.array(pairs, dtype=float).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def run_demo(
    folder: Path, *, progress: Progress, living: Living | None = None, days: int | None = None, since: int = 1
) -> DemoResult:
    """Run the whole way in `folder`, which is made anew; a project that the CLI works in is left there.

    living: how December is lived through; `Embedded` by default. days: live through the first days only. since: the
    month whose requests are the first to be trained on, 1 to 9.
    """
    return _Demo(folder, progress, living or Embedded(), days, since).run()


class _Demo:
    """One run: what its steps hand on."""

    def __init__(self, folder: Path, progress: Progress, living: Living, days: int | None, since: int) -> None:
        self._progress, self._living, self._days, self._since = progress, living, days, since
        self._seconds: dict[str, float] = {}
        self._folder = _fresh_project(folder, living.settings)
        self._space = Workspace(Settings.load(self._folder))

    def run(self) -> DemoResult:
        self._living.begin(self._space)
        with self._step("flights"), self._progress("flights of 2013", None):
            data = prepare(self._folder / "data")
        with apply_in_background(self._folder) as applied:
            self._import()
            training_set = self._training_set(data)
            trained = self._train(training_set)
            self._materialize()
            applied.wait()
        requests = self._requests(data)
        replayed = self._live_through(data, requests)
        lookups = self._time_lookups(requests)
        self._space = self._living.end(self._space)
        report = self._verify()
        labels = requests.column(flights.LABEL).to_pylist()
        result = DemoResult(self._folder, trained, replayed, labels, report, seconds=self._seconds)
        result.training_rows = training_set.manifest.rows
        result.lookups = lookups
        result.plots = self._draw(training_set, result)
        return result

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - start

    def _import(self) -> None:
        with self._step("import"), counted(self._progress, "import January to November") as report:
            for source in self._space.project.sources.values():
                assert source.path is not None
                self._space.archive.import_files(source, [self._folder / source.path], progress=report)

    def _training_set(self, data: FlightsData) -> TrainingSet:
        rows = pq.read_table(data.requests)
        before = pc.and_(pc.greater_equal(rows["month"], self._since), pc.less(rows["month"], 12))
        past = rows.filter(pc.and_(before, pc.is_valid(rows[flights.LABEL])))
        with self._step("training set"), stages(self._progress, "training set") as report:
            return build(
                self._space.project, flights.SERVICE, past, archive=self._space.archive,
                out=self._space.settings.training / flights.SERVICE, label=flights.LABEL, progress=report,
            )  # fmt: skip

    def _train(self, training_set: TrainingSet) -> TrainedModel:
        with self._step("train"), stages(self._progress, "train") as report:
            return train(
                self._space.project, flights.SERVICE, training_set, cut=flights.CUT, params=flights.PARAMS,
                models_dir=self._space.settings.models, tracking=Tracking.local(self._space.settings.state),
                plots_dir=self._folder / "plots", progress=report,
            )  # fmt: skip

    def _materialize(self) -> None:
        with self._step("materialize"), self._space.store() as store, counted(self._progress, "materialize") as report:
            materialize(self._space.project, store=store, archive=self._space.archive, progress=report)

    def _requests(self, data: FlightsData) -> pa.Table:
        rows = pq.read_table(data.requests)
        december = rows.filter(pc.equal(rows["month"], 12)).sort_by("event_timestamp")
        if self._days is None:
            return december
        end = pc.min(december["event_timestamp"]).as_py() + timedelta(days=self._days)
        return december.filter(pc.less(december["event_timestamp"], pa.scalar(end, december["event_timestamp"].type)))

    def _live_through(self, data: FlightsData, requests: pa.Table) -> Replayed:
        plan = self._space.project.service(flights.SERVICE)
        names = [f.name for f in (*plan.keys, *plan.request)]
        rows = requests.select(list(dict.fromkeys([*names, "event_timestamp"]))).to_pylist()
        with (
            self._step("december"),
            serving(self._folder) as url,
            self._progress("December, lived through", len(rows)) as tracker,
        ):
            client = ScoringClient(url, flights.SERVICE)
            try:
                return self._living.live_through(self._space, data.feeds, rows, client, tracker.advance)
            finally:
                client.close()

    def _time_lookups(self, requests: pa.Table) -> list[float]:
        """Seconds of each lookup of the last requests' keys, as of the last of them; the first ones only warm up."""
        plan = self._space.project.service(flights.SERVICE)
        last = requests.slice(max(0, requests.num_rows - LOOKUPS))
        now = to_internal(last.column("event_timestamp"))[-1]
        seconds = []
        with self._space.store(readonly=True) as store:
            lookup = Lookup(store, plan)
            for row in last.to_pylist():
                start = time.perf_counter()
                lookup.read([row], [now])
                seconds.append(time.perf_counter() - start)
        return seconds[len(seconds) // 10 :]

    def _verify(self) -> Report:
        with self._step("verify"), stages(self._progress, "verify") as report:
            return verify(
                self._space.project, self._space.archive, self._space.served_log,
                models=self._space.settings.models, refused=self._space.refused, advance=report,
            )  # fmt: skip

    def _draw(self, training_set: TrainingSet, result: DemoResult) -> list[Path]:
        folder = self._folder / "plots"
        scored = result.trained.evaluation
        with self._step("plots"):
            series = {"October and November": (scored.labels, scored.scores), "December, as served": result.scored()}
            plot_calibration(folder / "calibration.png", series)
            shown = ["origin_dep_delay_3h", "carrier_late_share_7d", "route_arr_delay_30d", "plane_last_arr_delay",
                     "temperature", "precipitation_6h"]  # fmt: skip
            plot_over_time(folder / "over_time.png", training_set.table(), shown, marks={"evaluation": flights.CUT})
        return sorted(folder.glob("*.png"))


def _fresh_project(folder: Path, settings: str) -> Path:
    """A project folder with the example's definitions. An older demo there is replaced; anything else is refused."""
    root = folder.resolve()
    if root.exists() and any(root.iterdir()) and not (root / ".onefold-demo").exists():
        raise InputError(f"{root} is not empty, and not a demo's folder; name another with --folder")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / ".onefold-demo").touch()
    here = Path(example.__file__).parent
    (root / "onefold.toml").write_text((here / "onefold.toml").read_text(encoding="utf-8") + settings, encoding="utf-8")
    shutil.copytree(here / "features", root / "features", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of them lies; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


__all__ = ["CUT", "DemoResult", "percentile", "run_demo"]
