"""Plots are PNG files, whatever the rows hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onefold.features.errors import InputError
from onefold.training.dataset import TrainingSet
from onefold.training.plots import plot_calibration, plot_importance, plot_over_time, weekly_means

Series = tuple[np.ndarray, np.ndarray]


def scored(count: int) -> Series:
    rng = np.random.default_rng(count)
    scores = rng.random(count)
    return (rng.random(count) < scores).astype(np.float64), scores


def assert_png(path: Path, *, wide: int) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and int.from_bytes(content[16:20], "big") >= wide


def test_calibration_takes_one_to_four_series(tmp_path: Path) -> None:
    series = {"evaluation": scored(2_000), "december": scored(500)}
    assert_png(plot_calibration(tmp_path / "new" / "c.png", series), wide=900)
    assert_png(plot_calibration(tmp_path / "one.png", {"few": scored(3)}), wide=900)
    for wrong in ({}, {str(i): scored(10) for i in range(5)}):
        with pytest.raises(InputError, match="1 to 4 series"):
            plot_calibration(tmp_path / "wrong.png", wrong)


def test_importance_takes_more_features_than_it_shows_and_none_used(tmp_path: Path) -> None:
    names = [f"a_feature_with_a_long_name_{i}" for i in range(40)]
    assert_png(plot_importance(tmp_path / "i.png", names, np.arange(40.0)), wide=1000)
    assert_png(plot_importance(tmp_path / "none.png", names[:2], np.zeros(2)), wide=1000)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_features_over_time_take_nulls_and_booleans(training_set: TrainingSet, tmp_path: Path, count: int) -> None:
    names = ["share", "large_3d", "n_3d", "spend_3d"][:count]
    path = plot_over_time(tmp_path / "f.png", training_set.table(), names, marks={"cut": "2013-02-10T00:00:00"})
    assert_png(path, wide=500)
    with pytest.raises(InputError, match="at least one feature"):
        plot_over_time(tmp_path / "none.png", training_set.table(), [])


def test_a_week_begins_on_monday_and_leaves_missing_values_out() -> None:
    days = ["1969-12-28", "1969-12-29", "2013-01-06", "2013-01-07", "2013-01-13", "2013-01-14"]
    times = pa.array([np.datetime64(d, "us") for d in days]).cast(pa.timestamp("us", tz="UTC"))
    values = pa.array([1.0, 2.0, float("nan"), 3.0, 5.0, None])
    weeks, means = weekly_means(pa.chunked_array([times]), pa.chunked_array([values]))
    assert [str(week) for week in weeks] == ["1969-12-22", "1969-12-29", "2013-01-07"]
    assert list(means) == [1.0, 2.0, 4.0]
