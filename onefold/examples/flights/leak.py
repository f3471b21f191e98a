"""What a leak costs: one model learns from features as of the request, another from the same as of the day's end.

The second is what a table of daily features gives when it is joined by date: at the end of a flight's local day its
own arrival is known. Both are scored on what a service would have seen in December.

    python -m onefold.examples.flights.leak [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from onefold.computing import compute
from onefold.examples.flights.data import FlightsData, Progress, prepare, requests_between
from onefold.examples.flights.model import LABEL, PARAMS, SERVICE, definitions
from onefold.features.project import Project
from onefold.training.matrix import to_matrix
from onefold.training.metrics import auc
from onefold.training.trainer import TrainParams, Trees, train_trees


@dataclass(frozen=True, slots=True)
class LeakScores:
    """AUCs of one model. evaluation: on October and November, with features as it was trained on; december: on the
    point-in-time vectors of December, the only ones a service can have; mean_score: there, beside `rate`, the share of
    flights that were late."""

    evaluation: float
    december: float
    mean_score: float
    rate: float


@dataclass(frozen=True, slots=True)
class _Sample:
    """Rows with a label: their local month [n], label [n] and features as of both times [n, k]."""

    months: np.ndarray
    labels: np.ndarray
    honest: np.ndarray
    leaky: np.ndarray


def compare(
    data: FlightsData, *, params: TrainParams = PARAMS, progress: Progress | None = None
) -> tuple[LeakScores, LeakScores]:
    """The honest model's scores and the leaky one's, from the whole year: some minutes on two cores."""
    tell = progress or (lambda _: None)
    sample = _sample(data, tell)
    found = []
    for name, features in (("request", sample.honest), ("day's end", sample.leaky)):
        tell(f"training on features as of the {name}")
        train = sample.months <= 9
        trees = train_trees(features[train], sample.labels[train], params)
        found.append(_scores(trees, features, sample))
    return found[0], found[1]


def at_day_end(requests: pa.Table) -> pa.Table:
    """The same requests as of the last microsecond of the local day on which each flight is scheduled."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        local = "date_trunc('day', timezone('America/New_York', scheduled_at))"
        end = f"timezone('America/New_York', {local} + INTERVAL 1 DAY) - INTERVAL 1 MICROSECOND"
        found = connection.sql(f"SELECT {end} AS day_end FROM requests").to_arrow_table()
    place = requests.schema.get_field_index("event_timestamp")
    return requests.set_column(place, "event_timestamp", found["day_end"])


def _sample(data: FlightsData, tell: Progress) -> _Sample:
    project = definitions()
    events = {name: pq.read_table(path) for name, path in data.events.items()}
    requests = requests_between(data, 1, 12)
    requests = requests.filter(requests[LABEL].is_valid())
    tell("features as of the request")
    honest = _matrix(project, events, requests)
    tell("features as of the day's end")
    leaky = _matrix(project, events, at_day_end(requests))
    labels = requests[LABEL].cast(pa.int8()).to_numpy().astype(np.float64)
    return _Sample(requests["month"].to_numpy(), labels, honest, leaky)


def _matrix(project: Project, events: Mapping[str, pa.Table], spine: pa.Table) -> np.ndarray:
    features = compute(project.services[SERVICE], events, spine)
    return to_matrix(features, project.service(SERVICE).inputs)


def _scores(trees: Trees, features: np.ndarray, sample: _Sample) -> LeakScores:
    evaluation = (sample.months == 10) | (sample.months == 11)
    december = sample.months == 12
    served = trees.predict(sample.honest[december])
    return LeakScores(
        evaluation=auc(sample.labels[evaluation], trees.predict(features[evaluation])),
        december=auc(sample.labels[december], served),
        mean_score=float(served.mean()),
        rate=float(sample.labels[december].mean()),
    )


def report(honest: LeakScores, leaky: LeakScores) -> str:
    """A table, then a line `figure NAME VALUE` for each number."""
    rows = (("request", honest), ("day_end", leaky))
    lines = ["features as of    own evaluation    December as served    mean score (true rate)"]
    for name, s in rows:
        lines.append(f"{name:<18}{s.evaluation:>14.3f}{s.december:>22.3f}{s.mean_score:>16.3f} ({s.rate:.3f})")
    for name, s in rows:
        lines.append(f"figure leak.{name}.evaluation_auc {s.evaluation:.4f}")
        lines.append(f"figure leak.{name}.december_auc {s.december:.4f}")
        lines.append(f"figure leak.{name}.december_mean_score {s.mean_score:.4f}")
    return "\n".join([*lines, f"figure leak.december_rate {honest.rate:.4f}"])


def main(arguments: list[str]) -> None:
    def tell(what: str) -> None:
        print(what, file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="onefold-leak-") as scratch:
        data = prepare(Path(arguments[0] if arguments else scratch), progress=tell)
        print(report(*compare(data, progress=tell)))


if __name__ == "__main__":
    main(sys.argv[1:])
