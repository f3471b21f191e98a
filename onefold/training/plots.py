"""Pictures of a model as PNG files: calibration, feature importance, features over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from onefold.features.errors import InputError
from onefold.training.dataset import TIME
from onefold.training.metrics import calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID = "#1f2933", "#66717d", "#e4e7eb"
SERIES = ("#1b6ca8", "#d9662b", "#3c8d53", "#8559a5")
MARKS = ("o", "D", "s", "^")
_WEEK = np.timedelta64(7, "D")
_WEEK_ONE = np.datetime64("1970-01-05")
"""A Monday, from which weeks are counted."""


def plot_calibration(
    path: str | Path, series: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str = "Calibration", bins: int = 20
) -> Path:
    """How often rows of one score came true, with the number of rows below; the file's path.

    series: name to (labels 0/1 [n], scores [n]), at most four, as the evaluation slice and what was served later.
    """
    if not 1 <= len(series) <= len(SERIES):
        raise InputError(f"a calibration plot shows 1 to {len(SERIES)} series, {len(series)} were given")
    figure = _figure(6.4, 6.8)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for axes in (top, below):
        _plain(axes)
    top.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 4)), label="perfect")
    for (name, (labels, scores)), colour, mark in zip(series.items(), SERIES, MARKS, strict=False):
        points = calibration(labels, scores, bins=bins)
        text = f"{name} ({len(labels):,} rows)"
        x, y = [p.score for p in points], [p.rate for p in points]
        top.plot(x, y, color=colour, marker=mark, markersize=5, linewidth=1.6, label=text)
        weights = np.full(len(scores), 1 / max(len(scores), 1))
        below.hist(scores, bins=40, range=(0, 1), weights=weights, color=colour, histtype="step", linewidth=1.4)
    for axis in (top.xaxis, top.yaxis, below.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that came true")
    below.set(xlabel="score", ylabel="share of rows")
    below.yaxis.set_major_locator(MaxNLocator(3))
    top.legend(frameon=False, loc="upper left", labelcolor=INK)
    _title(top, title, f"rows in {bins} groups of equal size by score")
    return _save(figure, path)


def plot_importance(
    path: str | Path,
    names: Sequence[str],
    gains: np.ndarray,
    *,
    title: str = "Feature importance",
    top: int = 25,
) -> Path:
    """The features whose splits gain most, as shares of all gain (`Trees.gains`, [names]); the file's path."""
    order = np.argsort(gains, kind="stable")[::-1][:top]
    order = order[gains[order] > 0][::-1]
    shares = gains[order] / (gains.sum() or 1.0)
    widest = float(shares.max(initial=0.01))
    figure = _figure(7.2, 1.3 + 0.27 * max(len(order), 3))
    axes = figure.subplots()
    _plain(axes, grid="x")
    axes.barh(range(len(order)), shares, color=SERIES[0], height=0.68)
    axes.set_yticks(range(len(order)), [names[place] for place in order])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlim=(0, 1.1 * widest), ylim=(-0.6, max(len(order), 1) - 0.4))
    for place, share in enumerate(shares):
        axes.text(share + 0.012 * widest, place, f"{share:.1%}", va="center", color=SOFT, fontsize=8)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    unused = int(np.sum(gains == 0))
    tail = f", {unused} of them never used" if unused else ""
    below = f"share of the loss that its splits took away; the first {len(order)} of {len(names)} features{tail}"
    _title(axes, title, below)
    return _save(figure, path)


def plot_over_time(
    path: str | Path,
    rows: pa.Table,
    features: Sequence[str],
    *,
    marks: Mapping[str, str] | None = None,
    title: str = "Features over time",
) -> Path:
    """Weekly means of features (BOOLEAN or numbers; NULL and NaN left out), one panel each; the file's path.

    rows: has `event_timestamp` and the features. marks: a name to a moment (ISO 8601, UTC), drawn as lines.
    """
    if not features:
        raise InputError("a plot over time needs at least one feature")
    wide = 3 if len(features) > 4 else min(len(features), 2)
    high = -(-len(features) // wide)
    figure = _figure(3.5 * wide, 1.2 + 1.9 * high)
    panels = figure.subplots(high, wide, sharex=True, squeeze=False).ravel().tolist()
    for axes, name in zip(panels, features, strict=False):
        _plain(axes)
        weeks, means = weekly_means(rows[TIME], rows[name])
        axes.plot(weeks, means, color=SERIES[0], linewidth=1.5, marker="o", markersize=2.2)
        axes.set_title(name, loc="left", fontsize=9, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        _dates(axes)
        for text, moment in (marks or {}).items():
            axes.axvline(np.datetime64(moment[:10]), color=SERIES[1], linewidth=1, linestyle=(0, (3, 3)))
            if axes is panels[0]:
                axes.annotate(
                    text, (np.datetime64(moment[:10]), 1), (-3, -2), xycoords=("data", "axes fraction"),
                    textcoords="offset points", ha="right", va="top", fontsize=7.5, color=SERIES[1],
                )  # fmt: skip
    _show_dates(panels[: len(features)], wide)
    for axes in panels[len(features) :]:
        axes.set_visible(False)
    figure.suptitle(f"{title}: mean of each week", x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
    return _save(figure, path)


def weekly_means(times: pa.ChunkedArray, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The Mondays of weeks with a value, rising (datetime64[D]), and the mean of each week."""
    week = (times.cast(pa.int64()).to_numpy().astype("datetime64[us]").astype("datetime64[D]") - _WEEK_ONE) // _WEEK
    values = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    doubles = values.cast(pa.float64(), safe=False).to_numpy()
    good = np.isfinite(doubles)
    weeks, place = np.unique(week[good].astype(np.int64), return_inverse=True)
    return _WEEK_ONE + weeks * _WEEK, np.bincount(place, doubles[good]) / np.bincount(place)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes, *, grid: Literal["x", "y"] = "y") -> None:
    """No frame but the bottom, a light grid behind, soft numbers."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=8.5, length=3)
    axes.xaxis.label.set(color=INK, fontsize=9.5)
    axes.yaxis.label.set(color=INK, fontsize=9.5)


def _title(axes: Axes, title: str, below: str) -> None:
    axes.set_title(f"{below}\n", loc="left", fontsize=8.5, color=SOFT, linespacing=0.4)
    axes.annotate(
        title, (0, 1), (0, 22), xycoords="axes fraction", textcoords="offset points",
        fontsize=12, fontweight="bold", color=INK,
    )  # fmt: skip


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]  # of matplotlib
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]  # of matplotlib
    axes.xaxis.set_major_formatter(formatter)


def _show_dates(panels: Sequence[Axes], wide: int) -> None:
    """Dates below the lowest panel of each column, though the last row may be short."""
    for place, axes in enumerate(panels):
        axes.tick_params(axis="x", labelbottom=place + wide >= len(panels))


def _save(figure: Figure, path: str | Path) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150, metadata={"Software": None})
    return target
