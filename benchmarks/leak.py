"""Leak: a model of point-in-time features beside one of the same features as of the day's end, on December as served.

make bench NAME=leak
"""

from __future__ import annotations

from dataclasses import replace

from _flights import data_of
from _harness import Options, Report, main, tell

from onefold.examples.flights.leak import LeakScores, compare
from onefold.examples.flights.model import PARAMS


def measure(report: Report, options: Options) -> None:
    params = replace(PARAMS, rounds=10) if options.quick else PARAMS
    honest, leaky = compare(data_of(options), params=params, progress=tell)
    rows = {"request": ("as of the request", honest), "day_end": ("as of the local day's end", leaky)}
    report.table(
        "AUC of two models of one training",
        ("features", "October and November, as trained", "December, as served", "mean score there", "truly late there"),
        [(words, s.evaluation, s.december, s.mean_score, s.rate) for words, s in rows.values()],
    )
    for name, (_, scores) in rows.items():
        _figures(report, name, scores)
    report.figure("december_auc_lost", honest.december - leaky.december)
    report.figure("december_rate", honest.rate)


def _figures(report: Report, name: str, scores: LeakScores) -> None:
    report.figure(f"{name}.evaluation_auc", scores.evaluation)
    report.figure(f"{name}.december_auc", scores.december)
    report.figure(f"{name}.december_mean_score", scores.mean_score)


if __name__ == "__main__":
    main("leak", measure)
